"""Reading addresses of Azure DevOps: organizations, repositories, and what may be called.

The forms come from the Azure DevOps documentation, "Allowed address lists and network
connections" and "Work with URLs in extensions and integrations"; the rules for names
from "Naming restrictions and conventions".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from vcs_integrations.providers.base import (
    InvalidOrganizationUrl,
    OrganizationUrl,
    RepositoryPath,
)

USUAL_FORMS = (
    "https://dev.azure.com/your-organization or https://your-organization.visualstudio.com"
)
OWN_SERVER = "Your own servers must be listed in AZURE_DEVOPS_SERVERS by the operator."
ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")
# Microsoft's own sites under visualstudio.com: never an organization.
NOT_ORGANIZATIONS = {"app", "code", "docs", "login", "marketplace", "my", "ssh", "vs-ssh", "www"}
FORBIDDEN_IN_NAMES = set("/:\\~&%;@'\"?<>|#$*}{,+=[]")
OLD_SSH_HOST = "vs-ssh.visualstudio.com"
SSH_HOST = "ssh.dev.azure.com"
SSH_HOSTS = (SSH_HOST, OLD_SSH_HOST)
# What is between project and repository in the clone URLs that Azure DevOps gave out, also
# with fewer refs.
MARKS = {"_git", "_ssh"}
LIMITED_REFS = {"_full", "_optimized"}
DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}


@dataclass(frozen=True)
class Address:
    """A URL taken apart; `segments` is its path, percent-decoded, `query` is as it was."""

    scheme: str
    user: str
    host: str
    port: int
    segments: tuple[str, ...]
    query: str


def parse_organization_url(text: str, servers: Sequence[str]) -> OrganizationUrl:
    """Reduce an address to its organization.

    `servers` are the base URLs of further Azure DevOps Servers that the operator listed.
    Raises InvalidOrganizationUrl with a sentence for people.
    """
    organization, _ = _split(_read(text), servers)
    return organization


def parse_repository_url(text: str, servers: Sequence[str]) -> RepositoryPath | None:
    """Read a clone URL of any form or a repository's web address.

    Returns None where the text is no such address. Without a project in the address the
    repository has its project's name ("Work with URLs", short form).
    """
    try:
        address = _read(text)
        organization, path = _split(address, servers)
    except InvalidOrganizationUrl:
        return None
    if path[:1] and path[0].lower() == "defaultcollection":
        path = path[1:]
    branch = _branch(address.query)
    match [segment for segment in path if segment not in LIMITED_REFS]:
        case ["_git", repository, *_]:
            return RepositoryPath(organization, repository, repository, branch)
        case [project, "_git", repository, *_] | [project, _, "_git", repository, *_]:  # of a team
            return RepositoryPath(organization, project, repository, branch)
    return None


def git_addresses(organization_url: str, servers: Sequence[str]) -> list[str]:
    """Return how the addresses of an organization's repositories begin, for git.

    Git compares them letter by letter, so those with a name in it are also there in lower case.
    The forms are those that Azure DevOps gives out under Clone, and gave out once.
    """
    organization = parse_organization_url(organization_url, servers)
    if server := own_server(organization.url):
        base = _read(server)
        below = organization.url.removeprefix(server).removeprefix("/")
        path = "".join(f"/{quote(one, safe='')}" for one in base.segments)
        ssh = [f"{user}{base.host}{port}{path}" for user in ("", "git@") for port in (":22", "")]
        return [f"{organization.url}/", *(f"ssh://{one}/{below}/" for one in ssh)]
    names = dict.fromkeys([organization.name, organization.name.lower()])
    found = []
    for name in names:
        found += [
            f"https://dev.azure.com/{name}/",
            f"https://{name}@dev.azure.com/{name}/",
            f"https://{name}.visualstudio.com/",
            f"https://{name}@{name}.visualstudio.com/",
            f"{name}@{OLD_SSH_HOST}:",
            f"ssh://{name}@{OLD_SSH_HOST}/",
            f"ssh://{name}@{OLD_SSH_HOST}:22/",
            f"ssh://{name}@{name}.visualstudio.com:22/",
        ]
    return [
        *found,
        f"git@{SSH_HOST}:",
        f"ssh://git@{SSH_HOST}/",
        f"ssh://git@{SSH_HOST}:22/",
    ]


def leads_elsewhere(name: str) -> bool:
    """Say whether a name has a segment that leads to another place in a URL's path: . or ..

    Servers and proxies decode percent-codes, some of them twice, and some read only what is before
    a ; or a space.
    """
    for _ in range(5):
        segments = re.split(r"[/\\]", name)
        if any(segment.partition(";")[0].strip() in {".", ".."} for segment in segments):
            return True
        decoded = unquote(name)
        if decoded == name:
            return False
        name = decoded
    return False


def own_server(organization_url: str) -> str:
    """Return the server of a collection; empty for an organization in Microsoft's cloud."""
    host = urlsplit(organization_url).hostname or ""
    if host == "dev.azure.com" or host.endswith(".visualstudio.com"):
        return ""
    return organization_url.rpartition("/")[0]


def _branch(query: str) -> str:
    """Return the branch of a branch's page, `version=GBname`; tags and commits are `GT`, `GC`."""
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        branch = unquote(value.removeprefix("GB"))
        if name == "version" and value.startswith("GB") and branch.isprintable():
            return branch
    return ""


def _read(text: str) -> Address:
    """Take an address apart, refusing what browsers and servers read differently."""
    text = text.strip()
    if not text:
        raise InvalidOrganizationUrl(f"Enter the organization's address, like {USUAL_FORMS}.")
    if re.search(r"[\x00-\x1f\x7f\\]|(?! )\s", text):
        raise InvalidOrganizationUrl(
            f"The address contains an invalid character. Use {USUAL_FORMS}."
        )
    text = text.replace(" ", "%20")  # a project's name pasted as people read it
    scp = re.fullmatch(r"((?:[^@/:]+@)?([A-Za-z0-9.-]+)):(?:22/)?(v3/.+|(?:.+/)?_ssh/.+)", text)
    if scp and scp[2].lower() in SSH_HOSTS:
        text = f"ssh://{scp[1]}/{scp[3]}"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").lower()
    except ValueError as error:
        raise InvalidOrganizationUrl(f"This is not an address. Use {USUAL_FORMS}.") from error
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise InvalidOrganizationUrl(f"The address must begin with https://. Use {USUAL_FORMS}.")
    if parts.password is not None:
        raise InvalidOrganizationUrl(
            "The address holds a password. Remove it, and put the token into its own field."
        )
    segments = tuple(unquote(segment) for segment in parts.path.split("/") if segment)
    if any(s in {".", ".."} or re.search(r"[/\x00-\x1f\x7f]", s) for s in segments):
        raise InvalidOrganizationUrl(
            f"The path of the address contains an invalid part. Use {USUAL_FORMS}."
        )
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    return Address(parts.scheme, unquote(parts.username or ""), host, port, segments, parts.query)


def _split(address: Address, servers: Sequence[str]) -> tuple[OrganizationUrl, list[str]]:
    """Return the organization of an address and the path below it."""
    for server in sorted(servers, key=len, reverse=True):
        base = _read(server)
        below = address.segments[len(base.segments) :]
        place = (address.scheme, address.host, address.port)
        # Over ssh a server has the same paths ("Use SSH key authentication").
        is_ssh = place == ("ssh", base.host, DEFAULT_PORTS["ssh"])
        same_place = is_ssh or place == (base.scheme, base.host, base.port)
        if same_place and address.segments[: len(base.segments)] == base.segments:
            path = list(below[1:])
            if is_ssh:
                path = ["_git" if segment in MARKS else segment for segment in path]
            return _collection(server, below), path
    if address.scheme == "ssh":
        return _over_ssh(address)
    if address.scheme != "https" or address.port != 443:
        raise InvalidOrganizationUrl(
            f"Azure DevOps is reached over https on its usual port. Use {USUAL_FORMS}. {OWN_SERVER}"
        )
    if address.host == "dev.azure.com":
        if not address.segments:
            raise InvalidOrganizationUrl(
                "The organization is missing behind dev.azure.com. Use "
                "https://dev.azure.com/your-organization."
            )
        return _new_family(address.segments[0]), list(address.segments[1:])
    subdomain, _, domain = address.host.partition(".")
    if domain == "visualstudio.com" and subdomain not in NOT_ORGANIZATIONS:
        return _old_family(subdomain), list(address.segments)
    raise InvalidOrganizationUrl(
        f"{address.host} is not a known Azure DevOps address. Use {USUAL_FORMS}. {OWN_SERVER}"
    )


def _over_ssh(address: Address) -> tuple[OrganizationUrl, list[str]]:
    """Return what an address over ssh names, its path as it would be over https.

    The present form is `/v3/organization/project/repository`. The old ones have `_ssh`, and the
    organization as the user: "Use SSH key authentication" in earlier Azure DevOps documentation.
    """
    subdomain, _, domain = address.host.partition(".")
    path = ["_git" if segment in MARKS else segment for segment in address.segments]
    if address.port == 22 and "_git" in path:
        if address.host == OLD_SSH_HOST:
            return _old_family(address.user), path
        if domain == "visualstudio.com" and subdomain not in NOT_ORGANIZATIONS:
            return _old_family(subdomain), path
    elif address.port == 22 and address.host in SSH_HOSTS and path[:1] == ["v3"] and path[1:]:
        family = _old_family if address.host == OLD_SSH_HOST else _new_family
        return family(path[1]), [*path[2:3], "_git", *path[3:]]
    raise InvalidOrganizationUrl(f"This is not an address of Azure DevOps. Use {USUAL_FORMS}.")


def _new_family(name: str) -> OrganizationUrl:
    name = _organization_name(name)
    return OrganizationUrl(f"https://dev.azure.com/{name}", name, _key(name))


def _old_family(name: str) -> OrganizationUrl:
    name = _organization_name(name).lower()
    return OrganizationUrl(f"https://{name}.visualstudio.com", name, _key(name))


def _organization_name(name: str) -> str:
    if not ORGANIZATION.fullmatch(name):
        raise InvalidOrganizationUrl(
            f"“{name[:60]}” can't be an organization: names have letters, digits and hyphens, "
            f"at most 50. Use {USUAL_FORMS}."
        )
    return name


def _collection(server: str, below: Sequence[str]) -> OrganizationUrl:
    """Return a collection of an Azure DevOps Server, which plays an organization's part."""
    name = below[0] if below else ""
    bad = not name or len(name) > 64 or name[0] in "_." or name[-1] == "." or ".." in name
    if bad or FORBIDDEN_IN_NAMES & set(name) or not name.isprintable():
        raise InvalidOrganizationUrl(
            f"The collection is missing behind {server}. Use {server}/your-collection."
        )
    url = f"{server}/{quote(name, safe='')}"
    return OrganizationUrl(url, name, f"{server}/{name}".casefold())


def _key(organization: str) -> str:
    """Return what both URL families of one organization share."""
    return f"dev.azure.com/{organization.lower()}"
