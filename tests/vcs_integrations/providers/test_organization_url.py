"""Addresses: what is taken for an organization or a repository, and what never is."""

import re
from dataclasses import astuple
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vcs_integrations.providers.azure_devops.organization_url import (
    parse_organization_url,
    parse_repository_url,
)
from vcs_integrations.providers.base import InvalidOrganizationUrl, OrganizationUrl

SERVERS = (
    "https://tfs.example.com/tfs",
    "https://tfs.example.com/tfs/old",
    "http://devops.example.com:8080",
    "https://devops.example.com:8443/ado",
)
NEW = "https://dev.azure.com/fabrikam"
OLD = "https://fabrikam.visualstudio.com"
FIFTY = "a" * 50

GOOD = {
    "new family": (NEW, NEW),
    "old family": (OLD, OLD),
    "new, trailing slash": (f"{NEW}/", NEW),
    "old, trailing slash": (f"{OLD}/", OLD),
    "several slashes": ("https://dev.azure.com//fabrikam//", NEW),
    "new, DefaultCollection": (f"{NEW}/DefaultCollection", NEW),
    "old, DefaultCollection": (f"{OLD}/DefaultCollection/", OLD),
    "other case of the host": ("HTTPS://Dev.Azure.COM/fabrikam", NEW),
    "other case of the old host": ("https://Fabrikam.VisualStudio.com", OLD),
    "surrounding spaces": (f"  {NEW} \t\n", NEW),
    "project": (f"{NEW}/Platform%20Team", NEW),
    "project with a raw space": (f"{NEW}/Platform Team", NEW),
    "project with an umlaut": (f"{NEW}/Überwachung/_git/Straße", NEW),
    "project, umlaut encoded": (f"{NEW}/%C3%9Cberwachung", NEW),
    "page of a repository": (f"{NEW}/Web/_git/shop?path=/main.tf&version=GBmain", NEW),
    "fragment": (f"{NEW}/Web/_git/shop#readme", NEW),
    "query right behind the organization": (f"{NEW}?view=all", NEW),
    "clone URL, new": (f"{NEW}/Web/_git/shop", NEW),
    "clone URL, old": (f"{OLD}/Web/_git/shop", OLD),
    "clone URL with the user name Azure DevOps offers": (
        "https://fabrikam@dev.azure.com/fabrikam/Web/_git/shop",
        NEW,
    ),
    "user name alone is dropped": ("https://evil.example@dev.azure.com/fabrikam", NEW),
    "ssh, new": ("git@ssh.dev.azure.com:v3/fabrikam/Web/shop", NEW),
    "ssh, old": ("fabrikam@vs-ssh.visualstudio.com:v3/fabrikam/Web/shop", OLD),
    "ssh:// new": ("ssh://git@ssh.dev.azure.com/v3/fabrikam/Web/shop", NEW),
    "ssh:// new with port": ("ssh://git@ssh.dev.azure.com:22/v3/fabrikam/Web/shop", NEW),
    "ssh:// old": ("ssh://fabrikam@vs-ssh.visualstudio.com/v3/Fabrikam/Web/shop", OLD),
    "ssh:// older": ("ssh://fabrikam@vs-ssh.visualstudio.com:22/Web/_ssh/shop", OLD),
    "ssh:// oldest": ("ssh://fabrikam@fabrikam.visualstudio.com:22/Web/_git/shop", OLD),
    "ssh with a raw space": ("git@ssh.dev.azure.com:v3/fabrikam/Platform Team/shop", NEW),
    "ssh, organization alone": ("git@ssh.dev.azure.com:v3/fabrikam", NEW),
    "usual port said": ("https://dev.azure.com:443/fabrikam", NEW),
    "empty port": ("https://dev.azure.com:/fabrikam", NEW),
    "the longest name there is": (
        f"https://dev.azure.com/{FIFTY}",
        f"https://dev.azure.com/{FIFTY}",
    ),
    "one character": ("https://dev.azure.com/a", "https://dev.azure.com/a"),
    "digits and hyphens": ("https://dev.azure.com/1-2--3", "https://dev.azure.com/1-2--3"),
    "old, longest name": (f"https://{FIFTY}.visualstudio.com", f"https://{FIFTY}.visualstudio.com"),
    "listed server": ("https://tfs.example.com/tfs/Main", "https://tfs.example.com/tfs/Main"),
    "listed server, deeper": (
        "https://tfs.example.com/tfs/Main/Web/_git/shop",
        "https://tfs.example.com/tfs/Main",
    ),
    "longest listed server": (
        "https://tfs.example.com/tfs/old/Main",
        "https://tfs.example.com/tfs/old/Main",
    ),
    "listed with http and port": (
        "http://devops.example.com:8080/Main",
        "http://devops.example.com:8080/Main",
    ),
    "listed with https and port": (
        "https://DevOps.example.com:8443/ado/Main/",
        "https://devops.example.com:8443/ado/Main",
    ),
    "listed, usual port said": (
        "https://tfs.example.com:443/tfs/Main",
        "https://tfs.example.com/tfs/Main",
    ),
    "listed, user name": (
        "https://ann@tfs.example.com/tfs/Main/Web/_git/shop",
        "https://tfs.example.com/tfs/Main",
    ),
    "collection with a space": (
        "https://tfs.example.com/tfs/Our Work/Web",
        "https://tfs.example.com/tfs/Our%20Work",
    ),
    "collection with an umlaut": (
        "https://tfs.example.com/tfs/Köln",
        "https://tfs.example.com/tfs/K%C3%B6ln",
    ),
    "collection, encoded": (
        "https://tfs.example.com/tfs/K%c3%b6ln%20Mitte",
        "https://tfs.example.com/tfs/K%C3%B6ln%20Mitte",
    ),
    "listed server over ssh": (
        "ssh://tfs.example.com/tfs/Main",
        "https://tfs.example.com/tfs/Main",
    ),
}

BAD = {
    "empty": "",
    "spaces alone": "   ",
    "no scheme": "dev.azure.com/fabrikam",
    "no scheme, old": "fabrikam.visualstudio.com",
    "organization name alone": "fabrikam",
    "no scheme, two slashes": "//dev.azure.com/fabrikam",
    "one slash": "https:/dev.azure.com/fabrikam",
    "no host": "https:///fabrikam",
    "no organization": "https://dev.azure.com",
    "no organization, slash": "https://dev.azure.com/",
    "organization in the query": "https://dev.azure.com?fabrikam",
    "http": "http://dev.azure.com/fabrikam",
    "http, old": "http://fabrikam.visualstudio.com",
    "http on port 443": "http://dev.azure.com:443/fabrikam",
    "ftp": "ftp://dev.azure.com/fabrikam",
    "javascript": "javascript:alert(1)//https://dev.azure.com/fabrikam",
    "file": "file:///etc/passwd",
    "file with a host": "file://dev.azure.com/fabrikam",
    "data": "data:text/html,https://dev.azure.com/fabrikam",
    "port 8443": "https://dev.azure.com:8443/fabrikam",
    "port 80": "https://dev.azure.com:80/fabrikam",
    "port 0": "https://dev.azure.com:0/fabrikam",
    "port too large": "https://dev.azure.com:65979/fabrikam",
    "port that is no number": "https://dev.azure.com:https/fabrikam",
    "old, port": "https://fabrikam.visualstudio.com:444",
    "password": "https://ann:secret@dev.azure.com/fabrikam",
    "empty password": "https://ann:@dev.azure.com/fabrikam",
    "password in ssh": "ssh://git:secret@ssh.dev.azure.com/v3/fabrikam/Web/shop",
    "IPv4": "https://20.42.5.5/fabrikam",
    "metadata address": "http://169.254.169.254/latest/meta-data/",
    "IPv6": "https://[::1]/fabrikam",
    "IPv6 around IPv4": "https://[::ffff:169.254.169.254]/fabrikam",
    "IPv4 decimal": "https://2852039166/fabrikam",
    "IPv4 hexadecimal": "https://0xa9fea9fe/fabrikam",
    "IPv4 octal": "https://0251.0376.0251.0376/fabrikam",
    "IPv4 short": "https://127.1/fabrikam",
    "loopback": "https://localhost/fabrikam",
    "brackets around a name": "https://[dev.azure.com/fabrikam",
    "punycode look-alike": "https://xn--dv-7ka.azure.com/fabrikam",
    "Cyrillic look-alike": "https://dev.аzure.com/fabrikam",
    "full-width look-alike": "https://ｄｅｖ.azure.com/fabrikam",
    "full-width dot": "https://dev．azure．com/fabrikam",
    "ideographic dot": "https://evil。dev.azure.com/fabrikam",
    "fraction slash in the host": "https://evil.example⁄dev.azure.com/fabrikam",
    "account-of in the host": "https://dev.azure.com℀.evil.example/fabrikam",
    "soft hyphen in the host": "https://dev.az\u00adure.com/fabrikam",
    "zero width space": "https://dev.azure.com/fabri\u200bkam",
    "continued host": "https://dev.azure.com.evil.example/fabrikam",
    "continued old host": "https://fabrikam.visualstudio.com.evil.example",
    "host in the path": "https://evil.example/dev.azure.com",
    "host in the query": "https://evil.example?dev.azure.com/fabrikam",
    "host in the fragment": "https://evil.example#@dev.azure.com/fabrikam",
    "host as user name": "https://dev.azure.com@evil.example/fabrikam",
    "host as encoded user name": "https://dev.azure.com%2F@evil.example/fabrikam",
    "two at signs": "https://x@dev.azure.com@evil.example/fabrikam",
    "backslash ends the host": "https://evil.example\\@dev.azure.com/fabrikam",
    "backslash as slash": "https:\\\\dev.azure.com\\fabrikam",
    "tab inside": "https://dev.azure\t.com/fabrikam",
    "newline inside": "https://dev.azure.com/fabri\nkam",
    "carriage return inside": "https://dev.azure.com\r\nHost: evil.example/fabrikam",
    "NUL": "https://dev.azure.com/fabrikam\x00.evil.example",
    "no-break space": "https://dev.azure.com/fabri\u00a0kam",
    "lone surrogate": "https://dev.azure.com/\ud800",
    "encoded control character": "https://dev.azure.com/fabrikam/a%00b/_git/c",
    "encoded newline": "https://dev.azure.com/fabrikam/a%0Ab/_git/c",
    "space in the host": "https://dev. azure.com/fabrikam",
    "trailing dot": "https://dev.azure.com./fabrikam",
    "trailing dot, old": "https://fabrikam.visualstudio.com./",
    "sub-subdomain": "https://a.fabrikam.visualstudio.com",
    "Microsoft's sign-in host": "https://fabrikam.vssps.visualstudio.com",
    "subdomain of dev.azure.com": "https://vssps.dev.azure.com/fabrikam",
    "visualstudio.com alone": "https://visualstudio.com/fabrikam",
    "suffix without a dot": "https://evilvisualstudio.com/fabrikam",
    "app": "https://app.visualstudio.com/fabrikam",
    "marketplace": "https://marketplace.visualstudio.com/items",
    "vs-ssh over https": "https://vs-ssh.visualstudio.com/v3/fabrikam/Web/shop",
    "ssh host over https": "https://ssh.dev.azure.com/v3/fabrikam/Web/shop",
    "code": "https://code.visualstudio.com/docs",
    "www": "https://www.visualstudio.com/fabrikam",
    "51 characters": f"https://dev.azure.com/{FIFTY}a",
    "old, 51 characters": f"https://{FIFTY}a.visualstudio.com",
    "hyphen first": "https://dev.azure.com/-fabrikam",
    "hyphen last": "https://dev.azure.com/fabrikam-",
    "old, hyphen last": "https://fabrikam-.visualstudio.com",
    "underscore": "https://dev.azure.com/fabri_kam",
    "dot in the name": "https://dev.azure.com/fabri.kam",
    "umlaut in the name": "https://dev.azure.com/fabrikäm",
    "Kelvin sign in the name": "https://dev.azure.com/\u212aelvin",
    "encoded space in the name": "https://dev.azure.com/fabri%20kam",
    "encoded slash in the name": "https://dev.azure.com/fabrikam%2F..",
    "REST route without organization": "https://dev.azure.com/_apis/projects",
    "dot segments": "https://dev.azure.com/fabrikam/../evil",
    "encoded dot segments": "https://dev.azure.com/fabrikam/%2e%2e/evil",
    "ssh, other port": "ssh://git@ssh.dev.azure.com:2222/v3/fabrikam/Web/shop",
    "ssh, other version": "ssh://git@ssh.dev.azure.com/v4/fabrikam/Web/shop",
    "ssh, other host": "git@github.com:v3/fabrikam/Web/shop",
    "older ssh, no organization": "ssh://vs-ssh.visualstudio.com:22/Web/_ssh/shop",
    "older ssh, no possible organization": "ssh://fabri_kam@vs-ssh.visualstudio.com/Web/_ssh/shop",
    "older ssh, password": "ssh://fabrikam:secret@vs-ssh.visualstudio.com:22/Web/_ssh/shop",
    "older ssh, other port": "ssh://fabrikam@vs-ssh.visualstudio.com:2222/Web/_ssh/shop",
    "older ssh, host of the present form": "ssh://git@ssh.dev.azure.com/Web/_ssh/shop",
    "older ssh, continued host": "ssh://fabrikam@vs-ssh.visualstudio.com.evil.example/Web/_ssh/a",
    "older ssh, longer host": "ssh://fabrikam@evil-vs-ssh.visualstudio.com.example/Web/_ssh/shop",
    "older ssh, suffix without a dot": "ssh://fabrikam@evilvisualstudio.com/Web/_ssh/shop",
    "older ssh, two at signs": "ssh://fabrikam@vs-ssh.visualstudio.com@evil.example/Web/_ssh/shop",
    "older ssh over https": "https://fabrikam@vs-ssh.visualstudio.com/Web/_ssh/shop",
    "older ssh, Microsoft's own host": "ssh://fabrikam@app.visualstudio.com:22/Web/_ssh/shop",
    "older ssh, dot segments": "ssh://fabrikam@vs-ssh.visualstudio.com:22/../Web/_ssh/shop",
    "older ssh, other scp host": "fabrikam@ssh.example.com:Web/_ssh/shop",
    "two addresses": "https://dev.azure.com/a,https://dev.azure.com/b",
    "a sentence": "our organization is called fabrikam",
    "server that is not listed": "https://tfs.example.org/tfs/Main",
    "listed server by http": "http://tfs.example.com/tfs/Main",
    "listed http server by https": "https://devops.example.com:8080/Main",
    "listed server, other port": "https://tfs.example.com:8443/tfs/Main",
    "listed server, no collection": "https://tfs.example.com/tfs/",
    "listed path is a segment": "https://tfs.example.com/tfs2/Main",
    "listed server, other path": "https://tfs.example.com/Main",
    "listed server, dot segments": "https://tfs.example.com/tfs/../Main",
    "listed server, encoded dots": "https://tfs.example.com/tfs/%2E%2E/Main",
    "listed server, encoded slash": "https://tfs.example.com/tfs/Main%2FWeb",
    "listed server, encoded backslash": "https://tfs.example.com/tfs/Main%5CWeb",
    "listed server, encoded percent": "https://tfs.example.com/tfs/Main%252F..",
    "listed server, question mark": "https://tfs.example.com/tfs/Main%3Fx",
    "listed server, control character": "https://tfs.example.com/tfs/Main%07",
    "listed server, name starts with _": "https://tfs.example.com/tfs/_apis/x",
    "listed server, name too long": f"https://tfs.example.com/tfs/{'a' * 65}",
    "listed server, name continued": "https://tfs.example.com.evil.example/tfs/Main",
    "listed server, password": "https://ann:secret@tfs.example.com/tfs/Main",
}


@pytest.mark.parametrize(("text", "expected"), GOOD.values(), ids=GOOD.keys())
def test_an_address_is_reduced_to_its_organization(text: str, expected: str) -> None:
    found = parse_organization_url(text, SERVERS)
    assert found.url == expected
    host = urlsplit(expected).hostname or ""
    label = host.removesuffix(".visualstudio.com")
    name = label if label != host else unquote(expected.rpartition("/")[2])
    assert found.name.lower() == name.lower()


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_everything_else_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(InvalidOrganizationUrl) as refusal:
        parse_organization_url(text, SERVERS)
    said = str(refusal.value)
    shows_the_forms = (
        "https://dev.azure.com/your-organization" in said
        and "https://your-organization.visualstudio.com" in said
    )
    is_specific = re.search(r"Remove it|Use https://\S+/your-(collection|organization)", said)
    assert shows_the_forms or is_specific
    assert "secret" not in said


@pytest.mark.parametrize(
    "url", ["https://tfs.corp.example/tfs/main", "http://127.0.0.1:8765/fabrikam"]
)
def test_who_has_a_server_of_their_own_learns_where_it_is_listed(url: str) -> None:
    with pytest.raises(InvalidOrganizationUrl, match="listed in AZURE_DEVOPS_SERVERS"):
        parse_organization_url(url, [])


def test_no_server_is_accepted_where_none_is_listed() -> None:
    with pytest.raises(InvalidOrganizationUrl, match="AZURE_DEVOPS_SERVERS"):
        parse_organization_url("https://tfs.example.com/tfs/Main", [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NEW, OLD),
        (NEW, "https://dev.azure.com/FABRIKAM"),
        (OLD, "git@ssh.dev.azure.com:v3/Fabrikam/Web/shop"),
        ("https://tfs.example.com/tfs/Main", "https://TFS.example.com/tfs/MAIN"),
    ],
)
def test_addresses_of_one_organization_share_a_key(one: str, other: str) -> None:
    assert parse_organization_url(one, SERVERS).key == parse_organization_url(other, SERVERS).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NEW, "https://dev.azure.com/fabrikam2"),
        (NEW, "https://tfs.example.com/tfs/fabrikam"),
        ("https://tfs.example.com/tfs/Main", "https://tfs.example.com/tfs/old/Main"),
    ],
)
def test_addresses_of_different_organizations_do_not(one: str, other: str) -> None:
    assert parse_organization_url(one, SERVERS).key != parse_organization_url(other, SERVERS).key


PIECES = [
    "https://",
    "http://",
    "ssh://",
    "https:",
    "javascript:",
    "dev.azure.com",
    "ssh.dev.azure.com",
    "vs-ssh.visualstudio.com",
    ".visualstudio.com",
    "fabrikam",
    "Fabrikam",
    "tfs.example.com",
    "devops.example.com",
    "evil.example",
    "169.254.169.254",
    "[::1]",
    "tfs",
    "old",
    "v3",
    ":v3/",
    "_git",
    "_ssh",
    "DefaultCollection",
    "/",
    "//",
    "\\",
    "@",
    ":",
    ":443",
    ":8080",
    ":0",
    "?",
    "#",
    "..",
    ".",
    "%2F",
    "%2e",
    "%00",
    "%",
    " ",
    "\t",
    "\n",
    "\u212a",
    "ß",
    "İ",
    "。",
    "\ud800",
    "-",
    "_",
    "git@",
]
any_text = st.text(st.characters(), max_size=60)
address_like = st.lists(st.sampled_from(PIECES) | any_text, max_size=9).map("".join)
behind_a_good_host = st.builds(
    str.__add__,
    st.sampled_from([NEW, OLD, *(f"{server}/" for server in SERVERS), "https://"]),
    address_like,
)


def check(text: str) -> OrganizationUrl | None:
    """Parse a text; whatever it is, the answer is a refusal or an address that is allowed."""
    try:
        found = parse_organization_url(text, SERVERS)
    except InvalidOrganizationUrl:
        return None
    parts = urlsplit(found.url)
    assert found.url.isascii()
    assert not (parts.query or parts.fragment or "@" in parts.netloc)
    assert ".." not in found.url
    new = re.fullmatch(r"https://dev\.azure\.com/[A-Za-z0-9-]{1,50}", found.url)
    old = re.fullmatch(r"https://[a-z0-9-]{1,50}\.visualstudio\.com", found.url)
    listed = any(re.fullmatch(re.escape(server) + r"/[^/?#\\]+", found.url) for server in SERVERS)
    assert new or old or listed
    return found


@given(any_text | address_like | behind_a_good_host)
@example("ssh://x@vs-ssh.visualstudio.com/v3/Fabrikam/Web/shop")
@example("https://\u212aelvin.visualstudio.com")
@example("https://tfs.example.com/tfs/\ud800")
def test_whatever_is_typed_leads_to_a_known_host_or_nowhere(text: str) -> None:
    found = check(text)
    if found:
        assert astuple(parse_organization_url(found.url, SERVERS)) == astuple(found)


# Repositories

FORBIDDEN = set("/:\\~&%;@'\"?<>|#$*}{,+=[]")
NAMES = (
    st.text(
        st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="".join(FORBIDDEN)),
        min_size=1,
        max_size=64,
    )
    .map(str.strip)
    .filter(lambda name: name and name[0] not in "_." and name[-1] != ".")
    .filter(lambda name: name.lower() != "defaultcollection")  # a reserved name
)
FORMS = {
    "https new": "https://dev.azure.com/fabrikam/{project}/_git/{repository}",
    "https new, user name": "https://fabrikam@dev.azure.com/fabrikam/{project}/_git/{repository}",
    "https new, collection": (
        "https://dev.azure.com/fabrikam/DefaultCollection/{project}/_git/{repository}"
    ),
    "https old": "https://fabrikam.visualstudio.com/{project}/_git/{repository}",
    "https old, collection": (
        "https://fabrikam.visualstudio.com/DefaultCollection/{project}/_git/{repository}"
    ),
    "https old, user name": "https://ann@fabrikam.visualstudio.com/{project}/_git/{repository}",
    "ssh new": "git@ssh.dev.azure.com:v3/fabrikam/{project}/{repository}",
    "ssh old": "fabrikam@vs-ssh.visualstudio.com:v3/fabrikam/{project}/{repository}",
    "ssh:// new": "ssh://git@ssh.dev.azure.com/v3/fabrikam/{project}/{repository}",
    "ssh:// old": "ssh://fabrikam@vs-ssh.visualstudio.com:22/v3/fabrikam/{project}/{repository}",
    "ssh:// older": "ssh://fabrikam@vs-ssh.visualstudio.com:22/{project}/_ssh/{repository}",
    "ssh:// older, no port": "ssh://fabrikam@vs-ssh.visualstudio.com/{project}/_ssh/{repository}/",
    "ssh:// older, collection": (
        "ssh://Fabrikam@vs-ssh.visualstudio.com:22/DefaultCollection/{project}/_ssh/{repository}"
    ),
    "ssh:// older, team": (
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/{project}/Team/_ssh/{repository}"
    ),
    "ssh:// older, all refs": (
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/{project}/_ssh/_full/{repository}"
    ),
    "older ssh without its scheme": (
        "fabrikam@vs-ssh.visualstudio.com:22/{project}/_ssh/{repository}"
    ),
    "older ssh as scp": "fabrikam@vs-ssh.visualstudio.com:{project}/_ssh/{repository}",
    "ssh:// oldest": "ssh://fabrikam@fabrikam.visualstudio.com:22/{project}/_git/{repository}",
    "https, team": "https://fabrikam.visualstudio.com/{project}/Team/_git/{repository}",
    "https, fewer refs": "https://dev.azure.com/fabrikam/{project}/_git/_optimized/{repository}",
    "server": "https://tfs.example.com/tfs/fabrikam/{project}/_git/{repository}",
    "page of a file": (
        "https://dev.azure.com/fabrikam/{project}/_git/{repository}?path=/a.tf&version=GBmain"
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@given(project=NAMES, repository=NAMES)
@example(project="v3", repository="v3")
@example(project="Platform Team", repository="infra structure")
@example(project="Überwachung", repository="Straße 東京")
@example(project="a\u00a0b", repository="a\u3000b")
def test_every_name_survives_a_clone_url(form: str, project: str, repository: str) -> None:
    url = form.format(project=quote(project, safe=""), repository=quote(repository, safe=""))
    found = parse_repository_url(url, SERVERS)
    assert found
    assert (found.project_name, found.name) == (project, repository)
    assert found.organization.name == "fabrikam"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_names_pasted_as_people_read_them_are_found(form: str) -> None:
    found = parse_repository_url(form.format(project="Platform Team", repository="Maß"), SERVERS)
    assert found
    assert (found.project_name, found.name) == ("Platform Team", "Maß")


@pytest.mark.parametrize(
    "url",
    [
        "https://dev.azure.com/fabrikam/_git/shop",
        "https://fabrikam.visualstudio.com/_git/shop",
        "https://fabrikam.visualstudio.com/DefaultCollection/_git/shop",
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/_ssh/shop",
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/DefaultCollection/_ssh/shop",
        "fabrikam@vs-ssh.visualstudio.com:_ssh/shop",
    ],
)
def test_without_a_project_the_repository_has_its_name(url: str) -> None:
    found = parse_repository_url(url, SERVERS)
    assert found
    assert (found.project_name, found.name) == ("shop", "shop")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "Platform Team/infrastructure",
        NEW,
        f"{NEW}/Web",
        f"{NEW}/Web/_git",
        f"{NEW}/Web/_build/results",
        f"{NEW}/v3/_settings/serviceHooks",
        "git@ssh.dev.azure.com:v3/fabrikam/Web",
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/Web/_ssh",
        "ssh://vs-ssh.visualstudio.com:22/Web/_ssh/shop",
        "https://github.com/fabrikam/Web/_git/shop",
        f"{NEW}/Web/_git/shop%00",
        "https://ann:secret@dev.azure.com/fabrikam/Web/_git/shop",
    ],
)
def test_what_names_no_repository_is_none(text: str) -> None:
    assert parse_repository_url(text, SERVERS) is None


@given(any_text | address_like | behind_a_good_host)
def test_whatever_is_searched_for_never_fails(text: str) -> None:
    found = parse_repository_url(text, SERVERS)
    if found:
        assert check(found.organization.url)
        assert found.project_name
        assert found.name
        assert not re.search(r"[\x00-\x1f\x7f]", found.project_name + found.name)
