"""The REST client against the emulator, and against answers of every wrong shape."""

import contextlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import responses
from hypothesis import example, given
from hypothesis import strategies as st

from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from tests.emulator.pull_requests import PullRequest
from tests.vcs_integrations.providers.raw_server import RawServer
from vcs_integrations.providers.azure_devops import client as client_module
from vcs_integrations.providers.azure_devops import shapes
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import (
    CallLimits,
    Connection,
    Hook,
    Problem,
    ProviderError,
    RemoteBranch,
    RemoteTag,
)

ONCE = CallLimits(seconds_per_call=5, seconds_in_all=10, retries=0)
TWICE_MORE = CallLimits(seconds_per_call=5, seconds_in_all=30, retries=2)
ORGANIZATION = "https://dev.azure.com/fabrikam"


@pytest.fixture
def client(organization: Organization, token: str) -> AzureDevOpsClient:
    return AzureDevOpsClient(organization.url, token, ONCE)


def asked(emulator: Emulator, part: str) -> list[int | None]:
    """Return the statuses of the requests whose path has this part."""
    return [request.status for request in emulator.requests if part in request.path]


def test_connecting_returns_the_id_and_all_repositories(
    client: AzureDevOpsClient, organization: Organization, emulator: Emulator
) -> None:
    umlaut = organization.add_project("Überwachung")
    empty = umlaut.add_repository("Straße mit Leerzeichen")
    disabled = umlaut.add_repository("東京", {"a.tf": ""})
    disabled.disable()
    found = client.connect()
    assert found.organization_id == organization.id
    by_name = {(one.project_name, one.name): one for one in found.repositories}
    assert set(by_name) == {
        ("Platform Team", "infrastructure"),
        ("Überwachung", "Straße mit Leerzeichen"),
        ("Überwachung", "東京"),
    }
    first = by_name["Platform Team", "infrastructure"]
    assert (first.default_branch, first.is_disabled) == ("main", False)
    nothing_in_it = by_name["Überwachung", "Straße mit Leerzeichen"]
    assert (nothing_in_it.external_id, nothing_in_it.default_branch) == (empty.id, "")
    assert nothing_in_it.project_id == umlaut.id
    assert by_name["Überwachung", "東京"].is_disabled
    assert all(request.has_authorization for request in emulator.requests)


def test_the_request_asks_for_json_and_no_sign_in_page(
    client: AzureDevOpsClient, emulator: Emulator
) -> None:
    client.connect()
    for request in emulator.requests:
        assert request.headers["Accept"] == "application/json"
        assert request.headers["X-Tfs-Fedauthredirect"] == "Suppress"
        assert "api-version=7.1" in request.query


def test_all_branches_come_over_several_pages(
    client: AzureDevOpsClient, repository: Repository, emulator: Emulator
) -> None:
    sha = repository.ref_values()["refs/heads/main"]
    names = {f"topic/{number:04}" for number in range(2_500)}
    create_refs(repository, {f"refs/heads/{name}" for name in names}, sha)
    found = client.branches(repository.id)
    assert len(found) == 2_501
    assert {branch.name for branch in found} == names | {"main"}
    assert {branch.sha for branch in found} == {sha}
    assert asked(emulator, "/refs") == [200, 200, 200]


def create_refs(repository: Repository, names: set[str], sha: str) -> None:
    commands = "".join(f"create {name} {sha}\n" for name in names)
    git = ["git", "-C", str(repository.git.path), "update-ref", "--stdin"]
    subprocess.run(git, input=commands.encode(), check=True)


def test_a_branch_is_found_by_its_exact_name(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.ref_values()["refs/heads/main"]
    others = {"main2", "feature/ä#1&2%+3", "Feature/x"}
    create_refs(repository, {f"refs/heads/{name}" for name in others}, sha)
    assert client.branch(repository.id, "main") == RemoteBranch("main", sha)
    assert client.branch(repository.id, "feature/ä#1&2%+3") == RemoteBranch("feature/ä#1&2%+3", sha)
    assert client.branch(repository.id, "mai") is None
    assert client.branch(repository.id, "feature") is None


def test_the_files_of_a_commit_are_listed_without_its_folders(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.push({"größe/deep/a b.tf": "1", ".hidden": "2"})
    assert sorted(client.files(repository.id, sha)) == [".hidden", "größe/deep/a b.tf", "main.tf"]
    with pytest.raises(ProviderError) as raised:
        client.files(repository.id, "1" * 40)
    assert raised.value.problem == Problem.NOT_FOUND


def test_tags_are_no_branches(client: AzureDevOpsClient, repository: Repository) -> None:
    git = ["git", "-C", str(repository.git.path), "tag", "v1", "main"]
    subprocess.run(git, check=True)
    assert [branch.name for branch in client.branches(repository.id)] == ["main"]


def test_tags_lead_to_their_commits_and_annotated_ones_have_a_text(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.ref_values()["refs/heads/main"]
    repository.tag("v1.2.3")
    own = repository.tag("vpc/v1.2.4", message="Größer\n\n- <b>faster</b>")
    plain, annotated = RemoteTag("v1.2.3", sha, sha), RemoteTag("vpc/v1.2.4", own, sha)
    assert client.tags(repository.id) == [plain, annotated]
    assert client.tag(repository.id, "vpc/v1.2.4") == annotated
    assert client.tag(repository.id, "v1.2") is None
    assert [plain.is_annotated, annotated.is_annotated] == [False, True]
    assert client.tag_text(repository.id, own) == "Größer\n\n- <b>faster</b>"
    with pytest.raises(ProviderError) as caught:
        client.tag_text(repository.id, sha)
    assert caught.value.problem == Problem.NOT_FOUND


def test_all_tags_come_over_several_pages(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.ref_values()["refs/heads/main"]
    create_refs(repository, {f"refs/tags/v1.0.{number}" for number in range(1_200)}, sha)
    assert len(client.tags(repository.id)) == 1_200


def test_the_text_of_a_file_is_that_of_a_commit(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.push({"a b/.stackhook/module.yml": "version: 1.2.3 # ä\n", "empty": ""})
    repository.push({"a b/.stackhook/module.yml": "version: 2.0.0\n"})
    text = client.file_text(repository.id, sha, "a b/.stackhook/module.yml")
    assert text == "version: 1.2.3 # ä\n"
    assert client.file_text(repository.id, sha, "empty") == ""
    assert client.file_text(repository.id, sha, "a b") is None
    assert client.file_text(repository.id, sha, "other") is None
    assert client.file_text(repository.id, "1" * 40, "empty") is None


def test_a_commit_comes_with_author_date_and_its_whole_message(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    message = "Größer & <schöner>\n\nSecond paragraph"
    sha = repository.push(
        {"ä ö.tf": "x"}, message=message, author="Jörg Ä <joerg@fabrikam.example>"
    )
    commit = client.commit(repository.id, sha)
    assert (commit.sha, commit.author) == (sha, "Jörg Ä")
    assert commit.message.strip() == message
    assert commit.authored_at is not None
    assert commit.authored_at.utcoffset() is not None


def test_a_commit_and_a_push_say_who_wrote_and_who_pushed(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    sha = repository.push({"a.tf": "x"}, author="Jörg Ä <joerg@fabrikam.example>")
    repository.push_refs({"refs/heads/topic": "main"}, "Bo Builder <bo@fabrikam.example>")
    commit = client.commit(repository.id, sha)
    assert commit.written_by == ("joerg@fabrikam.example",)
    assert commit.pushed_by == "joerg@fabrikam.example"
    [pushed] = client.push(repository.id, repository.pushes[-1].id)
    newest = client.newest_push(repository.id)
    assert newest
    assert {pushed.pushed_by, newest.changes[0].pushed_by} == {"bo@fabrikam.example"}


@pytest.mark.parametrize(
    ("author", "committer", "written_by"),
    [
        ({"email": "ann@x"}, {"email": "ann@x"}, ("ann@x",)),
        ({"email": "ann@x"}, {"email": "bo@x"}, ("ann@x", "bo@x")),
        ({"email": "ann@x"}, None, ("ann@x",)),
        ({"email": ""}, {"email": "bo@x"}, ()),
        ({"email": 7}, {"email": "bo@x"}, ()),
        (None, None, ()),
    ],
)
def test_without_the_authors_address_it_is_unknown_who_wrote(
    author: Any, committer: Any, written_by: tuple[str, ...]
) -> None:
    assert shapes.commit({"author": author, "committer": committer}).written_by == written_by


@pytest.mark.parametrize(
    ("unique_name", "account"),
    [
        ("ann@x", "ann@x"),
        ("Windows Live ID\\ann@x", "ann@x"),
        ("FABRIKAM\\ann", "ann"),
        (None, ""),
    ],
)
def test_who_pushed_is_named_without_a_domain(unique_name: Any, account: str) -> None:
    assert shapes.account({"uniqueName": unique_name}) == account


def test_a_commit_that_is_not_there_is_not_found(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    with pytest.raises(ProviderError) as caught:
        client.commit(repository.id, "0" * 40)
    assert caught.value.problem == Problem.NOT_FOUND


@pytest.mark.parametrize("name", ["a/b?c=d#e", "%41", "ä ö", "x\r\nHost: evil"])
def test_ids_stay_one_segment_of_the_path(name: str) -> None:
    with RawServer(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n") as server:
        client = AzureDevOpsClient(server.url, "token", ONCE)
        with contextlib.suppress(ProviderError):
            client.branches(name)
        with contextlib.suppress(ProviderError):
            client.remove_subscription(name)
        with contextlib.suppress(ProviderError):
            client.commit("x", name)
        paths = [request.split()[1].partition(b"?")[0].decode() for request in server.requests]
    segment = quote(name, safe="")
    assert paths == [
        f"/fabrikam/_apis/git/repositories/{segment}/refs",
        f"/fabrikam/_apis/hooks/subscriptions/{segment}",
        f"/fabrikam/_apis/git/repositories/x/commits/{segment}",
    ]


def test_an_empty_repository_has_no_branches(
    client: AzureDevOpsClient, organization: Organization
) -> None:
    empty = organization.add_project("Web").add_repository("empty")
    assert client.branches(empty.id) == []
    assert client.branch(empty.id, "main") is None


def test_a_disabled_repository_is_not_found(
    client: AzureDevOpsClient, repository: Repository
) -> None:
    repository.disable()
    with pytest.raises(ProviderError) as caught:
        client.branches(repository.id)
    assert caught.value.problem == Problem.NOT_FOUND
    assert "disabled" in caught.value.cause


def test_subscriptions_are_listed_and_removed(
    client: AzureDevOpsClient, organization: Organization
) -> None:
    project = organization.project("Platform Team")
    assert project
    url = "http://127.0.0.1:1/hook"
    made = organization.add_subscription(project, "git.push", url)
    (found,) = client.subscriptions()
    assert (found.external_id, found.event_type, found.url) == (made.id, "git.push", url)
    assert found.project_id == project.id
    client.remove_subscription(made.id)
    assert organization.subscriptions == []
    client.remove_subscription(made.id)  # gone already: nothing to complain about


# Repeats


def test_a_background_call_is_repeated(
    organization: Organization, token: str, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable", path="repositories", times=2)
    client = AzureDevOpsClient(organization.url, token, TWICE_MORE)
    assert len(client.connect().repositories) == 1
    assert asked(emulator, "repositories") == [503, 503, 200]


def test_repeats_end(organization: Organization, token: str, emulator: Emulator) -> None:
    emulator.faults.add("unavailable")
    with pytest.raises(ProviderError) as caught:
        AzureDevOpsClient(organization.url, token, TWICE_MORE).connect()
    assert caught.value.problem == Problem.UNAVAILABLE
    assert asked(emulator, "repositories") == [503, 503, 503]


@pytest.mark.parametrize("fault", ["throttled", "unavailable"])
def test_a_pause_that_one_client_is_refused_with_is_obeyed_by_all(
    client: AzureDevOpsClient,
    organization: Organization,
    token: str,
    emulator: Emulator,
    fault: str,
) -> None:
    waiting = replace(ONCE, obeys_pauses=True)
    another = AzureDevOpsClient(organization.url, token, waiting)
    emulator.faults.add(fault, times=1, seconds=100)
    with pytest.raises(ProviderError):
        client.repositories()
    asked_until_now = len(emulator.requests)
    with pytest.raises(ProviderError) as caught:
        another.repositories()
    assert caught.value.problem == Problem.THROTTLED
    assert 90 < (caught.value.retry_after or 0) <= 101
    assert len(emulator.requests) == asked_until_now
    client.repositories()  # somebody waits for this one


def test_a_shorter_pause_does_not_end_a_longer_one(
    client: AzureDevOpsClient, organization: Organization, token: str, emulator: Emulator
) -> None:
    for seconds in (100, 1):
        emulator.faults.add("unavailable", times=1, seconds=seconds)
        with pytest.raises(ProviderError):
            client.repositories()
    waiting = AzureDevOpsClient(organization.url, token, replace(ONCE, obeys_pauses=True))
    with pytest.raises(ProviderError) as caught:
        waiting.repositories()
    assert caught.value.problem == Problem.THROTTLED


def test_a_longer_pause_that_is_asked_for_meanwhile_is_obeyed(
    client: AzureDevOpsClient,
    organization: Organization,
    token: str,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(seconds: int) -> None:
        emulator.faults.add("unavailable", times=1, seconds=seconds)
        with pytest.raises(ProviderError):
            client.repositories()

    refused(10)
    monkeypatch.setattr("time.sleep", lambda _: refused(100))
    waiting = AzureDevOpsClient(organization.url, token, replace(ONCE, obeys_pauses=True))
    with pytest.raises(ProviderError) as caught:
        waiting.repositories()
    assert caught.value.problem == Problem.THROTTLED


@pytest.mark.parametrize("fault", ["throttled", "token-invalid-401", "conditional-access"])
def test_what_would_not_get_better_is_not_repeated(
    organization: Organization, token: str, emulator: Emulator, fault: str
) -> None:
    emulator.faults.add(fault)
    with pytest.raises(ProviderError):
        AzureDevOpsClient(organization.url, token, TWICE_MORE).connect()
    assert len(asked(emulator, "repositories")) == 1


def test_an_interactive_call_is_not_repeated(client: AzureDevOpsClient, emulator: Emulator) -> None:
    emulator.faults.add("unavailable", times=1)
    with pytest.raises(ProviderError):
        client.connect()
    assert asked(emulator, "repositories") == [503]


def test_what_changes_something_is_not_repeated(
    organization: Organization, token: str, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable")
    with pytest.raises(ProviderError):
        AzureDevOpsClient(organization.url, token, TWICE_MORE).remove_subscription("x")
    assert asked(emulator, "subscriptions") == [503]


# Versions


@pytest.mark.parametrize(
    ("latest", "released", "asked"),
    [
        ("7.2", "7.1", ["7.1"]),
        ("7.2", "7.0", ["7.1", "7.0"]),  # 7.1 is a preview there
        ("7.0", "7.0", ["7.1", "7.0"]),
        ("6.1", "6.0", ["7.1", "6.0"]),
        ("5.2", "5.0", ["7.1", "5.1", "5.0"]),
        ("5.0", "5.0", ["7.1", "5.0"]),
    ],
)
def test_the_newest_version_that_a_server_offers_is_found_once(
    organization: Organization,
    token: str,
    emulator: Emulator,
    latest: str,
    released: str,
    asked: list[str],
) -> None:
    emulator.speak(latest, released)
    for _ in range(2):
        AzureDevOpsClient(organization.url, token, ONCE).connect()
    queries = [request.query for request in emulator.requests]
    spoken = [query.partition("api-version=")[2] for query in queries]
    known = asked[-1]
    assert spoken == [*asked, f"{known}-preview", known, f"{known}-preview"]


def test_one_call_that_no_version_has_leaves_the_others_theirs(
    client: AzureDevOpsClient, repository: Repository, emulator: Emulator
) -> None:
    emulator.faults.add("version-refused", path="/refs")
    with pytest.raises(ProviderError) as caught:
        client.branches(repository.id)
    assert caught.value.problem == Problem.VERSION_REFUSED
    client.repositories()
    assert emulator.requests[-1].query == "api-version=7.1"


def test_what_changes_something_is_done_once_whatever_version_was_refused(
    client: AzureDevOpsClient, repository: Repository, project: Project, emulator: Emulator
) -> None:
    emulator.speak("6.0")
    one = open_pull_request(repository)
    made = client.create_thread(repository.id, one.id, "first")
    client_module.spoken_versions.clear()
    client.edit_comment(repository.id, one.id, made.thread_id, made.comment_id, "second")
    client_module.spoken_versions.clear()
    hook = Hook("git.push", project.id, "http://127.0.0.1:1/hook", "u", "p")
    external_id = client.create_subscription(hook)
    client_module.spoken_versions.clear()
    client.replace_subscription(external_id, hook)
    client_module.spoken_versions.clear()
    client.remove_subscription(external_id)
    assert [thread.comments[0].content for thread in one.threads] == ["second"]
    assert repository.organization.subscriptions == []
    statuses = [request.status for request in emulator.requests]
    assert statuses == [400, 200] * 4 + [400, 204]


def test_a_preview_is_asked_for_in_the_servers_version(
    client: AzureDevOpsClient, emulator: Emulator
) -> None:
    emulator.speak("6.0")
    namespace = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
    assert client.has_permissions(namespace, 2, ["repoV2/x"]) == [True]
    versions = [request.query.partition("api-version=")[2] for request in emulator.requests]
    assert [one.partition("&")[0] for one in versions] == ["7.1-preview", "6.0-preview"]


# Comments


def open_pull_request(repository: Repository) -> PullRequest:
    repository.push({"topic.tf": "1"}, "topic")
    return repository.open_pull_request("topic")


@pytest.mark.parametrize(
    ("status", "type_key", "author", "problem"),
    [
        (403, "GitPullRequestCommentCannotBeUpdatedException", "", Problem.NOT_THE_AUTHOR),
        (400, "GitPullRequestCommentCannotBeUpdatedException", "", Problem.NOT_THE_AUTHOR),
        (403, "GitNeedsPermissionException", "other", Problem.NOT_THE_AUTHOR),
        (400, "InvalidArgumentValueException", "other", Problem.NOT_THE_AUTHOR),
        (403, "GitNeedsPermissionException", "Me", Problem.PERMISSION_DENIED),
        (400, "InvalidArgumentValueException", "Me", Problem.REFUSED),
        (403, "GitNeedsPermissionException", "", Problem.PERMISSION_DENIED),
        (404, "CommentNotFoundException", "other", Problem.NOT_FOUND),
        (403, "GitPullRequestCommentCannotBeUpdatedException", "deleted", Problem.NOT_FOUND),
        (403, "UnauthorizedAccessException", "other", Problem.NOT_THE_AUTHOR),
        (409, "GitPullRequestStaleException", "other", Problem.NOT_THE_AUTHOR),
        (500, "VssServiceException", "other", Problem.UNAVAILABLE),
    ],
)
def test_a_comment_of_another_account_is_distinguished_from_other_refusals(
    status: int, type_key: str, author: str, problem: Problem
) -> None:
    comment = f"{ORGANIZATION}/_apis/git/repositories/r/pullRequests/1/threads/2/comments/3"
    with responses.RequestsMock(assert_all_requests_are_fired=False) as azure:
        azure.patch(comment, json={"message": "No.", "typeKey": type_key}, status=status)
        is_deleted = author == "deleted"
        azure.get(comment, json={"id": 3, "author": {"id": author}, "isDeleted": is_deleted})
        me = {"authenticatedUser": {"id": "me"}}
        azure.get(f"{ORGANIZATION}/_apis/connectionData", json=me)
        with pytest.raises(ProviderError) as caught:
            AzureDevOpsClient(ORGANIZATION, "token", ONCE).edit_comment("r", 1, 2, 3, "x")
    assert caught.value.problem == problem


# The surroundings


def test_a_netrc_entry_does_not_replace_the_token(
    organization: Organization, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert AzureDevOpsClient(organization.url, token, ONCE).connect().repositories


# Wrong shapes


texts = st.sampled_from(["a\0b", "\ud800", "x" * 5000, "", "9999-99-99T99:99:99Z", "heads/\r\n"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "name",
                    "project",
                    "author",
                    "date",
                    "value",
                    "objectId",
                    "authenticatedUser",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
collections = st.fixed_dictionaries({"value": st.lists(values, max_size=3)})
objects = st.dictionaries(
    st.sampled_from(["instanceId", "commitId", "comment", "author", "authenticatedUser", "value"]),
    values,
)
WRONG = [
    b"[]",
    b"null",
    b"1",
    b'"text"',
    b"{}",
    b'{"count": 1}',
    b'{"value": null}',
    b'{"value": "text"}',
    b'{"value": {"id": "x"}}',
    b'{"value": [null]}',
    b'{"value": ["x"]}',
    b'{"value": [[]]}',
    b'{"value": [{"id": "x"}, 7]}',
    b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"value": [], "count": ' + b"9" * 10_000 + b"}",
    b'\xff\xfe{"value": []}',
    b"\x00" * 100,
    b"",
    b"{",
]


def use_everything(body: bytes, headers: dict[str, str], status: int = 200) -> list[object]:
    """Call every method with this answer; return what came back, errors left out."""
    found: list[object] = []
    with responses.RequestsMock() as azure:
        where = re.compile(re.escape(ORGANIZATION))
        kind = {"Content-Type": "application/json"}
        azure.get(where, body=body, status=status, headers=kind | headers)
        client = AzureDevOpsClient(ORGANIZATION, "token", ONCE)
        for call in (
            client.connect,
            client.subscriptions,
            lambda: client.has_permissions("x", 6, ["a", "b"]),
            lambda: client.branches("x"),
            lambda: client.branch("x", "main"),
            lambda: client.commit("x", "y"),
        ):
            try:
                found.append(call())
            except ProviderError as error:
                assert error.problem != Problem.CONNECTION_CUT
    return found


@pytest.mark.parametrize("body", WRONG, ids=lambda body: body[:24].decode("latin-1"))
def test_a_wrong_shape_is_a_diagnosis(body: bytes) -> None:
    assert use_everything(body, {}) == []


@given(
    answer=values | collections | objects,
    continuation=st.none()
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9),
    status=st.sampled_from([200, 200, 200, 401, 403, 404]),
)
@example(answer={"value": [{}], "instanceId": ["x"]}, continuation=None, status=200)
@example(answer={"authenticatedUser": {"id": ["x"]}}, continuation=None, status=401)
@example(answer={"author": {"date": "0001-01-01T00:00:00+23:59"}}, continuation=None, status=200)
def test_no_shape_raises_anything_else(answer: Any, continuation: str | None, status: int) -> None:
    headers = {"x-ms-continuationtoken": continuation} if continuation is not None else {}
    found = use_everything(json.dumps(answer).encode(), headers, status)
    # What comes back can be stored: no lone surrogates, no NUL.
    repr(found).encode()
    assert "\\x00" not in repr(found)
    assert "\\ud8" not in repr(found)


def test_text_that_no_database_takes_is_left_out() -> None:
    item = {"id": "A\0B", "name": "a\ud800b\0", "project": {"id": 7, "name": None}}
    item |= {"defaultBranch": ["refs/heads/main"], "isDisabled": "true"}
    connection, *_ = use_everything(json.dumps({"value": [item]}).encode(), {})
    assert isinstance(connection, Connection)
    (repository,) = connection.repositories
    assert (repository.external_id, repository.name) == ("ab", "ab")
    assert (repository.project_id, repository.project_name) == ("", "")
    assert (repository.default_branch, repository.is_disabled) == ("", False)


def test_a_continuation_that_repeats_itself_ends() -> None:
    body = b'{"value": [{"name": "refs/heads/main", "objectId": "1"}]}'
    *_, branches, _ = use_everything(body, {"x-ms-continuationtoken": "again"})
    assert branches == [RemoteBranch("main", "1")] * 2
