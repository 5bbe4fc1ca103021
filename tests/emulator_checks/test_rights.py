"""Who may do what: scopes of tokens, and rights by project and by repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.devops.exceptions import AzureDevOpsAuthenticationError, AzureDevOpsServiceError
from azure.devops.v7_1.security import models as security_models

from tests.emulator.model import Project, Repository, Subscription
from tests.emulator.pull_requests import PullRequest
from tests.emulator.rights import GIT, RIGHTS, SERVICE_HOOKS
from tests.emulator_checks.world import World, connect, git, with_token

ANN = "Ann Admin"
HOOKS = "_apis/hooks/subscriptions"
NOWHERE = "00000000-0000-0000-0000-000000000001"
SCOPES = (
    "vso.code",
    "vso.code_write",
    "vso.code_status",
    "vso.threads_full",
    "vso.work",
    "vso.build",
    "vso.project",
    "vso.profile",
)
READS = {"vso.code", "vso.code_write"}
STATUSES = {"vso.code_write", "vso.code_status"}
THREADS = {"vso.code_write", "vso.threads_full"}
HOOK_SCOPES = READS | {"vso.work", "vso.build"}


@pytest.fixture
def hook(world: World) -> Subscription:
    return world.organization.add_subscription(world.project, "git.push", "http://127.0.0.1:9/")


@pytest.fixture
def other(world: World) -> Iterator[Project]:
    """Another project, in which everything stays allowed."""
    made = world.organization.add_project("Web")
    made.add_repository("shop", {"main.tf": "one\n"})
    world.organization.add_subscription(made, "git.push", "http://127.0.0.1:9/")
    yield made


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["typeKey"]


def hook_body(project: Project, **changes: Any) -> dict[str, Any]:
    return {
        "publisherId": "tfs",
        "eventType": "git.push",
        "resourceVersion": "1.0",
        "consumerId": "webHooks",
        "consumerActionId": "httpRequest",
        "publisherInputs": {"projectId": project.id},
        "consumerInputs": {"url": "http://127.0.0.1:9/"},
    } | changes


def status_path(where: Repository, sha: str | None = None) -> str:
    return f"_apis/git/repositories/{where.id}/commits/{sha or where.tip()}/statuses"


STATUS = {"state": "pending", "context": {"name": "plan"}}
THREAD = {"comments": [{"content": "hello"}]}


# Scopes


def calls(world: World, one: PullRequest) -> list[tuple[str, str, Any, set[str]]]:
    """Every kind of call, what it posts, and the scopes of which one is enough."""
    repository = f"_apis/git/repositories/{world.repository.id}"
    pull, commit = f"{repository}/pullRequests/{one.id}", status_path(world.repository)
    thread = one.add_thread("hello")
    comments = f"{pull}/threads/{thread.id}/comments"
    hook = world.organization.add_subscription(world.project, "git.push", "http://127.0.0.1:9/")
    return [
        ("GET", "_apis/git/repositories", None, READS),
        ("GET", f"{repository}/refs", None, READS),
        ("GET", f"{repository}/pushes", None, READS),
        ("GET", f"{pull}/iterations", None, READS),
        ("POST", commit, STATUS, STATUSES),
        ("GET", commit, None, READS | STATUSES),
        ("POST", f"{pull}/statuses", STATUS, STATUSES),
        ("POST", f"{pull}/iterations/1/statuses", STATUS, STATUSES),
        ("GET", f"{pull}/statuses", None, READS | STATUSES),
        ("POST", f"{pull}/threads", THREAD, THREADS),
        ("PATCH", f"{pull}/threads/{thread.id}", {"status": "closed"}, THREADS),
        ("POST", comments, {"content": "hello"}, THREADS),
        ("PATCH", f"{comments}/1", {"content": "there"}, THREADS),
        ("GET", f"{pull}/threads", None, READS | THREADS),
        ("GET", "_apis/projects", None, {"vso.project", "vso.profile"}),
        ("GET", HOOKS, None, HOOK_SCOPES),
        ("POST", HOOKS, hook_body(world.project), HOOK_SCOPES),
        ("PUT", f"{HOOKS}/{hook.id}", hook_body(world.project), HOOK_SCOPES),
        ("GET", f"{HOOKS}/{hook.id}/notifications", None, HOOK_SCOPES),
        ("POST", "_apis/hooks/subscriptionsquery", {}, HOOK_SCOPES),
    ]


def test_every_call_asks_for_its_scopes(world: World, opened: PullRequest) -> None:
    tokens = {scope: world.organization.add_token({scope}) for scope in SCOPES}
    for method, path, body, scopes in calls(world, opened):
        answers = {
            scope: world.call(method, path, token, json=body).status_code
            for scope, token in tokens.items()
        }
        assert {scope for scope, status in answers.items() if status < 300} == scopes, path
        assert {answers[scope] for scope in SCOPES if scope not in scopes} == {401}, path


# Repositories


def test_who_may_not_read_a_repository_does_not_find_it(
    world: World, opened: PullRequest, other: Project
) -> None:
    world.organization.deny(ANN, "read", repository=world.repository)
    [shown] = world.get("_apis/git/repositories").json()["value"]
    assert shown["name"] == "shop"
    repository = f"_apis/git/repositories/{world.repository.id}"
    for path in (repository, f"{repository}/refs", f"{repository}/pullrequests"):
        answer = world.get(path)
        assert refusal(answer) == (404, "GitRepositoryNotFoundException")
        assert answer.json()["message"].startswith("TF401019")
    assert world.get(f"_apis/git/pullrequests/{opened.id}").status_code == 404
    assert world.get(f"{world.project.id}/_apis/git/pullrequests").json()["count"] == 0
    done = git("ls-remote", with_token(world.repository.clone_url, world.token))
    assert done.returncode != 0
    bo = world.organization.add_token(user="Bo Builder")
    assert world.get(repository, bo).status_code == 200
    world.organization.allow(ANN, "read", repository=world.repository)
    assert world.get(repository).status_code == 200


def test_the_rule_that_is_nearest_decides(world: World, other: Project) -> None:
    organization, [shop] = world.organization, other.repositories
    organization.deny(ANN, "contribute")
    organization.allow(ANN, "contribute", world.project)
    assert organization.may(ANN, "contribute", world.project, world.repository)
    assert not organization.may(ANN, "contribute", other, shop)
    organization.deny(ANN, "contribute", repository=world.repository)
    assert not organization.may(ANN, "contribute", world.project, world.repository)
    organization.allow(ANN, "contribute")
    assert organization.may(ANN, "contribute", world.project, world.repository)
    assert organization.may("Bo Builder", "read", other)
    with pytest.raises(ValueError, match="view_subscriptions"):
        organization.deny(ANN, "everything")
    with pytest.raises(ValueError, match="of a project"):
        organization.deny(ANN, "edit_subscriptions", repository=shop)


def test_a_status_needs_contribute_and_a_thread_pull_request_contribute(
    world: World, opened: PullRequest
) -> None:
    pull = f"_apis/git/repositories/{world.repository.id}/pullRequests/{opened.id}"
    thread = opened.add_thread("hello")
    posted = opened.post_status("plan", "pending")
    writes: dict[str, list[tuple[str, str, Any]]] = {
        "contribute": [("POST", status_path(world.repository), STATUS)],
        "contribute_to_pull_requests": [
            ("POST", f"{pull}/statuses", STATUS),
            ("POST", f"{pull}/iterations/1/statuses", STATUS),
            ("DELETE", f"{pull}/statuses/{posted.id}", None),
            ("POST", f"{pull}/threads", THREAD),
            ("PATCH", f"{pull}/threads/{thread.id}", {"status": "closed"}),
            ("POST", f"{pull}/threads/{thread.id}/comments", {"content": "hello"}),
            ("PATCH", f"{pull}/threads/{thread.id}/comments/1", {"content": "there"}),
            ("PATCH", pull, {"title": "Three"}),
        ],
    }
    for right, requests_made in writes.items():
        world.organization.deny(ANN, right, world.project)
        for method, path, body in requests_made:
            answer = world.call(method, path, json=body)
            assert refusal(answer) == (403, "GitNeedsPermissionException"), path
            assert f"'{RIGHTS[right].title}'" in answer.json()["message"]
        world.organization.allow(ANN, right, world.project)
        for method, path, body in requests_made:
            assert world.call(method, path, json=body).status_code < 300, path


def test_who_may_not_contribute_cannot_push(world: World, tmp_path: Path) -> None:
    world.organization.deny(ANN, "contribute", world.project)
    url, folder = with_token(world.repository.clone_url, world.token), tmp_path / "clone"
    assert git("clone", "--quiet", url, str(folder)).returncode == 0
    git("commit", "--allow-empty", "-m", "two", cwd=folder)
    done: subprocess.CompletedProcess[str] = git("push", "origin", "main", cwd=folder)
    assert "403" in done.stderr


def test_a_write_is_refused_for_the_first_thing_that_is_wrong(
    world: World, opened: PullRequest
) -> None:
    organization, nowhere = world.organization, "0" * 39 + "1"
    narrow = organization.add_token({"vso.code"})
    pull = f"_apis/git/repositories/{world.repository.id}/pullRequests"
    missing, present = status_path(world.repository, nowhere), status_path(world.repository)
    for right in ("contribute", "contribute_to_pull_requests"):
        organization.deny(ANN, right)
    for path in (missing, f"{pull}/77/statuses", f"{pull}/77/threads"):
        assert world.call("POST", path, narrow, json={}).status_code == 401
        assert world.call("POST", path, json={}).status_code == 403
    gone = missing.replace(world.repository.id, NOWHERE)
    assert refusal(world.call("POST", gone, json={})) == (404, "GitRepositoryNotFoundException")
    for right in ("contribute", "contribute_to_pull_requests"):
        organization.allow(ANN, right)
    for path in (missing, f"{pull}/77/statuses", f"{pull}/77/threads"):
        assert world.call("POST", path, json={}).status_code == 404
    for path in (present, f"{pull}/{opened.id}/statuses", f"{pull}/{opened.id}/threads"):
        assert world.call("POST", path, json={}).status_code == 400


# Service hooks


def test_who_may_not_view_sees_no_subscriptions(
    world: World, hook: Subscription, other: Project
) -> None:
    world.organization.deny(ANN, "view_subscriptions", world.project)
    shown = [one["publisherInputs"]["projectId"] for one in world.get(HOOKS).json()["value"]]
    assert shown == [other.id]
    found = world.call("POST", "_apis/hooks/subscriptionsquery", json={}).json()["results"]
    assert [one["publisherInputs"]["projectId"] for one in found] == [other.id]
    for path in (f"{HOOKS}/{hook.id}", f"{HOOKS}/{hook.id}/notifications"):
        assert refusal(world.get(path)) == (404, "SubscriptionNotFoundException")
    world.organization.deny(ANN, "view_subscriptions")
    assert world.get(HOOKS).json() == {"count": 0, "value": []}


def test_who_may_not_edit_changes_no_subscription(
    world: World, hook: Subscription, other: Project
) -> None:
    world.organization.deny(ANN, "edit_subscriptions", world.project)
    test = {"details": hook_body(world.project)}
    for method, path, body in (
        ("POST", HOOKS, hook_body(world.project)),
        ("POST", HOOKS, hook_body(world.project, publisherId="unknown")),
        ("PUT", f"{HOOKS}/{hook.id}", hook_body(other)),
        ("DELETE", f"{HOOKS}/{hook.id}", None),
        ("POST", "_apis/hooks/testnotifications", test),
        ("POST", "_apis/hooks/testnotifications", {"subscriptionId": hook.id}),
    ):
        answer = world.call(method, path, json=body)
        assert refusal(answer) == (403, "AccessCheckException"), path
        assert f"PublisherSecurity/{world.project.id}" in answer.json()["message"]
        assert answer.json()["message"].endswith("Edit Subscription")
    assert world.get(f"{HOOKS}/{hook.id}").status_code == 200
    assert world.call("POST", HOOKS, json=hook_body(other)).status_code == 200
    [elsewhere] = [one for one in world.organization.subscriptions if one.project is other][:1]
    moved = world.call("PUT", f"{HOOKS}/{elsewhere.id}", json=hook_body(world.project))
    assert moved.status_code == 403
    assert world.call("PUT", f"{HOOKS}/{NOWHERE}", json={}).status_code == 404


def test_the_sdk_names_the_permission_that_is_missing(
    world: World, sdk: Any, hook: Subscription, opened: PullRequest
) -> None:
    for right in ("edit_subscriptions", "contribute", "contribute_to_pull_requests"):
        world.organization.deny(ANN, right)
    hooks, code, where = sdk.get_service_hooks_client(), sdk.get_git_client(), world.repository.id
    with pytest.raises(AzureDevOpsServiceError, match="action: Edit Subscription"):
        hooks.create_subscription(hook_body(world.project))
    with pytest.raises(AzureDevOpsServiceError, match="Edit Subscription"):
        hooks.delete_subscription(hook.id)
    with pytest.raises(AzureDevOpsServiceError, match="'GenericContribute'"):
        code.create_commit_status(STATUS, world.repository.tip(), where)
    with pytest.raises(AzureDevOpsServiceError, match="'PullRequestContribute'"):
        code.create_thread(THREAD, where, opened.id)


def test_who_may_not_delete_keeps_the_subscription(world: World, hook: Subscription) -> None:
    world.organization.deny(ANN, "delete_subscriptions", world.project)
    assert world.call("DELETE", f"{HOOKS}/{hook.id}").status_code == 403
    changed = world.call("PUT", f"{HOOKS}/{hook.id}", json=hook_body(world.project))
    assert changed.status_code == 200
    world.organization.allow(ANN, "delete_subscriptions", world.project)
    assert world.call("DELETE", f"{HOOKS}/{hook.id}").status_code == 204


def test_who_left_is_refused_with_everything_of_theirs(world: World, hook: Subscription) -> None:
    bo = world.organization.add_token(user="Bo Builder")
    world.organization.deactivate(ANN)
    assert world.get("_apis/git/repositories").status_code == 401
    assert hook.status == "disabledByInactiveIdentity"
    path = f"{HOOKS}/{hook.id}"
    shown = world.call("PUT", path, bo, json=hook_body(world.project, status="enabled")).json()
    assert shown["status"] == "disabledByInactiveIdentity"
    assert shown["createdBy"]["displayName"] == ANN
    assert shown["modifiedBy"]["displayName"] == "Bo Builder"


# Asking for permissions


def test_the_sdk_asks_what_it_may(world: World, sdk: Any, other: Project) -> None:
    client, organization = sdk.get_security_client(), world.organization
    organization.deny(ANN, "edit_subscriptions", world.project)
    organization.deny(ANN, "contribute", repository=world.repository)
    hooks = [f"PublisherSecurity/{one.id}" for one in (world.project, other)]
    for bits, answers in ((1, [True, True]), (2, [False, True]), (7, [False, True])):
        assert client.has_permissions(SERVICE_HOOKS, bits, ",".join(hooks)) == answers
    repositories = [
        f"repoV2/{world.project.id}",
        f"repoV2/{world.project.id}/{world.repository.id}",
    ]
    asked = "|".join(repositories)
    assert client.has_permissions(GIT, 4, asked, delimiter="|") == [True, False]
    assert client.has_permissions(GIT, 16384 | 2, asked, delimiter="|") == [True, True]
    evaluations = [
        security_models.PermissionEvaluation(bits, namespace, token)
        for bits, namespace, token in ((2, SERVICE_HOOKS, hooks[0]), (2, GIT, repositories[1]))
    ]
    batch = security_models.PermissionEvaluationBatch(False, evaluations)
    answered = client.has_permissions_batch(batch).evaluations
    assert [one.value for one in answered] == [False, True]
    with pytest.raises(AzureDevOpsServiceError, match="does not exist"):
        client.has_permissions(NOWHERE, 1, "any")


def test_asking_may_be_closed_to_narrow_tokens(world: World) -> None:
    world.organization.permissions_api = False
    narrow = connect(world, world.token).get_security_client()
    with pytest.raises(AzureDevOpsAuthenticationError):
        narrow.has_permissions(GIT, 2, "repoV2")
    wide = world.organization.add_token({"vso.security_manage"})
    assert connect(world, wide).get_security_client().has_permissions(GIT, 2, "repoV2") == [True]
