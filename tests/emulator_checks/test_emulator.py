"""The emulator behaves as Azure DevOps; Microsoft's own SDK and git itself are the judges."""

from __future__ import annotations

import base64
import gc
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import DeserializationError
from azure.devops.exceptions import (
    AzureDevOpsAuthenticationError,
    AzureDevOpsClientRequestError,
    AzureDevOpsServiceError,
)
from azure.devops.v7_1.git import models as git_models
from azure.devops.v7_1.service_hooks import models as hook_models

from tests.emulator import Emulator
from tests.emulator.git import NO_OBJECT
from tests.emulator.hook_rules import EVENT_TYPES, HookRuleError
from tests.emulator_checks.world import (
    FILES,
    Receiver,
    World,
    clone,
    connect,
    git,
    with_token,
)

# The SDK reads


def test_the_sdk_lists_repositories_of_organization_and_project(world: World, sdk: Any) -> None:
    world.project.add_repository("empty")
    world.organization.add_project("Other").add_repository("else")
    client = sdk.get_git_client()
    names = {one.name: one for one in client.get_repositories()}
    assert set(names) == {"infrastructure", "empty", "else"}
    assert names["infrastructure"].default_branch == "refs/heads/main"
    assert names["infrastructure"].project.name == "Platform Team"
    assert names["infrastructure"].remote_url.startswith("http://Fabrikam@127.0.0.1:")
    assert names["empty"].default_branch is None
    assert [one.name for one in client.get_repositories(project="platform team")] == [
        "infrastructure",
        "empty",
    ]


def test_the_sdk_lists_projects_and_names_the_user(world: World) -> None:
    clients = connect(world, world.organization.add_token({"vso.project"}, user="Bo Builder"))
    assert [one.name for one in clients.get_core_client().get_projects()] == ["Platform Team"]
    data = clients.get_location_client().get_connection_data()
    assert data.instance_id == world.organization.id
    assert data.authenticated_user.provider_display_name == "Bo Builder"


def test_the_sdk_reads_refs_branches_commits_and_pushes(world: World, sdk: Any) -> None:
    tip = world.repository.push({"main.tf": "two\n"}, "feature/x", "Subject\n\nBody", "Bo <bo@x.y>")
    client, key = sdk.get_git_client(), world.repository.id
    refs = client.get_refs(key, filter="heads/feature")
    assert [(one.name, one.object_id) for one in refs] == [("refs/heads/feature/x", tip)]
    assert refs[0].creator.display_name == "Bo"
    branches = {one.name: one for one in client.get_branches(key)}
    assert (branches["feature/x"].ahead_count, branches["feature/x"].behind_count) == (1, 0)
    assert branches["main"].is_base_version is True
    commit = client.get_commit(tip, key, change_count=5)
    assert (commit.comment, commit.author.name) == ("Subject\n\nBody", "Bo")
    assert [one["changeType"] for one in commit.changes] == ["edit"]
    pushes = client.get_pushes(
        key,
        search_criteria=git_models.GitPushSearchCriteria(
            ref_name="refs/heads/feature/x", include_ref_updates=True
        ),
    )
    assert [one.push_id for one in pushes] == [2]
    assert pushes[0].ref_updates[0].old_object_id == NO_OBJECT
    assert [one.commit_id for one in client.get_push(key, 2).commits] == [tip]
    changes = client.get_changes(tip, key)
    assert changes.change_counts == {"Edit": 1}
    listed = client.get_commits(key, git_models.GitQueryCommitsCriteria())
    assert [one.comment for one in listed] == ["Initial commit"]
    assert client.get_item(key, "/main.tf", include_content=True).content == FILES["main.tf"]
    assert b"".join(client.get_item_content(key, "/modules/a.tf")) == b"a\n"


def test_a_list_of_commits_cuts_comments_and_says_so(world: World) -> None:
    world.repository.push({"x": "1"}, message="Subject\n\nBody")
    listed = world.get(f"_apis/git/repositories/{world.repository.id}/commits?$top=1").json()
    assert listed["value"][0]["comment"] == "Subject"
    assert listed["value"][0]["commentTruncated"] is True


def test_differences_equal_those_of_git(world: World, sdk: Any, tmp_path: Path) -> None:
    world.repository.push({"only-main": "x"}, "main")
    before = world.repository.ref_values()["refs/heads/main"]
    moved = FILES["main.tf"] + "last\n"
    changes = {"main.tf": None, "moved/main.tf": moved, "modules/a.tf": "b\n", "new.tf": "n\n"}
    changes |= {"modules/deep/b.tf": None, "c.tf": FILES["modules/deep/b.tf"], "only-main": None}
    after = world.repository.push(changes, "work")
    diff = sdk.get_git_client().get_commit_diffs(
        world.repository.id,
        base_version_descriptor=git_models.GitBaseVersionDescriptor(
            base_version=before, base_version_type="commit"
        ),
        target_version_descriptor=git_models.GitTargetVersionDescriptor(
            target_version="work", target_version_type="branch"
        ),
    )
    folder = clone(world, world.repository, tmp_path / "clone")
    expected = git("diff", "--name-status", "-M", before, after, cwd=folder).stdout
    expected = re.sub(r"^R\d+", "R", expected, flags=re.MULTILINE)
    assert sorted(names_and_statuses(diff.changes)) == sorted(expected.splitlines())
    kinds = {one["item"]["path"]: one["changeType"] for one in diff.changes}
    assert kinds["/moved/main.tf"] == "edit, rename"
    assert kinds["/c.tf"] == "rename"
    assert kinds["/main.tf"] == "delete, sourceRename"
    assert kinds["/modules"] == "edit"
    assert (diff.ahead_count, diff.behind_count, diff.common_commit) == (1, 0, before)
    assert diff.all_changes_included is True


def test_items_are_listed_as_git_lists_them(world: World, sdk: Any, tmp_path: Path) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    world.repository.push({"modules/deep/er/ß ü.tf": "1", "modules/b.tf": "2"})
    folder = clone(world, world.repository, tmp_path / "clone")
    submodule = f"160000,{'1' * 40},modules/sub"
    git("update-index", "--add", "--cacheinfo", submodule, cwd=folder)
    git("commit", "-m", "Add a submodule", cwd=folder)
    git("push", "origin", "main", cwd=folder)
    head = world.repository.sha("main")
    version = git_models.GitVersionDescriptor(version=head, version_type="commit")

    def listed(scope: str, level: str) -> dict[str, str]:
        found = client.get_items(
            key, scope_path=scope, recursion_level=level, version_descriptor=version
        )
        assert all(bool(one.is_folder) == (one.git_object_type == "tree") for one in found)
        return {one.path: one.git_object_type for one in found}

    lines = git("ls-tree", "-r", "-t", "-z", "main", cwd=folder).stdout.split("\0")[:-1]
    expected = {f"/{line.partition(chr(9))[2]}": line.split()[1] for line in lines}
    assert listed("/", "full") == expected | {"/": "tree"}
    assert expected["/modules/sub"] == "commit"
    assert set(listed("/modules", "oneLevel")) == {
        "/modules",
        *(path for path in expected if path.startswith("/modules/") and path.count("/") == 2),
    }
    with pytest.raises(AzureDevOpsServiceError):
        listed("/main.tf", "full")


def names_and_statuses(changes: list[dict[str, Any]]) -> Iterator[str]:
    """Put changes as `git diff --name-status` does, folders left out."""
    for change in changes:
        path, kind = change["item"]["path"][1:], change["changeType"]
        if change["item"]["gitObjectType"] == "tree" or kind == "delete, sourceRename":
            continue
        if "rename" in kind:
            yield f"R\t{change['sourceServerItem'][1:]}\t{path}"
        else:
            yield f"{ {'add': 'A', 'edit': 'M', 'delete': 'D'}[kind] }\t{path}"


def test_differences_from_the_common_commit_leave_out_what_the_base_did(world: World) -> None:
    start = world.repository.push({"work.tf": "w"}, "work")
    world.repository.push({"main-only.tf": "m"}, "main")
    path = f"_apis/git/repositories/{world.repository.id}/diffs/commits"
    versions = {"baseVersion": "main", "targetVersion": start, "targetVersionType": "commit"}
    plain = world.get(path, params=versions).json()
    common = world.get(path, params=versions | {"diffCommonCommit": "true"}).json()
    assert [one["item"]["path"] for one in plain["changes"]] == ["/main-only.tf", "/work.tf"]
    assert [one["item"]["path"] for one in common["changes"]] == ["/work.tf"]
    assert (common["aheadCount"], common["behindCount"]) == (1, 1)


def test_differences_are_paged(world: World) -> None:
    world.repository.push({f"{number:03}.tf": "x" for number in range(150)}, "many")
    path = f"_apis/git/repositories/{world.repository.id}/diffs/commits"
    versions: dict[str, Any] = {"baseVersion": "main", "targetVersion": "many"}
    first = world.get(path, params=versions).json()
    second = world.get(path, params=versions | {"$skip": 100}).json()
    assert (len(first["changes"]), first["allChangesIncluded"]) == (100, False)
    assert (len(second["changes"]), second["allChangesIncluded"]) == (50, True)
    assert first["changeCounts"] == {"Add": 150}


def test_refs_are_paged_with_a_header_only_when_asked(world: World) -> None:
    tip = world.repository.ref_values()["refs/heads/main"]
    lines = "".join(f"create refs/heads/b/{number:04} {tip}\n" for number in range(2500))
    world.repository.git.run("update-ref", "--stdin", stdin=lines.encode())
    path = f"_apis/git/repositories/{world.repository.id}/refs"
    assert world.get(path).json()["count"] == 2501
    names: list[str] = []
    token: str | None = None
    sizes: list[int] = []
    while token is not None or not sizes:
        options = {"filter": "heads/b/", "$top": "1000", "continuationToken": token}
        answer = world.get(path, params=options)
        names += [one["name"] for one in answer.json()["value"]]
        sizes.append(answer.json()["count"])
        token = answer.headers.get("X-MS-ContinuationToken")
    assert sizes == [1000, 1000, 500]
    assert names == [f"refs/heads/b/{number:04}" for number in range(2500)]
    assert world.get(path, params={"continuationToken": names[0]}).json()["count"] == 100
    assert world.get(path, params={"filterContains": "0042"}).json()["count"] == 1


def test_projects_are_paged(world: World) -> None:
    for number in range(4):
        world.organization.add_project(f"P{number}")
    token = world.organization.add_token({"vso.project"})
    first = world.get("_apis/projects?$top=3", token)
    assert (first.json()["count"], first.headers["x-ms-continuationtoken"]) == (3, "3")
    last = world.get("_apis/projects?$top=3&continuationToken=3", token)
    assert last.json()["count"] == 2
    assert "x-ms-continuationtoken" not in last.headers


def test_many_repositories_cost_nothing_until_used(world: World) -> None:
    started = time.monotonic()
    added = world.project.add_repositories(10_000)
    assert time.monotonic() - started < 5
    assert world.get("_apis/git/repositories").json()["count"] == 10_001
    assert not list(world.emulator.state.root.glob(f"git/{added[7].id}*"))
    refs = world.get(f"_apis/git/repositories/{added[7].id}/refs").json()
    assert [one["name"] for one in refs["value"]] == ["refs/heads/main"]


def test_names_and_routes_are_found_in_any_letter_case_and_urls_echo_the_request(
    world: World,
) -> None:
    base = world.organization.url.replace("127.0.0.1", "localhost").replace("Fabrikam", "FABRIKAM")
    answer = requests.get(
        f"{base}/PLATFORM%20team/_APIS/Git/Repositories/INFRAstructure",
        auth=("x", world.token),
        timeout=5,
    )
    assert answer.json()["id"] == world.repository.id
    assert answer.json()["url"].startswith("http://localhost:")
    assert answer.json()["webUrl"].endswith("/Fabrikam/Platform%20Team/_git/infrastructure")


# Refusals


@pytest.mark.parametrize(
    ("path", "status", "type_key", "code"),
    [
        ("Nope/_apis/git/repositories", 404, "ProjectDoesNotExistWithNameException", "TF200016"),
        ("Platform Team/_apis/git/repositories/x", 404, "GitRepositoryNotFoundException", "TF4010"),
        ("_apis/connectionData?api-version=7.1", 400, "VssInvalidPreviewVersionException", "The"),
        ("_apis/git/repositories?api-version=9.0", 400, "VssVersionOutOfRangeException", "The"),
        (f"_apis/hooks/subscriptions/{NO_OBJECT}", 404, "SubscriptionNotFoundException", "The"),
    ],
)
def test_what_is_wrong_is_said_in_the_error_shape(
    world: World, path: str, status: int, type_key: str, code: str
) -> None:
    answer = world.get(path)
    assert (answer.status_code, answer.json()["typeKey"]) == (status, type_key)
    assert answer.json()["message"].startswith(code)


def test_unknown_organizations_and_routes_are_29_bytes_of_text(world: World) -> None:
    for url in (f"{world.emulator.url}/nope/_apis/projects", f"{world.organization.url}/_apis/x"):
        answer = requests.get(url, auth=("", world.token), timeout=5)
        assert (answer.status_code, len(answer.content)) == (404, 29)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_disabled_repository_is_listed_and_otherwise_missing(world: World, sdk: Any) -> None:
    world.repository.disable()
    client = sdk.get_git_client()
    assert [one.is_disabled for one in client.get_repositories()] == [True]
    with pytest.raises(AzureDevOpsServiceError, match="TF401019"):
        client.get_refs(world.repository.id)
    done = git("ls-remote", with_token(world.repository.clone_url, world.token))
    assert done.returncode != 0
    assert "TF401019" in done.stderr and "not found" in done.stderr


def test_a_code_token_may_list_repositories_but_not_projects(world: World) -> None:
    token = world.organization.add_token({"vso.code"})
    assert world.get("_apis/git/repositories", token).status_code == 200
    assert world.get("_apis/projects", token).status_code == 401


def test_a_token_without_code_gets_connection_data_only(world: World) -> None:
    token = world.organization.add_token({"vso.work"})
    assert world.get("_apis/connectionData?api-version=7.1-preview", token).status_code == 200
    assert world.get("_apis/git/repositories", token).status_code == 401


def test_wrong_expired_and_missing_tokens_are_refused(world: World) -> None:
    expired = world.organization.add_token(expires_on=datetime.now(UTC) - timedelta(days=1))
    answer = world.get("_apis/git/repositories", expired)
    assert answer.status_code == 401
    assert "Token%20used%20has%20expired" in answer.headers["X-TFS-ServiceError"]
    answer = world.get("_apis/git/repositories", "wrong")
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:13]) == (401, 'Basic realm="')
    bare = requests.get(f"{world.organization.url}/_apis/git/repositories", timeout=5)
    assert bare.status_code == 401
    other = world.emulator.add_organization("contoso")
    assert world.get("_apis/git/repositories", other.add_token()).status_code == 401
    with pytest.raises(AzureDevOpsAuthenticationError):
        connect(world, "wrong").get_git_client().get_repositories()


def test_a_write_needs_a_version(world: World) -> None:
    answer = world.call("POST", "_apis/hooks/subscriptions", json={}, headers={})
    assert answer.json()["typeKey"] == "VssVersionNotSpecifiedException"


# Git


@pytest.mark.parametrize("name", ["modules", "terraform modules", "büro-netz"])
def test_git_clones_and_pushes_whatever_the_name(world: World, tmp_path: Path, name: str) -> None:
    project = world.organization.add_project("Zürich Nord")
    repository = project.add_repository(name, FILES)
    folder = clone(world, repository, tmp_path / "clone")
    (folder / "new.tf").write_text("new\n")
    git("add", ".", cwd=folder)
    git("commit", "-m", "Add", cwd=folder)
    done = git("push", "origin", "main", cwd=folder)
    assert done.returncode == 0, done.stderr
    sha = git("rev-parse", "HEAD", cwd=folder).stdout.strip()
    assert repository.ref_values()["refs/heads/main"] == sha
    push = repository.pushes[-1]
    assert (push.commits, push.pushed_by.name) == ((sha,), "Ann Admin")


def test_git_asks_for_credentials_and_honours_scopes(world: World, tmp_path: Path) -> None:
    bare = requests.get(
        f"{world.repository.clone_url}/info/refs?service=git-upload-pack", timeout=5
    )
    assert bare.status_code == 401
    assert bare.headers["WWW-Authenticate"].startswith("Basic ")
    folder = clone(world, world.repository, tmp_path / "clone")
    reader = world.organization.add_token({"vso.code"})
    url = with_token(world.repository.clone_url, reader)
    assert git("ls-remote", url, cwd=folder).returncode == 0
    refused = git("push", url, "HEAD:refs/heads/x", cwd=folder)
    assert "403" in refused.stderr
    assert len(world.repository.pushes) == 1


def test_a_large_chunked_push_arrives(world: World, tmp_path: Path) -> None:
    folder = clone(world, world.repository, tmp_path / "clone")
    (folder / "large.bin").write_bytes(os.urandom(3 << 20))
    git("add", ".", cwd=folder)
    git("commit", "-m", "Large", cwd=folder)
    done = git("push", "origin", "HEAD:large", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "refs/heads/large" in world.repository.ref_values()


def test_one_git_push_is_one_push_with_all_its_refs(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    world.repository.push({"x": "x"}, "old")
    world.organization.add_subscription(world.project, "git.push", receiver.url)
    folder = clone(world, world.repository, tmp_path / "clone")
    git("tag", "-a", "v1", "-m", "First", cwd=folder)
    done = git("push", "origin", "HEAD:new", "v1", ":old", cwd=folder)
    assert done.returncode == 0, done.stderr
    world.emulator.wait_for_deliveries()
    [(_, event)] = receiver.received
    moves = {one["name"]: one for one in event["resource"]["refUpdates"]}
    assert set(moves) == {"refs/heads/new", "refs/heads/old", "refs/tags/v1"}
    assert moves["refs/heads/old"]["newObjectId"] == NO_OBJECT
    assert moves["refs/heads/new"]["oldObjectId"] == NO_OBJECT
    assert event["resource"]["pushId"] == 3
    path = f"_apis/git/repositories/{world.repository.id}/refs?filter=tags/&peelTags=true"
    [tag] = world.get(path).json()["value"]
    assert tag["peeledObjectId"] == moves["refs/heads/new"]["newObjectId"]


# Webhooks


def test_a_push_fires_exactly_one_webhook_with_what_happened(
    world: World, receiver: Receiver
) -> None:
    made = world.organization.add_subscription(
        world.project, "git.push", receiver.url, password="s3cret", username="hook"
    )
    world.organization.add_subscription(world.project, "git.pullrequest.created", receiver.url)
    first = world.repository.ref_values()["refs/heads/main"]
    tip = world.repository.push({"main.tf": "x"}, message="Subject\n\nBody")
    world.emulator.wait_for_deliveries()
    [(headers, event)] = receiver.received
    expected = base64.b64encode(b"hook:s3cret").decode()
    assert headers["Authorization"] == f"Basic {expected}"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["X-VSS-SubscriptionId"] == made.id
    assert (event["subscriptionId"], event["notificationId"]) == (made.id, 1)
    assert (event["eventType"], event["publisherId"]) == ("git.push", "tfs")
    resource = event["resource"]
    move = {"name": "refs/heads/main", "oldObjectId": first, "newObjectId": tip}
    assert resource["refUpdates"] == [move]
    assert [one["comment"] for one in resource["commits"]] == ["Subject\n\nBody"]
    assert resource["repository"]["id"] == world.repository.id
    assert resource["repository"]["project"]["id"] == world.project.id
    assert event["resourceContainers"]["collection"] == {
        "id": world.organization.id,
        "baseUrl": f"{world.organization.url}/",
    }
    assert len(event["createdDate"].partition(".")[2]) == len("1234567Z")


def test_commits_of_a_webhook_stand_newest_first(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    world.organization.add_subscription(world.project, "git.push", receiver.url)
    folder = clone(world, world.repository, tmp_path / "clone")
    for message in ("one", "two", "three"):
        git("commit", "--allow-empty", "-m", message, cwd=folder)
    git("push", "origin", "main", cwd=folder)
    world.emulator.wait_for_deliveries()
    comments = [one["comment"] for one in receiver.received[0][1]["resource"]["commits"]]
    assert comments == ["three", "two", "one"]


def test_filters_choose_what_is_delivered(world: World, receiver: Receiver) -> None:
    other = world.project.add_repository("other", FILES)
    for inputs in ({"repository": other.id}, {"branch": "release"}, {"branch": "refs/heads/main"}):
        world.organization.add_subscription(
            world.project, "git.push", receiver.url, publisher_inputs=inputs
        )
    world.repository.push({"x": "1"}, "main")
    world.repository.push({"x": "2"}, "release")
    world.repository.push({"x": "3"}, "topic")
    world.emulator.wait_for_deliveries()
    refs = [event["resource"]["refUpdates"][0]["name"] for _, event in receiver.received]
    assert sorted(refs) == ["refs/heads/main", "refs/heads/release"]


def test_details_follow_the_subscription(world: World, receiver: Receiver) -> None:
    add = world.organization.add_subscription
    add(world.project, "git.push", receiver.url, resourceDetailsToSend="minimal")
    add(
        world.project, "git.push", receiver.url, resourceDetailsToSend="none", messagesToSend="text"
    )
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    shown = {one[1]["subscriptionId"]: one[1] for one in receiver.received}
    minimal, none = (shown[one.id] for one in world.organization.subscriptions)
    assert set(minimal["resource"]) == {"pushId", "url"}
    assert none["resource"] is None
    assert set(none["message"]) == {"text"}


def test_an_unavailable_receiver_is_tried_again_with_the_same_notification(
    world: World, receiver: Receiver
) -> None:
    world.organization.add_subscription(world.project, "git.push", receiver.url)
    receiver.answers = [503, 502, 200]
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    assert [event["notificationId"] for _, event in receiver.received] == [1, 1, 1]
    [logged] = world.organization.notifications
    assert (logged.attempts, logged.result, logged.response_status) == (3, "succeeded", 200)


def test_after_eight_retries_a_delivery_has_failed(world: World, receiver: Receiver) -> None:
    world.emulator.retry_scale = 0.001
    world.organization.add_subscription(world.project, "git.push", receiver.url)
    receiver.answers = [503] * 20
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    assert len(receiver.received) == 9
    assert world.organization.notifications[0].result == "failed"


def test_a_refusal_is_not_tried_again(world: World, receiver: Receiver) -> None:
    made = world.organization.add_subscription(world.project, "git.push", receiver.url)
    receiver.answers = [401]
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    [logged] = world.organization.notifications
    assert (len(receiver.received), logged.result, logged.response_status) == (1, "failed", 401)
    assert logged.response_body == "seen\n"
    assert made.status == "onProbation"


def test_410_disables_the_subscription_at_once(world: World, receiver: Receiver) -> None:
    made = world.organization.add_subscription(world.project, "git.push", receiver.url)
    receiver.answers = [410]
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    world.repository.push({"x": "2"})
    world.emulator.wait_for_deliveries()
    assert (made.status, len(receiver.received)) == ("disabledBySystem", 1)


def test_a_receiver_that_is_not_there_is_recorded(world: World) -> None:
    world.organization.add_subscription(world.project, "git.push", "http://127.0.0.1:9/none")
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    [logged] = world.organization.notifications
    assert (logged.response_status, logged.result) == (None, "failed")
    assert "refused" in logged.error


# Service hooks over the API


def subscription_body(world: World, url: str, **consumer: str) -> hook_models.Subscription:
    return hook_models.Subscription(
        publisher_id="tfs",
        event_type="git.push",
        resource_version="1.0",
        consumer_id="webHooks",
        consumer_action_id="httpRequest",
        publisher_inputs={"projectId": world.project.id, "repository": "", "branch": ""},
        consumer_inputs={"url": url, "resourceDetailsToSend": "all"} | consumer,
    )


def test_the_sdk_makes_lists_changes_and_removes_subscriptions(
    world: World, sdk: Any, receiver: Receiver
) -> None:
    client = sdk.get_service_hooks_client()
    secret = {"basicAuthUsername": "hook", "basicAuthPassword": "s3cret"}
    made = client.create_subscription(subscription_body(world, receiver.url, **secret))
    assert made.consumer_inputs["basicAuthPassword"] == "********"
    assert made.publisher_inputs["hostId"] == world.organization.id
    assert made.publisher_inputs["tfsSubscriptionId"] not in ("", made.id)
    assert made.status == "enabled"
    [listed] = client.list_subscriptions(publisher_id="tfs", consumer_id="webHooks")
    assert listed.id == made.id
    assert client.list_subscriptions(event_type="git.pullrequest.created") == []
    changed = subscription_body(world, receiver.url + "/2", **secret)
    changed.status = "disabledByUser"
    assert client.replace_subscription(changed, made.id).status == "disabledByUser"
    assert client.get_subscription(made.id).consumer_inputs["url"].endswith("/2")
    for value, count in ((world.project.id, 1), (NO_OBJECT, 0)):
        condition = hook_models.InputFilterCondition(
            input_id="projectId", operator="equals", input_value=value
        )
        query = hook_models.SubscriptionsQuery(
            publisher_id="tfs",
            publisher_input_filters=[hook_models.InputFilter(conditions=[condition])],
        )
        assert len(client.create_subscriptions_query(query).results) == count
    with warnings.catch_warnings():  # the SDK never closes the connection of an answer 204
        warnings.simplefilter("ignore", ResourceWarning)
        client.delete_subscription(made.id)
        gc.collect()
    assert client.list_subscriptions() == []


def test_the_sdk_reads_the_delivery_log_without_secrets(
    world: World, sdk: Any, receiver: Receiver
) -> None:
    made = world.organization.add_subscription(
        world.project, "git.push", receiver.url, password="s3cret", httpHeaders="X-Key:k3y"
    )
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    [(headers, _)] = receiver.received
    assert headers["X-Key"] == "k3y"
    [entry] = sdk.get_service_hooks_client().get_notifications(made.id, max_results=5)
    assert (entry.status, entry.result) == ("completed", "succeeded")
    assert "Authorization: ********" in entry.details.request
    assert "Status Code: 200" in entry.details.response
    path = f"_apis/hooks/subscriptions/{made.id}"
    for text in (world.get(path).text, world.get(f"{path}/notifications").text):
        assert "********" in text
        assert "s3cret" not in text
        assert "k3y" not in text
        assert base64.b64encode(b":s3cret").decode() not in text


@pytest.mark.parametrize("event_type", list(EVENT_TYPES))
def test_the_sdk_sends_the_sample_of_the_made_up_company(
    world: World, sdk: Any, receiver: Receiver, event_type: str
) -> None:
    details = hook_models.NotificationDetails(
        publisher_id="tfs",
        event_type=event_type,
        consumer_id="webHooks",
        consumer_action_id="httpRequest",
        consumer_inputs={"url": receiver.url, "resourceDetailsToSend": "all"},
    )
    client = sdk.get_service_hooks_client()
    client.create_test_notification(hook_models.Notification(details=details))
    made = world.organization.add_subscription(world.project, event_type, receiver.url)
    client.create_test_notification(hook_models.Notification(subscription_id=made.id))
    world.emulator.wait_for_deliveries()
    events = [event for _, event in receiver.received]
    ids = {"00000000-0000-0000-0000-000000000000", made.id}
    assert {event["subscriptionId"] for event in events} == ids
    assert {event["id"] for event in events} == {
        {
            "git.push": "03c164c2-8912-4d5e-8009-3707d5f83734",
            "git.pullrequest.created": "2ab4e3d3-b7a6-425e-92b1-5a9982c1269e",
            "git.pullrequest.merged": "6872ee8c-b333-4eff-bfb9-0d5274943566",
            "git.pullrequest.updated": "af07be1b-f3ad-44c8-a7f1-c4835f2df06b",
        }[event_type]
    }
    assert {event["eventType"] for event in events} == {event_type}
    assert all("Jamal Hartnett" in event["message"]["text"] for event in events)
    assert all(event["resourceContainers"]["project"]["id"][:8] == "be9b3917" for event in events)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://example.com/x"}, "an https address"),
        ({"url": "http://example.com/x", "basicAuthPassword": "p"}, "an https address"),
        ({"url": "https://127.0.0.1/x"}, "loopback"),
        ({"url": "https://localhost/x"}, "loopback"),
        ({"url": "https://10.1.2.3/x"}, "private"),
        ({"url": "https://169.254.169.254/x"}, "special"),
        ({"url": "https://[::1]/x"}, "loopback"),
        ({"url": "https://[fd00::1]/x"}, "private"),
        ({"url": "https://[::ffff:10.0.0.1]/x"}, "private"),
        ({"url": "https://[2002:7f00:1::]/x"}, "special"),
        ({"url": "https://127.1/x"}, "loopback"),
        ({"url": "https://2130706433/x"}, "loopback"),
        ({"url": "https://100.64.0.1/x"}, "special"),
        ({"url": "https://224.0.0.1/x"}, "special"),
        ({"url": "ftp://example.com/x"}, "http"),
        ({"url": ""}, "absolute"),
        ({"basicAuthPassword": "with space"}, "whitespace"),
        ({"basicAuthPassword": "x" * 257}, "256"),
        ({"resourceDetailsToSend": ""}, "missing"),
        ({"messagesToSend": "some"}, "does not allow"),
        ({"httpHeaders": "Authorization: Bearer x"}, "httpHeaders"),
        ({"projectId": ""}, "projectId"),
        ({"projectId": "Platform Team"}, "projectId"),
        ({"repository": "infrastructure"}, "GUID"),
    ],
)
def test_a_subscription_that_breaks_a_rule_is_refused_with_a_message(
    tmp_path: Path, change: dict[str, str], words: str
) -> None:
    with Emulator(tmp_path) as emulator:
        organization = emulator.add_organization("fabrikam")
        project = organization.add_project("P")
        world = World(emulator, organization, project, project.add_repository("r"), "")
        token = organization.add_token({"vso.code"})
        publisher = {"projectId": project.id, "repository": "", "branch": ""}
        consumer = {"url": "https://example.com/x", "resourceDetailsToSend": "all"}
        body = {
            "publisherId": "tfs",
            "eventType": "git.push",
            "consumerId": "webHooks",
            "consumerActionId": "httpRequest",
            "publisherInputs": publisher | {k: v for k, v in change.items() if k in publisher},
            "consumerInputs": consumer | {k: v for k, v in change.items() if k not in publisher},
        }
        answer = world.call("POST", "_apis/hooks/subscriptions", token, json=body)
        assert answer.status_code == 400
        assert words in answer.json()["message"]
        body |= {"publisherInputs": publisher, "consumerInputs": consumer}
        good = world.call("POST", "_apis/hooks/subscriptions", token, json=body)
        assert good.status_code == 200


def test_local_hooks_are_refused_to_python_callers_too(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator:
        organization = emulator.add_organization("fabrikam")
        project = organization.add_project("P")
        with pytest.raises(HookRuleError, match="loopback"):
            organization.add_subscription(project, "git.push", "https://127.0.0.1/x")


# Faults


@pytest.mark.parametrize(
    ("name", "status", "content_type", "words"),
    [
        ("credentials-203", 203, "text/html", "Sign In"),
        ("credentials-401-json", 401, "application/json", "TF400813"),
        ("credentials-302", 302, "text/html", "Object moved"),
        ("token-expired", 401, "text/html", "Access Denied"),
        ("token-invalid-401", 401, "text/html", "Access Denied"),
        ("scope-too-narrow", 401, "text/html", "Access Denied"),
        ("anonymous", 401, "application/json", "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"),
        ("conditional-access", 403, "application/json", "VS403463"),
        ("permission-denied", 403, "application/json", "TF401027"),
        ("throttled", 429, "application/json", "TF400733"),
        ("unavailable", 503, "application/json", "TF10216"),
        ("bad-gateway", 502, "text/html", "Bad Gateway"),
        ("server-error", 500, "application/json", "TF400898"),
        ("not-azure-devops", 200, "text/html", "nginx"),
        ("not-json", 200, "application/json", '"value": ['),
        ("wrong-shape", 200, "application/json", "not"),
        ("redirect-elsewhere", 302, "text/html", ""),
        ("organization-unknown", 404, "text/plain", "The resource cannot be found."),
        ("repository-missing", 404, "application/json", "TF401019"),
    ],
)
def test_a_fault_answers_as_documented_and_then_ends(
    world: World, name: str, status: int, content_type: str, words: str
) -> None:
    world.emulator.faults.add(name, path="/git/repositories$", times=1)
    assert world.get("_apis/hooks/subscriptions").status_code == 200
    answer = world.get("_apis/git/repositories")
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert words in answer.text
    assert world.get("_apis/git/repositories").status_code == 200
    assert [one.status for one in world.emulator.requests] == [200, status, 200]


def test_faults_carry_their_headers(world: World) -> None:
    add, get = world.emulator.faults.add, world.get
    add("throttled", seconds=7, times=1)
    assert get("_apis/git/repositories").headers["Retry-After"] == "7"
    add("token-expired", times=1)
    assert "expired" in get("_apis/git/repositories").headers["X-TFS-ServiceError"]
    add("redirect-elsewhere", location="http://169.254.169.254/", times=1)
    assert get("_apis/git/repositories").headers["Location"] == "http://169.254.169.254/"


def test_faults_of_the_connection(world: World) -> None:
    faults = world.emulator.faults
    faults.add("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        world.get("_apis/git/repositories")
    faults.add("cut", times=1)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        world.get("_apis/git/repositories")
    faults.add("lost-answer", times=1)
    sha = world.repository.sha("main")
    path = f"_apis/git/repositories/{world.repository.id}/commits/{sha}/statuses"
    with pytest.raises(requests.ConnectionError):
        world.call("POST", path, json={"context": {"name": "n"}})
    assert len(world.repository.statuses[sha]) == 1
    faults.add("slow", seconds=0.5, times=1)
    with pytest.raises(requests.ReadTimeout):
        world.get("_apis/git/repositories", timeout=0.2)
    faults.add("drip", seconds=0.02, times=1)
    started = time.monotonic()
    assert world.get("_apis/git/repositories").json() == {"count": 0, "value": []}
    assert time.monotonic() - started > 0.4
    faults.add("huge", times=1)
    with world.get("_apis/git/repositories", stream=True) as answer:
        size = 0
        for block in answer.iter_content(1 << 20):
            size += len(block)
            if size > 64 << 20:
                break
    assert size > 64 << 20


def test_faults_reach_git_too(world: World) -> None:
    world.emulator.faults.add("unavailable", path="/_git/")
    done = git("ls-remote", with_token(world.repository.clone_url, world.token))
    assert "503" in done.stderr


def test_faults_are_switched_over_http(world: World) -> None:
    url = f"{world.emulator.url}/_emulator/faults"
    added = requests.post(url, json={"name": "unavailable", "path": "_apis"}, timeout=5)
    assert added.json()["value"][0]["name"] == "unavailable"
    assert world.get("_apis/git/repositories").status_code == 503
    assert requests.get(url, timeout=5).json()["count"] == 1
    assert requests.delete(url, timeout=5).json()["count"] == 0
    assert world.get("_apis/git/repositories").status_code == 200
    for wrong in ({"name": "nope"}, {"name": "cut", "path": "("}, ["cut"], {}):
        answer = requests.post(url, json=wrong, timeout=5)
        assert answer.status_code == 400
    assert "credentials-203" in requests.post(url, json={"name": "no"}, timeout=5).json()["message"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("token-invalid-401", AzureDevOpsAuthenticationError),
        ("credentials-401-json", AzureDevOpsServiceError),
        ("repository-missing", AzureDevOpsServiceError),
        ("permission-denied", AzureDevOpsServiceError),
        ("organization-unknown", AzureDevOpsClientRequestError),
        ("credentials-203", DeserializationError),
    ],
)
def test_the_sdk_understands_a_refusal(world: World, fault: str, error: type[Exception]) -> None:
    client = connect(world, world.token).get_git_client()
    assert len(client.get_repositories()) == 1
    world.emulator.faults.add(fault)
    with pytest.raises(error):
        client.get_repositories()


# Keeping, and pages


def test_a_second_start_keeps_everything(tmp_path: Path) -> None:
    with Emulator(tmp_path, allow_local_hooks=True) as first:
        organization = first.add_organization("fabrikam")
        token = organization.add_token({"vso.code"}, expires_on=datetime(2027, 1, 1, tzinfo=UTC))
        project = organization.add_project("P")
        repository = project.add_repository("r", FILES)
        organization.add_subscription(project, "git.push", "http://127.0.0.1:9/", password="p")
        repository.push({"x": "1"})
        first.wait_for_deliveries()
        port = int(first.url.rpartition(":")[2])
    with Emulator(tmp_path, port, allow_local_hooks=True) as second:
        kept = second.organization("Fabrikam")
        assert kept is not None
        assert (kept.id, kept.tokens, kept.subscriptions) == (
            organization.id,
            organization.tokens,
            organization.subscriptions,
        )
        assert [vars(one) for one in kept.notifications] == [
            vars(one) for one in organization.notifications
        ]
        assert kept.projects[0].repositories[0].pushes == repository.pushes
        url = f"{kept.url}/_apis/git/repositories/{repository.id}/refs"
        assert requests.get(url, auth=("", token), timeout=5).json()["count"] == 1


def test_nothing_answers_after_the_end(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator, requests.Session() as session:
        assert session.get(emulator.url, timeout=5).status_code == 200
        emulator.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(emulator.url, timeout=5)


def test_requests_are_recorded_without_their_secret(world: World) -> None:
    world.get("_apis/git/repositories?includeLinks=true")
    [one] = world.emulator.requests
    assert (one.method, one.path) == ("GET", "/Fabrikam/_apis/git/repositories")
    assert (one.query, one.status, one.has_authorization) == ("includeLinks=true", 200, True)
    assert "Authorization" not in one.headers


def test_the_hooks_page_adds_tests_and_removes(world: World, receiver: Receiver) -> None:
    url = world.project.service_hooks_url
    form = {"action": "add", "url": receiver.url, "password": "s3cret", "event": ""}
    page = requests.post(url, data=form, timeout=5)
    assert all(name in page.text for name in EVENT_TYPES.values())
    assert len(world.organization.subscriptions) == 4
    made = world.organization.subscriptions[0]
    requests.post(url, data={"action": "test", "subscription": made.id}, timeout=5)
    world.emulator.wait_for_deliveries()
    page = requests.get(url, timeout=5)
    assert "Jamal Hartnett" in page.text
    assert "s3cret" not in page.text
    requests.post(url, data={"action": "remove", "subscription": made.id}, timeout=5)
    assert made not in world.organization.subscriptions
    wrong = requests.post(url, data=form | {"url": "nonsense"}, timeout=5)
    assert "must be an absolute" in wrong.text


def test_the_repository_page_pushes_with_a_click(world: World) -> None:
    form = {"branch": "topic", "path": "x.tf", "content": "<b>\r\n", "message": "From the <page>"}
    page = requests.post(world.repository.clone_url, data=form, timeout=5)
    sha = world.repository.ref_values()["refs/heads/topic"]
    assert page.url.endswith(f"/commit/{sha}?pushed=1")
    assert "From the &lt;page&gt;" in page.text
    page = requests.get(f"{world.repository.clone_url}?version=GBtopic", timeout=5)
    assert "Commits on topic" in page.text
    bad = requests.post(world.repository.clone_url, data=form | {"branch": "a..b"}, timeout=5)
    assert "Git refused" in bad.text


def test_a_form_of_another_site_is_refused(world: World) -> None:
    headers = {"Origin": "https://evil.example"}
    page = requests.post(world.repository.clone_url, headers=headers, data={}, timeout=5)
    assert page.status_code == 403
    assert len(world.repository.pushes) == 1


def test_every_page_answers(world: World) -> None:
    paths = ["", "Fabrikam/", "Fabrikam/_usersSettings/tokens", "Fabrikam/Platform%20Team"]
    for path in paths:
        page = requests.get(f"{world.emulator.url}/{path}", timeout=5)
        assert page.status_code == 200
        assert "Azure DevOps emulator" in page.text
    assert requests.get(f"{world.emulator.url}/nope/", timeout=5).status_code == 404


def test_the_page_of_tokens_makes_one_with_the_chosen_scopes(world: World) -> None:
    url = f"{world.emulator.url}/Fabrikam/_usersSettings/tokens"
    page = requests.post(url, data={"scopes": "vso.code vso.code_status"}, timeout=5)
    [organization] = world.emulator.organizations
    made = organization.tokens[-1]
    assert made.scopes == {"vso.code", "vso.code_status"}
    assert made.secret in page.text


def test_the_command_line_serves_the_sample_and_ends_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.emulator", "--sample", "--root", str(tmp_path)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        url = running.stdout.readline().split()[-1]
        token = "demo-token-for-the-local-emulator-only-not-a-secret-0000"
        answer = requests.get(
            f"{url}fabrikam/_apis/git/repositories", auth=("", token), timeout=5
        ).json()
        names = {(one["project"]["name"], one["name"]) for one in answer["value"]}
        assert {("Zürich", "büro-netz"), ("Platform Team", "terraform modules")} <= names
        assert any(one["isDisabled"] for one in answer["value"])
        assert any("defaultBranch" not in one for one in answer["value"])
        port = url.rstrip("/").rpartition(":")[2]
        taken = subprocess.run([*command, "--port", port], capture_output=True, text=True)
        assert taken.returncode == 1
        assert taken.stderr == f"Port {port} is in use; choose another one with --port.\n"
        running.terminate()
        assert running.wait(timeout=10) == 0
