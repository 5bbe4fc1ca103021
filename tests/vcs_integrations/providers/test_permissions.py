"""What Azure DevOps answers when it is asked for permissions, and what is made of it."""

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import (
    INTERACTIVE,
    Finding,
    Judgment,
    Problem,
    ProjectInUse,
    ProviderError,
    Right,
)

ORGANIZATION = "https://dev.azure.com/fabrikam"
API = f"{ORGANIZATION}/_apis"
GIT = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
HOOKS = "cb594ebe-87dd-4fc9-ac2c-6a10a4c92046"
ALL_OF_GIT, ALL_OF_HOOKS = 2 | 4 | 16384, 1 | 2 | 4
SHOP = ProjectInUse("p1", "Shop", {"r1": "web", "r2": "api"}, {})
JSON_TYPE = "application/json; charset=utf-8; api-version=7.1"


@pytest.fixture
def azure() -> Iterator[responses.RequestsMock]:
    """A service that refuses what can't be done and lists no hooks."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(f"{API}/hooks/subscriptions", json={"value": []}, content_type=JSON_TYPE)
        mock.post(f"{API}/hooks/subscriptions", json={}, status=400, content_type=JSON_TYPE)
        for repository in SHOP.repositories:
            path = f"{API}/git/repositories/{repository}"
            for rest in (
                f"commits/{'0' * 40}/statuses",
                "pullRequests/2147483647/statuses",
                "pullRequests/2147483647/threads",
            ):
                mock.post(f"{path}/{rest}", json={}, status=404, content_type=JSON_TYPE)
        yield mock


def client() -> AzureDevOpsClient:
    return AzureDevOpsClient(ORGANIZATION, "token", INTERACTIVE)


def look(projects: Sequence[ProjectInUse] = (SHOP,)) -> dict[Right, Finding]:
    return {one.right: one for one in client().check_rights(projects)}


def say(azure: responses.RequestsMock, namespace: str, bits: int, *held: bool) -> None:
    azure.get(
        f"{API}/permissions/{namespace}/{bits}",
        json={"count": len(held), "value": list(held)},
        content_type=JSON_TYPE,
    )


def test_all_permissions_of_all_repositories_are_asked_in_one_call(
    azure: responses.RequestsMock,
) -> None:
    say(azure, GIT, ALL_OF_GIT, True, True)
    say(azure, HOOKS, ALL_OF_HOOKS, True)
    assert {one.verdict for one in look().values()} == {Judgment.OK}
    urls = [urlsplit(str(call.request.url)) for call in azure.calls]
    queries = [parse_qs(url.query) for url in urls if "/permissions/" in url.path]
    assert [one["tokens"] for one in queries] == [
        ["repoV2/p1/r1,repoV2/p1/r2"],
        ["PublisherSecurity/p1"],
    ]
    assert {one["alwaysAllowAdministrators"][0] for one in queries} == {"false"}


def test_each_permission_is_asked_of_those_that_lack_one(azure: responses.RequestsMock) -> None:
    say(azure, GIT, ALL_OF_GIT, True, False)
    for bit in (2, 4, 16384):
        say(azure, GIT, bit, bit != 4)
    say(azure, HOOKS, ALL_OF_HOOKS, True)
    found = look()
    assert [one.right for one in found.values() if one.verdict != Judgment.OK] == [
        Right.WRITE_COMMIT_STATUSES
    ]
    cause = found[Right.WRITE_COMMIT_STATUSES].cause
    assert cause == "The token's owner lacks Contribute on api."


@pytest.mark.parametrize(
    "body", ['{"value": [true]}', '{"value": [true, "yes"]}', '{"value": null}', "{}", "[]", "x"]
)
def test_an_answer_of_another_shape_says_nothing(azure: responses.RequestsMock, body: str) -> None:
    azure.get(f"{API}/permissions/{GIT}/{ALL_OF_GIT}", body=body, content_type=JSON_TYPE)
    with pytest.raises(ProviderError) as caught:
        client().has_permissions(GIT, ALL_OF_GIT, ["a", "b"])
    assert caught.value.problem == Problem.NOT_THE_PROVIDER


@pytest.mark.parametrize("status", [401, 403, 404, 400])
def test_where_permissions_are_not_returned_attempts_show_them(
    azure: responses.RequestsMock, status: int
) -> None:
    for namespace, bits in ((GIT, ALL_OF_GIT), (HOOKS, ALL_OF_HOOKS)):
        url = f"{API}/permissions/{namespace}/{bits}"
        azure.get(url, json={}, status=status, content_type=JSON_TYPE)
    found = look()
    assert found[Right.WRITE_COMMIT_STATUSES].verdict == Judgment.OK
    assert found[Right.CREATE_HOOKS].verdict == Judgment.UNKNOWN


@pytest.mark.parametrize(
    ("status", "message", "verdict"),
    [
        (403, "TF401027: You need the Git 'GenericContribute' permission", Judgment.MISSING),
        (404, "TF401175: The commit does not exist", Judgment.OK),
        (404, "TF401019: The Git repository does not exist", Judgment.UNKNOWN),
        (400, "The context is missing", Judgment.UNKNOWN),
    ],
)
def test_only_a_commit_that_is_missed_proves_that_a_status_may_be_written(
    azure: responses.RequestsMock, status: int, message: str, verdict: Judgment
) -> None:
    azure.get(f"{API}/permissions/{GIT}/{ALL_OF_GIT}", status=401)
    say(azure, HOOKS, ALL_OF_HOOKS, True)
    azure.replace(
        "POST",
        f"{API}/git/repositories/r2/commits/{'0' * 40}/statuses",
        json={"message": message},
        status=status,
        content_type=JSON_TYPE,
    )
    assert look()[Right.WRITE_COMMIT_STATUSES].verdict == verdict


def test_a_refusal_counts_more_than_what_is_said_of_permissions(
    azure: responses.RequestsMock,
) -> None:
    say(azure, GIT, ALL_OF_GIT, True, True)
    say(azure, HOOKS, ALL_OF_HOOKS, True)
    url = f"{API}/git/repositories/r1/commits/{'0' * 40}/statuses"
    azure.replace("POST", url, json={}, status=403, content_type=JSON_TYPE)
    found = look()[Right.WRITE_COMMIT_STATUSES]
    assert (found.verdict, found.evidence) == (Judgment.MISSING, "HTTP 403")
    assert found.cause == "The token's owner lacks Contribute on web."
