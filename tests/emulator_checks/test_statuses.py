"""Statuses and status policies of the emulator, driven by Microsoft's SDK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.git import models

from tests.emulator import Emulator
from tests.emulator.errors import RefusedError
from tests.emulator.git import GitError
from tests.emulator.pull_requests import PullRequest, PullRequestError
from tests.emulator_checks.world import World

NETWORK = "stackhook/network"
ONE = "POST git/repositories/{repository}/pullrequests/{pull_request}"


def status(
    name: str = "network", state: str | None = "succeeded", genre: str | None = "stackhook"
) -> Any:
    return models.GitPullRequestStatus(
        state=state,
        description="Run 12",
        target_url="https://ci.example/r/12",
        context=models.GitStatusContext(name=name, genre=genre),
    )


def removal(*paths: str) -> list[Any]:
    return [models.JsonPatchOperation(op="remove", path=path) for path in paths]


def path_of(world: World, one: PullRequest) -> str:
    return f"_apis/git/repositories/{world.repository.id}/pullRequests/{one.id}"


# Commits


def test_the_sdk_posts_and_lists_the_statuses_of_a_commit(world: World, sdk: Any) -> None:
    client, key, sha = sdk.get_git_client(), world.repository.id, world.repository.sha("main")
    first = client.create_commit_status(status(state="pending"), sha, key)
    assert (first.id, first.state, first.created_by.display_name) == (1, "pending", "Ann Admin")
    assert (first.context.genre, first.context.name) == ("stackhook", "network")
    assert (first.description, first.target_url) == ("Run 12", "https://ci.example/r/12")
    assert first.creation_date == first.updated_date
    client.create_commit_status(status("cluster", genre=None), sha, key, "Platform Team")
    client.create_commit_status(status(state="failed"), sha, key)

    def found(**options: Any) -> list[tuple[int, str]]:
        return [(one.id, one.state) for one in client.get_statuses(sha, key, **options)]

    assert found() == [(3, "failed"), (2, "succeeded"), (1, "pending")]
    assert found(latest_only=True) == [(3, "failed"), (2, "succeeded")]
    assert found(top=1, skip=1) == [(2, "succeeded")]
    assert found(latest_only=True, skip=1) == [(2, "succeeded")]
    assert client.get_statuses(world.repository.push({"x": "1"}), key) == []
    counts = world.emulator.request_counts()
    assert counts["POST git/repositories/{repository}/commits/{commit}/statuses"] == 3
    [posted, _, _] = world.repository.statuses[sha]
    assert (str(posted.context), posted.date.year) == (NETWORK, first.creation_date.year)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"state": "pending"}, "needs a context"),
        ({"state": "pending", "context": {"genre": "g"}}, "needs a context with a name"),
        ({"state": "pending", "context": {"name": " "}}, "needs a context with a name"),
        ({"state": "pending", "context": {"name": 1}}, "not valid for name"),
        ({"state": "Green", "context": {"name": "n"}}, "'Green' is none of notSet, pending"),
        ({"state": 2, "context": {"name": "n"}}, "not valid for state"),
        ({"description": [], "context": {"name": "n"}}, "not valid for description"),
    ],
)
def test_a_status_without_name_or_state_is_refused(
    world: World, opened: PullRequest, body: dict[str, Any], message: str
) -> None:
    commit = f"_apis/git/repositories/{world.repository.id}/commits/{opened.source_commit}"
    for owner in (commit, path_of(world, opened)):
        refused = world.call("POST", f"{owner}/statuses", json=body)
        assert refused.status_code == 400
        assert message in refused.json()["message"]
    assert (world.repository.statuses, opened.statuses) == ({}, [])


def test_a_status_needs_no_more_than_a_name(world: World) -> None:
    path = f"_apis/git/repositories/{world.repository.id}/commits/{world.repository.tip()}/statuses"
    made = world.call("POST", path, json={"context": {"name": "n"}})
    assert made.status_code == 201
    assert (made.json()["state"], made.json()["context"]) == ("notSet", {"name": "n"})
    assert not {"iterationId", "targetUrl", "description"} & set(made.json())


def test_an_unknown_commit_has_no_statuses(world: World, sdk: Any) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    with pytest.raises(AzureDevOpsServiceError, match="TF401175") as caught:
        client.create_commit_status(status(), "a" * 40, key)
    assert caught.value.type_key == "GitUnresolvableToCommitException"
    with pytest.raises(AzureDevOpsServiceError, match="TF401175"):
        client.get_statuses("a" * 40, key)
    with pytest.raises(GitError):
        world.repository.post_status("a" * 40, NETWORK)


def test_statuses_ask_for_their_scopes(world: World, opened: PullRequest) -> None:
    commit = f"_apis/git/repositories/{world.repository.id}/commits/{opened.source_commit}/statuses"
    body = {"context": {"name": "n"}, "state": "pending"}
    paths = (commit, f"{path_of(world, opened)}/statuses")
    for scope, read, written in (
        ("vso.code", [200, 200], [401, 401]),
        ("vso.code_status", [200, 200], [201, 200]),
        ("vso.threads_full", [401, 401], [401, 401]),
    ):
        token = world.organization.add_token({scope})
        assert [world.get(path, token).status_code for path in paths] == read
        posted = [world.call("POST", path, token, json=body).status_code for path in paths]
        assert posted == written
    assert len(opened.statuses) == 1


# Pull requests


def test_the_sdk_posts_and_lists_the_statuses_of_a_pull_request(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    opened.push({"x": "1"})
    whole = client.create_pull_request_status(status(state="pending"), *where)
    named = status(state="failed")
    named.iteration_id = 1
    named.properties = {"run": 12, "kept": "as text"}
    first = client.create_pull_request_status(named, *where)
    second = client.create_pull_request_iteration_status(status(), *where, 2)
    assert [one.id for one in (whole, first, second)] == [1, 2, 3]
    assert [one.iteration_id for one in (whole, first, second)] == [None, 1, 2]
    assert first.properties["run"] == {"$type": "System.Int32", "$value": 12}
    assert first.properties["kept"]["$value"] == "as text"
    listed = client.get_pull_request_statuses(*where)
    assert [(one.id, one.state) for one in listed] == [
        (1, "pending"),
        (2, "failed"),
        (3, "succeeded"),
    ]
    [of_first] = client.get_pull_request_iteration_statuses(*where, 1)
    assert (of_first.id, of_first.description) == (2, "Run 12")
    assert client.get_pull_request_status(*where, 3).context.name == "network"
    assert client.get_pull_request_iteration_status(*where, 2, 3).id == 3
    with pytest.raises(AzureDevOpsServiceError, match="status 3 of pull request"):
        client.get_pull_request_iteration_status(*where, 1, 3)
    counts = world.emulator.request_counts()
    assert counts[f"{ONE}/statuses"] == 2
    assert counts[f"{ONE}/iterations/{{iteration}}/statuses"] == 1


def test_statuses_are_added_and_the_latest_of_each_context_is_shown(opened: PullRequest) -> None:
    opened.push({"x": "1"})
    for state in ("pending", "failed", "succeeded"):
        opened.post_status(NETWORK, state, iteration=1)
    opened.post_status("stackhook/cluster", "pending", iteration=1)
    opened.post_status(NETWORK, "error", iteration=2)
    opened.post_status("network", "notSet", user="Bo Builder")

    def outline(iteration: int | None) -> list[tuple[str, str]]:
        return [(str(one.context), one.state) for one in opened.latest_statuses(iteration)]

    assert len(opened.statuses) == 6
    assert outline(1) == [(NETWORK, "succeeded"), ("stackhook/cluster", "pending")]
    assert outline(2) == [(NETWORK, "error")]
    assert outline(None) == [("network", "notSet")]
    assert opened.statuses[-1].created_by.name == "Bo Builder"


def test_a_status_names_an_iteration_that_exists(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    for number in (0, 2):
        named = status()
        named.iteration_id = number
        with pytest.raises(AzureDevOpsServiceError, match=f"iteration {number} ") as caught:
            client.create_pull_request_status(named, *where)
        assert caught.value.type_key == "GitPullRequestIterationNotFoundException"
    with pytest.raises(AzureDevOpsServiceError, match="iteration 2 "):
        client.create_pull_request_iteration_status(status(), *where, 2)
    path = f"{path_of(world, opened)}/statuses"
    body = {"context": {"name": "n"}, "iterationId": "1"}
    assert world.call("POST", path, json=body).status_code == 400
    assert world.call("POST", f"{path_of(world, opened)}/77/statuses", json=body).status_code == 404
    assert opened.statuses == []


def test_the_sdk_removes_statuses(world: World, sdk: Any, opened: PullRequest) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    for state in ("pending", "failed", "succeeded", "error"):
        opened.post_status(NETWORK, state, iteration=1)
    opened.post_status(NETWORK, "pending")
    client.delete_pull_request_status(*where, 4)
    assert opened.latest_statuses(1)[0].state == "succeeded"
    with pytest.raises(AzureDevOpsServiceError, match="status 77"):
        client.update_pull_request_statuses(removal("/1", "/77"), *where)
    with pytest.raises(AzureDevOpsServiceError, match="status 5"):
        client.update_pull_request_iteration_statuses(removal("/1", "/5"), *where, 1)
    assert [one.id for one in opened.statuses] == [1, 2, 3, 5]
    client.update_pull_request_iteration_statuses(removal("/1", "/3"), *where, 1)
    client.update_pull_request_statuses(removal("/5"), *where)
    assert [one.id for one in opened.statuses] == [2]
    client.delete_pull_request_iteration_status(*where, 1, 2)
    assert opened.post_status(NETWORK).id == 6
    path = f"{path_of(world, opened)}/statuses"
    odd: tuple[Any, ...] = (
        {"op": "remove"},
        [{"op": "add", "path": "/6"}],
        [{"op": "remove"}],
        [6],
    )
    for body in odd:
        assert world.call("PATCH", path, json=body).status_code == 400
    assert len(opened.statuses) == 1


@pytest.mark.parametrize("end", ["complete", "abandon"])
def test_a_closed_pull_request_refuses_statuses(
    world: World, sdk: Any, opened: PullRequest, end: str
) -> None:
    opened.post_status(NETWORK, iteration=1)
    getattr(opened, end)()
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    with pytest.raises(AzureDevOpsServiceError, match="TF401181") as caught:
        client.create_pull_request_status(status(), *where)
    assert caught.value.type_key == "GitPullRequestNotEditableException"
    with pytest.raises(AzureDevOpsServiceError, match="TF401181"):
        client.create_pull_request_iteration_status(status(), *where, 1)
    with pytest.raises(AzureDevOpsServiceError, match="TF401181"):
        client.delete_pull_request_status(*where, 1)
    assert [one.id for one in client.get_pull_request_statuses(*where)] == [1]
    client.create_commit_status(status(), opened.source_commit, world.repository.id)


# Policies


def test_a_policy_with_reset_wants_statuses_on_iterations(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    world.repository.require_status(NETWORK)
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    with pytest.raises(
        AzureDevOpsServiceError,
        match="Policy configuration requires status to be posted on iteration",
    ) as caught:
        client.create_pull_request_status(status(), *where)
    assert caught.value.type_key == "GitPullRequestStatusRejectedByPolicyException"
    answer = world.call(
        "POST",
        f"{path_of(world, opened)}/statuses",
        json={"context": {"name": "network", "genre": "stackhook"}, "state": "succeeded"},
    )
    assert answer.status_code == 403
    client.create_pull_request_status(status("cluster"), *where)
    client.create_pull_request_iteration_status(status(), *where, 1)
    world.repository.require_status(NETWORK, reset_on_push=False)
    client.create_pull_request_status(status(), *where)
    assert len(opened.statuses) == 3


def test_a_pull_request_is_completed_when_its_newest_iteration_passes(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    world.repository.require_status(NETWORK)
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)

    def complete() -> Any:
        tip = models.GitCommitRef(commit_id=opened.source_commit)
        wanted = models.GitPullRequest(status="completed", last_merge_source_commit=tip)
        return client.update_pull_request(wanted, *where)

    def refused(reason: str) -> bool:
        with pytest.raises(AzureDevOpsServiceError, match=re.escape(NETWORK)) as caught:
            complete()
        key = caught.value.type_key
        return (
            reason in str(caught.value) and key == "GitPullRequestUpdateRejectedByPolicyException"
        )

    before = world.repository.tip()
    assert refused("is missing")
    for state in ("notSet", "pending", "failed", "error"):
        opened.post_status(NETWORK, state, iteration=1)
        assert refused(f"is {state}")
    opened.post_status(NETWORK, "succeeded", iteration=1)
    opened.push({"x": "1"})
    assert refused("on iteration 2 to be succeeded, and it is missing")
    opened.post_status("stackhook/cluster", "succeeded", iteration=2)
    world.repository.post_status(opened.source_commit, NETWORK)
    opened.post_status(NETWORK, "succeeded", iteration=1)
    assert refused("is missing")
    assert (opened.status, world.repository.tip()) == ("active", before)
    opened.post_status(NETWORK, "notApplicable", iteration=2)
    assert complete().status == "completed"


def test_the_last_slash_of_a_policy_divides_genre_and_name(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    world.repository.require_status("stackhook/team/network")
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    client.create_pull_request_iteration_status(status("team/network"), *where, 1)
    with pytest.raises(PullRequestError, match="stackhook/team/network"):
        opened.complete()
    client.create_pull_request_iteration_status(status(genre="stackhook/team"), *where, 1)
    opened.complete()


def test_a_policy_without_reset_keeps_what_was_posted(world: World, opened: PullRequest) -> None:
    world.repository.require_status(NETWORK, reset_on_push=False)
    opened.post_status(NETWORK, "failed", iteration=1)
    with pytest.raises(PullRequestError, match="is failed"):
        opened.complete()
    opened.post_status(NETWORK)
    opened.push({"x": "1"})
    opened.complete()
    assert opened.status == "completed"


def test_a_policy_is_about_one_branch_until_it_is_dropped(
    world: World, opened: PullRequest
) -> None:
    world.repository.push({"r": "1"}, "release")
    world.repository.require_status(NETWORK, "release")
    assert opened.policies == []
    opened.post_status(NETWORK)
    opened.retarget("release")
    with pytest.raises(PullRequestError, match="is missing"):
        opened.complete()
    with pytest.raises(RefusedError, match="on iteration"):
        opened.post_status(NETWORK)
    world.repository.drop_policy(NETWORK, "release")
    opened.complete()


def test_a_second_start_keeps_statuses_and_policies(tmp_path: Path) -> None:
    with Emulator(tmp_path) as first:
        repository = (
            first.add_organization("fabrikam").add_project("P").add_repository("r", {"a": "1"})
        )
        sha = repository.push({"a": "2"}, "topic")
        repository.post_status(
            sha, NETWORK, "failed", description="d", target_url="https://x.example"
        )
        policy = repository.require_status(NETWORK)
        made = repository.open_pull_request("topic")
        made.post_status(NETWORK, "pending", iteration=1, properties={"run": 1})
        made.remove_statuses(made.post_status(NETWORK, "failed", iteration=1).id)
    with Emulator(tmp_path) as second:
        [found] = second.organizations[0].repositories
        [kept] = found.pull_requests
        assert found.statuses == repository.statuses
        assert found.policies == [policy]
        assert kept.statuses == made.statuses
        assert kept.post_status(NETWORK, iteration=1).id == 3
        kept.complete()


# Pages


def test_visitors_see_statuses_and_policies(world: World, opened: PullRequest) -> None:
    overview = f"{world.repository.clone_url}/pullrequests"
    form = {"action": "require", "context": NETWORK, "branch": "main", "reset": "on"}
    page = requests.post(overview, data=form, timeout=5)
    assert f"<code>{NETWORK}</code> <small>for main, reset whenever" in page.text
    [policy] = world.repository.policies
    assert (policy.target_ref, policy.reset_on_push) == ("refs/heads/main", True)
    opened.post_status(NETWORK, "failed", iteration=1, description="<b>Run 1</b>")
    opened.push({"x": "1"})
    page = requests.post(opened.url, data={"action": "complete"}, timeout=5)
    assert opened.status == "active"
    assert f"needs the status {NETWORK} on iteration 2 to be succeeded, and it is missing" in (
        page.text
    )
    assert '<span class="bad">missing on iteration 2</span>' in page.text
    assert "&lt;b&gt;Run 1&lt;/b&gt;" in page.text
    assert '<span class="bad">failed</span>' in page.text
    opened.post_status(NETWORK, "pending", iteration=2)
    opened.post_status(NETWORK, iteration=2, target_url="https://ci.example/r/12")
    opened.post_status("stackhook/cluster", "error", target_url="javascript:alert(1)")
    text = requests.get(opened.url, timeout=5).text
    assert '<span class="good">succeeded on iteration 2</span>' in text
    assert '<a href="https://ci.example/r/12">Details</a>' in text
    assert "javascript:" not in text
    places = [text.index(part) for part in ("<small>iteration 2", "<small>iteration 1", "no iter")]
    assert places == sorted(places)
    assert ">pending<" not in text
    page = requests.post(opened.url, data={"action": "complete"}, timeout=5)
    assert "Completed." in page.text
    page = requests.post(overview, data=form | {"action": "drop"}, timeout=5)
    assert NETWORK not in page.text
    page = requests.post(overview, data=form | {"context": " "}, timeout=5)
    assert "needs a context with a name" in page.text


def test_visitors_see_the_statuses_of_a_commit(world: World) -> None:
    sha = world.repository.sha("main")
    world.repository.post_status(sha, NETWORK, "pending")
    world.repository.post_status(sha, NETWORK, "failed", description="Run 12")
    text = requests.get(f"{world.repository.clone_url}/commit/{sha}", timeout=5).text
    assert f'<code>{NETWORK}</code> <span class="bad">failed</span> Run 12' in text
    assert "pending" not in text
