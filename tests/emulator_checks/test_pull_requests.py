"""Pull requests of the emulator, driven by Microsoft's SDK and compared with real git."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.git import models

from tests.emulator import Emulator
from tests.emulator.git import NO_OBJECT
from tests.emulator.hook_rules import EVENT_TYPES
from tests.emulator.pull_requests import PullRequest, PullRequestError
from tests.emulator_checks.world import World, clone, git

MAIN, TOPIC = "refs/heads/main", "refs/heads/topic"
URL = "http://127.0.0.1:9/hook"


def listen(world: World) -> None:
    """Subscribe to everything and hold back what comes."""
    for event_type in EVENT_TYPES:
        world.organization.add_subscription(world.project, event_type, URL)
    world.emulator.deliveries.hold()


def events(world: World) -> list[dict[str, Any]]:
    """Return the events that were held back, and forget them."""
    found = [one.event for one in world.emulator.deliveries.held()]
    world.emulator.deliveries.drop()
    return found


def outline(world: World) -> list[tuple[str, str | None, str | None]]:
    """Return what happened: the short event type, status and merge status."""
    return [
        (
            one["eventType"].rpartition(".")[2],
            one["resource"].get("status"),
            one["resource"].get("mergeStatus"),
        )
        for one in events(world)
    ]


def test_the_sdk_opens_reads_changes_and_completes(world: World, sdk: Any) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    tip = world.repository.push({"main.tf": "two\n"}, "topic")
    made = client.create_pull_request(
        models.GitPullRequest(source_ref_name=TOPIC, target_ref_name=MAIN, title="Two"), key
    )
    assert (made.status, made.merge_status, made.is_draft) == ("active", "succeeded", False)
    assert made.last_merge_source_commit.commit_id == tip
    changed = client.update_pull_request(
        models.GitPullRequest(title="2", description="d", is_draft=True), key, made.pull_request_id
    )
    assert (changed.title, changed.description, changed.is_draft) == ("2", "d", True)
    client.update_pull_request(
        models.GitPullRequest(is_draft=False), key, made.pull_request_id, "Platform Team"
    )
    me = made.created_by.id
    voted = client.create_pull_request_reviewer(
        models.IdentityRefWithVote(vote=10), key, made.pull_request_id, me
    )
    assert (voted.vote, voted.display_name) == (10, "Ann Admin")
    done = client.update_pull_request(
        models.GitPullRequest(
            status="completed",
            last_merge_source_commit=models.GitCommitRef(commit_id=tip),
            completion_options=models.GitPullRequestCompletionOptions(delete_source_branch=True),
        ),
        key,
        made.pull_request_id,
    )
    shown = client.get_pull_request_by_id(made.pull_request_id)
    assert (shown.status, shown.closed_by.display_name) == ("completed", "Ann Admin")
    assert shown.closed_date is not None
    assert world.repository.ref_values() == {MAIN: done.last_merge_commit.commit_id}
    merged = client.get_commit(done.last_merge_commit.commit_id, key)
    assert merged.parents[1] == tip
    assert merged.comment == f"Merged PR {made.pull_request_id}: 2"


def test_the_sdk_finds_pull_requests_by_what_they_are(world: World, sdk: Any) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    for name in ("a", "b", "c"):
        world.repository.push({name: name}, name)
    world.repository.push({"r": "r"}, "release")
    first = world.repository.open_pull_request("a", description="x" * 1000)
    second = world.repository.open_pull_request("b", "release")
    third = world.repository.open_pull_request("c", user="Bo Builder")
    second.abandon()
    third.complete()

    def found(**criteria: Any) -> list[int]:
        wanted = models.GitPullRequestSearchCriteria(**criteria)
        return [one.pull_request_id for one in client.get_pull_requests(key, wanted)]

    assert found() == found(status="active") == [first.id]
    assert found(status="abandoned") == [second.id]
    assert found(status="completed") == [third.id]
    assert found(status="all") == [third.id, second.id, first.id]
    assert found(status="all", source_ref_name="refs/heads/b") == [second.id]
    assert found(status="all", target_ref_name=MAIN) == [third.id, first.id]
    assert found(status="all", creator_id=third.created_by.id) == [third.id]
    wanted = models.GitPullRequestSearchCriteria(status="all")
    paged = client.get_pull_requests(key, wanted, skip=1, top=1)
    assert [one.pull_request_id for one in paged] == [second.id]
    [listed] = client.get_pull_requests_by_project(
        "Platform Team", models.GitPullRequestSearchCriteria()
    )
    assert len(listed.description) == 400
    assert listed.last_merge_commit is None
    shown = client.get_pull_request(key, first.id, include_commits=True)
    assert len(shown.description) == 1000
    assert [one.commit_id for one in shown.commits] == [first.source_commit]


def test_pushes_make_iterations(world: World, sdk: Any, opened: PullRequest) -> None:
    first = opened.source_commit
    second = opened.push({"more.tf": "1"})
    world.repository.push({"main-only.tf": "1"})
    third = world.repository.push({"other.tf": "1"}, "topic", start="main")
    world.repository.push({"r": "1"}, "release", start="main")
    opened.retarget("release")
    found = sdk.get_git_client().get_pull_request_iterations(
        world.repository.id, opened.id, include_commits=True
    )
    assert [one.reason for one in found] == ["create", "push", "forcePush", "retarget"]
    assert [one.source_ref_commit.commit_id for one in found] == [first, second, third, third]
    folder = world.repository.git
    for one in found:
        source, target = one.source_ref_commit.commit_id, one.target_ref_commit.commit_id
        expected = folder.run("merge-base", source, target).decode().strip()
        assert one.common_ref_commit.commit_id == expected
    # The pushes between are the server's trial merges.
    assert [one.push.push_id for one in found] == [2, 4, 8, 8]
    targets = [(one.old_target_ref_name, one.new_target_ref_name) for one in found]
    assert targets == [(None, None)] * 3 + [("refs/heads/main", "refs/heads/release")]
    assert [one.commit_id for one in found[1].commits] == [second, first]
    one = sdk.get_git_client().get_pull_request_iteration(world.repository.id, opened.id, 3)
    assert (one.id, one.author.display_name, one.has_more_commits) == (3, "Ann Admin", False)


def test_the_changes_of_an_iteration_equal_those_of_git(
    world: World, sdk: Any, tmp_path: Path
) -> None:
    repository = world.repository
    text = "".join(f"line {number}\n" for number in range(30))
    repository.push({"old.tf": text, "same.tf": text * 2, "gone.tf": "g\n"})
    repository.push(
        {
            "old.tf": None,
            "modules/new.tf": text + "last\n",
            "same.tf": None,
            "kept/same.tf": text * 2,
            "gone.tf": None,
            "main.tf": "edited\n",
            "added.tf": "a\n",
        },
        "topic",
    )
    repository.push({"on-main.tf": "1"})
    one = repository.open_pull_request("topic")
    path = f"_apis/git/repositories/{repository.id}/pullRequests/{one.id}/iterations/1/changes"
    answer = world.get(path).json()
    assert (answer["nextSkip"], answer["nextTop"]) == (0, 0)
    folder = clone(world, repository, tmp_path / "clone")
    base = git("merge-base", "origin/topic", "origin/main", cwd=folder).stdout.strip()
    lines = git("diff", "--name-status", "-M", base, "origin/topic", cwd=folder).stdout
    assert sorted(map(as_git, answer["changeEntries"])) == sorted(
        re.sub(r"^R\d+", "R", lines, flags=re.MULTILINE).splitlines()
    )
    kinds = {each["item"]["path"]: each["changeType"] for each in answer["changeEntries"]}
    assert kinds["/modules/new.tf"] == "edit, rename"
    assert kinds["/kept/same.tf"] == "rename"
    read = sdk.get_git_client().get_pull_request_iteration_changes(repository.id, one.id, 1)
    listed = [each.additional_properties for each in read.change_entries]
    [gone] = [each for each in listed if each["changeType"] == "delete"]
    assert (gone["item"]["path"], gone["originalPath"]) == (None, "/gone.tf")


def as_git(entry: dict[str, Any]) -> str:
    """Put a change as `git diff --name-status` does."""
    if entry["changeType"] == "delete":
        assert entry["item"]["path"] is None
        return f"D\t{entry['originalPath'][1:]}"
    path = entry["item"]["path"][1:]
    if "originalPath" in entry:
        return f"R\t{entry['originalPath'][1:]}\t{path}"
    return f"{ {'add': 'A', 'edit': 'M'}[entry['changeType']] }\t{path}"


def test_the_changes_of_an_iteration_are_paged_and_compared(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    opened.push({f"{number:04}.tf": "x" for number in range(2150)})
    path = f"_apis/git/repositories/{key}/pullRequests/{opened.id}/iterations/2/changes"
    first = world.get(path).json()
    assert (len(first["changeEntries"]), first["nextSkip"]) == (100, 100)
    sizes, skip, top = [], 0, 5000
    while top:
        page = client.get_pull_request_iteration_changes(key, opened.id, 2, top=top, skip=skip)
        sizes.append(len(page.change_entries))
        skip, top = page.next_skip, page.next_top
    assert sizes == [2000, 151]
    since = world.get(f"{path}?$compareTo=1&$top=2000&$skip=2000").json()
    assert len(since["changeEntries"]) == 150
    assert world.get(f"{path}?$compareTo=9").status_code == 404


def test_a_conflict_is_found_and_cleared(world: World, opened: PullRequest) -> None:
    assert opened.merge_status == "succeeded"
    listen(world)
    world.repository.push({"main.tf": "three\n"})
    assert opened.merge_status == "conflicts"
    with pytest.raises(PullRequestError, match="conflicts"):
        opened.complete()
    world.repository.push({"main.tf": "four\n"}, "topic", start="main")
    assert opened.merge_status == "succeeded"
    assert outline(world) == [
        ("push", None, None),
        ("merged", "active", "conflicts"),
        ("push", None, None),
        ("updated", "active", "queued"),
        ("merged", "active", "succeeded"),
    ]


def test_events_say_what_a_pull_request_is_and_never_what_changed(
    world: World, opened: PullRequest
) -> None:
    listen(world)
    opened.edit("Other title")
    opened.vote("Bo Builder", -5)
    opened.add_reviewer("Cy Clerk", is_required=True)
    opened.set_draft(True)
    opened.push({"x": "1"})
    found = events(world)
    updates = [one for one in found if one["eventType"] == "git.pullrequest.updated"]
    assert [one["message"]["text"] for one in updates] == [
        "Ann Admin updated pull request 1 (Other title) in infrastructure",
        "Bo Builder is waiting for the author of pull request 1 (Other title) in infrastructure",
        "Ann Admin changed the reviewer list on pull request 1 (Other title) in infrastructure",
        "Ann Admin marked as draft pull request 1 (Other title) in infrastructure",
        "Ann Admin updated the source branch of pull request 1 (Other title) in infrastructure",
    ]
    assert len({frozenset(one) for one in updates}) == 1
    assert not any("otification" in key for one in updates for key in one["resource"])
    [merged] = [one for one in found if one["eventType"] == "git.pullrequest.merged"]
    resource = merged["resource"]
    assert merged["resourceVersion"] == "1.0"
    assert resource["repository"]["id"] == world.repository.id
    assert (resource["sourceRefName"], resource["targetRefName"]) == (TOPIC, MAIN)
    assert resource["lastMergeSourceCommit"]["commitId"] == opened.source_commit
    assert resource["lastMergeCommit"]["commitId"] == opened.merge_commit
    assert [one["vote"] for one in resource["reviewers"]] == [-5, 0]
    assert (resource["isDraft"], resource["createdBy"]["displayName"]) == (True, "Ann Admin")
    assert resource["commits"][0]["commitId"] == opened.source_commit
    assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.\d{7}Z", resource["creationDate"])
    assert "lastMergeCommit" not in updates[-1]["resource"]  # queued
    assert "forkSource" not in resource


def test_opening_and_closing_raise_their_events(world: World) -> None:
    world.repository.push({"main.tf": "two\n"}, "topic")
    listen(world)
    one = world.repository.open_pull_request("topic")
    assert outline(world) == [("created", "active", "queued"), ("merged", "active", "succeeded")]
    one.abandon()
    world.repository.push({"x": "1"}, "topic")
    one.reactivate()
    assert outline(world) == [
        ("updated", "abandoned", "succeeded"),
        ("push", None, None),
        ("updated", "active", "queued"),
        ("merged", "active", "succeeded"),
    ]
    assert [each.reason for each in one.iterations] == ["create", "push"]
    before = world.repository.tip()
    sha = one.complete(delete_source=True)
    pushed, updated, merged, deleted = events(world)
    assert pushed["resource"]["refUpdates"] == [
        {"name": MAIN, "oldObjectId": before, "newObjectId": sha}
    ]
    assert updated["eventType"] == "git.pullrequest.updated"
    assert (updated["resource"]["status"], merged["resource"]["status"]) == ("completed",) * 2
    assert "closedDate" in updated["resource"]
    assert deleted["resource"]["refUpdates"][0]["newObjectId"] == NO_OBJECT


def test_a_squash_has_one_parent_and_the_same_files(world: World, opened: PullRequest) -> None:
    opened.push({"x": "1"})
    world.repository.push({"y": "1"})
    before = world.repository.tip()
    commit = world.repository.git.commit(opened.complete(squash=True, message="All in one"))
    assert (commit.parents, commit.message) == ((before,), "All in one")
    names = world.repository.git.run("ls-tree", "--name-only", commit.sha).decode().split()
    assert names == ["main.tf", "modules", "x", "y"]
    assert TOPIC in world.repository.ref_values()


def test_filters_and_details_hold_for_pull_requests(world: World, opened: PullRequest) -> None:
    add, project = world.organization.add_subscription, world.project
    updated, merged = "git.pullrequest.updated", "git.pullrequest.merged"
    other = world.project.add_repository("other")
    add(project, updated, URL, publisher_inputs={"repository": other.id})
    add(project, updated, URL, publisher_inputs={"branch": "topic"})
    main = add(project, updated, URL, publisher_inputs={"branch": "main"})
    votes = add(
        project, updated, URL, publisher_inputs={"notificationType": "ReviewerVoteNotification"}
    )
    minimal = add(project, merged, URL, resourceDetailsToSend="minimal")
    none = add(project, merged, URL, resourceDetailsToSend="none")
    add(project, merged, URL, publisher_inputs={"mergeResult": "Conflicts"})
    world.emulator.deliveries.hold()
    opened.push({"x": "1"})
    opened.vote("Bo Builder", 10)
    found = [(one["subscriptionId"], one["resource"]) for one in events(world)]
    assert [key for key, _ in found] == [main.id, minimal.id, none.id, main.id, votes.id]
    assert set(found[1][1]) == {"pullRequestId", "url"}
    assert found[2][1] is None


def test_a_fork_opens_pull_requests(world: World, sdk: Any) -> None:
    fork = world.repository.fork("infrastructure.bo")
    tip = fork.push({"fork.tf": "1"}, "fix")
    client = sdk.get_git_client()
    listen(world)
    wanted = models.GitPullRequest(
        source_ref_name="refs/heads/fix",
        target_ref_name=MAIN,
        title="From the fork",
        fork_source=models.GitForkRef(repository=models.GitRepository(id=fork.id)),
    )
    made = client.create_pull_request(wanted, world.repository.id)
    assert made.fork_source.repository.id == fork.id
    assert made.last_merge_source_commit.commit_id == tip
    shown = {one.name: one for one in client.get_repositories()}
    assert shown["infrastructure.bo"].is_fork is True
    assert shown["infrastructure.bo"].parent_repository.id == world.repository.id
    assert events(world)[0]["resource"]["forkSource"]["repository"]["id"] == fork.id
    tip = fork.push({"fork.tf": "2"}, "fix")
    pushed, updated, _ = events(world)
    assert pushed["resource"]["repository"]["id"] == fork.id
    assert updated["resource"]["repository"]["id"] == world.repository.id
    assert updated["resource"]["lastMergeSourceCommit"]["commitId"] == tip
    sha = world.repository.pull_request(made.pull_request_id).complete()
    assert world.repository.git.commit(sha).parents[1] == tip
    with pytest.raises(AzureDevOpsServiceError, match="is not a fork"):
        client.create_pull_request(wanted, fork.id)


def test_git_push_moves_a_pull_request(world: World, opened: PullRequest, tmp_path: Path) -> None:
    folder = clone(world, world.repository, tmp_path / "clone")
    git("checkout", "topic", cwd=folder)
    git("commit", "--amend", "-m", "Rewritten", cwd=folder)
    done = git("push", "--force", "origin", "topic", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert opened.iterations[-1].reason == "forcePush"
    assert opened.source_commit == git("rev-parse", "HEAD", cwd=folder).stdout.strip()
    git("fetch", "origin", f"refs/pull/{opened.id}/merge", cwd=folder)
    preview = git("rev-parse", "FETCH_HEAD^2", cwd=folder).stdout.strip()
    assert preview == opened.source_commit


def test_each_trial_merge_is_a_push_by_the_server(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    listen(world)
    first = opened.merge_commit
    opened.push({"again.tf": "1"})
    wanted = models.GitPushSearchCriteria(include_ref_updates=True)
    newest, pushed = client.get_pushes(key, top=2, search_criteria=wanted)
    [update], [moved] = newest.ref_updates, pushed.ref_updates
    assert moved.name == TOPIC
    assert update.name == f"refs/pull/{opened.id}/merge"
    assert (update.old_object_id, update.new_object_id) == (first, opened.merge_commit)
    assert newest.pushed_by.display_name == "Microsoft.TeamFoundation.System"
    wanted = models.GitPushSearchCriteria(ref_name=update.name)
    assert len(client.get_pushes(key, search_criteria=wanted)) == 2
    sent = [one["eventType"] for one in events(world)]
    assert sent.count("git.push") == 1
    world.repository.push({"main.tf": "a conflict\n"})
    assert opened.merge_status == "conflicts"
    assert client.get_pushes(key, top=1)[0].pushed_by.display_name == "Ann Admin"


def test_what_a_pull_request_cannot_do_is_said(world: World, sdk: Any, opened: PullRequest) -> None:
    client, key = sdk.get_git_client(), world.repository.id
    again = models.GitPullRequest(source_ref_name=TOPIC, target_ref_name=MAIN, title="Again")
    with pytest.raises(AzureDevOpsServiceError, match="TF401179"):
        client.create_pull_request(again, key)
    missing = models.GitPullRequest(
        source_ref_name="refs/heads/nope", target_ref_name=MAIN, title="Nope"
    )
    with pytest.raises(AzureDevOpsServiceError, match="TF401398"):
        client.create_pull_request(missing, key)
    stale = models.GitPullRequest(
        status="completed", last_merge_source_commit=models.GitCommitRef(commit_id="0" * 40)
    )
    with pytest.raises(AzureDevOpsServiceError, match="TF401192"):
        client.update_pull_request(stale, key, opened.id)
    path = f"_apis/git/repositories/{key}/pullrequests"
    body = {"sourceRefName": "topic", "targetRefName": MAIN, "title": "x"}
    assert world.call("POST", path, json=body).status_code == 400
    assert world.call("POST", path, json=body | {"title": ""}).status_code == 400
    long = {"description": "x" * 4001}
    assert world.call("PATCH", f"{path}/{opened.id}", json=long).status_code == 400
    assert world.call("PATCH", f"{path}/{opened.id}", json={"status": "odd"}).status_code == 400
    assert world.get(f"{path}/77").json()["typeKey"] == "GitPullRequestNotFoundException"
    reader = world.organization.add_token({"vso.code"})
    refused = world.call("PATCH", f"{path}/{opened.id}", reader, json={"title": "x"})
    assert refused.status_code == 401
    opened.abandon()
    with pytest.raises(PullRequestError, match="is abandoned"):
        opened.complete()


def test_a_second_start_keeps_pull_requests_and_forks(tmp_path: Path) -> None:
    with Emulator(tmp_path) as first:
        organization = first.add_organization("fabrikam")
        repository = organization.add_project("P").add_repository("r", {"a": "1"})
        fork = repository.fork("r.fork")
        fork.push({"a": "2"}, "fix")
        made = repository.open_pull_request("fix", fork=fork, reviewers=["Bo Builder"])
        made.vote("Bo Builder", 5)
    with Emulator(tmp_path) as second:
        found = second.organizations[0].projects[0].repositories
        [kept] = found[0].pull_requests
        assert kept.source is found[1]
        assert found[1].parent is found[0]
        assert kept.iterations == made.iterations
        assert kept.reviewers == made.reviewers
        kept.complete()
        found[1].push({"a": "3"}, "fix")
        assert found[0].open_pull_request("fix", fork=found[1]).id == made.id + 1


def test_visitors_open_push_complete_and_abandon_with_a_click(world: World) -> None:
    world.repository.push({"x.tf": "1"}, "topic")
    address = f"{world.repository.clone_url}/pullrequests"
    page = requests.get(world.repository.clone_url, timeout=5)
    assert "/pullrequests" in page.text
    form = {"source": "topic", "target": "main", "title": "<b>Two</b>"}
    page = requests.post(address, data=form, timeout=5)
    [made] = world.repository.pull_requests
    assert page.url.startswith(made.url)
    assert "&lt;b&gt;Two&lt;/b&gt;" in page.text
    assert "Iteration 1" in page.text
    again = requests.post(address, data=form, timeout=5)
    assert "TF401179" in again.text
    requests.post(made.url, data={"action": "push"}, timeout=5)
    page = requests.post(made.url, data={"action": "push"}, timeout=5)
    assert len(made.iterations) == 3
    assert "Iteration 3" in page.text
    requests.post(made.url, data={"action": "abandon"}, timeout=5)
    assert made.status == "abandoned"
    requests.post(made.url, data={"action": "reactivate"}, timeout=5)
    page = requests.post(made.url, data={"action": "complete"}, timeout=5)
    assert (made.status, world.repository.tip()) == ("completed", made.merge_commit)
    assert "completed" in page.text
    refused = requests.post(made.url, data={"action": "complete"}, timeout=5)
    assert "is completed" in refused.text
    assert "Two" in requests.get(address, timeout=5).text


def test_git_finds_nothing_wrong_with_what_was_written(world: World, opened: PullRequest) -> None:
    opened.push({"deep/er/file.tf": "x", "deep.tf": "y", "deep-er": "z", "main.tf": None})
    world.repository.tag("v1", message="First")
    opened.complete()
    done = subprocess.run(
        ["git", "--git-dir", str(world.repository.git.path), "fsck", "--strict", "--no-dangling"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
