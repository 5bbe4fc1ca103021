"""Threads and comments of the emulator, driven by Microsoft's SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.git import models

from tests.emulator import Emulator
from tests.emulator.errors import RefusedError
from tests.emulator.pull_requests import PullRequest
from tests.emulator_checks.world import World, connect

THREADS = "git/repositories/{repository}/pullrequests/{pull_request}/threads"


def path_of(world: World, one: PullRequest) -> str:
    return f"_apis/git/repositories/{world.repository.id}/pullRequests/{one.id}/threads"


def test_the_sdk_opens_edits_answers_and_closes_a_thread(
    world: World, sdk: Any, opened: PullRequest
) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    wanted = models.GitPullRequestCommentThread(
        comments=[models.Comment(content="**Planned**", comment_type="text", parent_comment_id=0)],
        status="active",
        properties={"stackhook.stack": "network"},
    )
    made = client.create_thread(wanted, *where)
    [first] = made.comments
    assert (first.id, first.content, first.comment_type) == (1, "**Planned**", "text")
    assert (first.author.display_name, first.parent_comment_id) == ("Ann Admin", 0)
    assert (made.status, made.is_deleted, made.thread_context) == ("active", False, None)
    assert made.properties["stackhook.stack"]["$value"] == "network"
    edited = client.update_comment(models.Comment(content="Applied"), *where, made.id, 1)
    assert (edited.content, edited.published_date) == ("Applied", first.published_date)
    assert edited.last_content_updated_date > first.last_content_updated_date
    reply = models.Comment(content="Thanks", parent_comment_id=1)
    assert client.create_comment(reply, *where, made.id).id == 2
    changed = client.update_thread(
        models.GitPullRequestCommentThread(status="closed", properties={"run": 12}), *where, made.id
    )
    assert (changed.status, set(changed.properties)) == ("closed", {"stackhook.stack", "run"})
    [listed] = client.get_threads(*where)
    assert (listed.id, [one.content for one in listed.comments]) == (made.id, ["Applied", "Thanks"])
    assert [one.parent_comment_id for one in client.get_comments(*where, made.id)] == [0, 1]
    assert client.get_comment(*where, made.id, 2).content == "Thanks"
    shown = client.get_pull_request_thread(*where, made.id)
    assert shown.last_updated_date > made.last_updated_date
    counts = world.emulator.request_counts()
    assert counts[f"POST {THREADS}"] == 1
    assert counts[f"PATCH {THREADS}/{{thread}}/comments/{{comment}}"] == 1


def test_words_and_numbers_are_understood_and_places_are_kept(
    world: World, opened: PullRequest
) -> None:
    place = {"filePath": "/main.tf", "rightFileStart": {"line": 1, "offset": 1}}
    tracked = {"iterationContext": {"firstComparingIteration": 1, "secondComparingIteration": 1}}
    body = {
        "comments": [{"parentCommentId": 0, "content": "c", "commentType": 1}],
        "status": 1,
        "threadContext": place,
        "pullRequestThreadContext": tracked,
    }
    made = world.call("POST", path_of(world, opened), json=body)
    assert made.status_code == 200
    assert (made.json()["status"], made.json()["comments"][0]["commentType"]) == ("active", "text")
    assert made.json()["threadContext"] == place
    assert made.json()["pullRequestThreadContext"] == tracked
    path = f"{path_of(world, opened)}/{made.json()['id']}"
    for given, word in ((2, "fixed"), (3, "wontFix"), ("byDesign", "byDesign"), (6, "pending")):
        assert world.call("PATCH", path, json={"status": given}).json()["status"] == word
    odd_ones: tuple[Any, ...] = (7, -1, "open", True, [])
    for odd in odd_ones:
        assert world.call("PATCH", path, json={"status": odd}).status_code == 400
    plain = world.call("POST", path_of(world, opened), json={"comments": [{"content": "c"}]})
    assert "status" not in plain.json()


def test_a_comment_has_its_limits(world: World, sdk: Any, opened: PullRequest) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    thread = opened.add_thread("é" * 150_000)
    said = "A discussion comment cannot be longer than 150000 characters"
    long = models.Comment(content="x" * 150_001)
    with pytest.raises(AzureDevOpsServiceError, match=said):
        client.update_comment(long, *where, thread.id, 1)
    with pytest.raises(AzureDevOpsServiceError, match=said):
        client.create_comment(long, *where, thread.id)
    with pytest.raises(RefusedError, match="needs content"):
        thread.reply("")
    for _ in range(499):
        thread.reply("x")
    with pytest.raises(AzureDevOpsServiceError, match="more than 500 comments"):
        client.create_comment(models.Comment(content="x"), *where, thread.id)
    assert len(thread.comments) == 500
    odd: tuple[Any, ...] = ([], None, [{}], ["x"], [{"content": 1}], [{"content": "x"}] * 2)
    for comments in odd:
        answer = world.call("POST", path_of(world, opened), json={"comments": comments})
        assert answer.status_code == 400
    assert opened.threads == [thread]


def test_a_deleted_comment_keeps_its_place(world: World, sdk: Any, opened: PullRequest) -> None:
    client, where = sdk.get_git_client(), (world.repository.id, opened.id)
    thread = opened.add_thread("first")
    thread.reply("second")
    client.delete_comment(*where, thread.id, 1)
    [first, second] = client.get_comments(*where, thread.id)
    assert (first.is_deleted, first.content, second.content) == (True, None, "second")
    with pytest.raises(AzureDevOpsServiceError, match="is deleted"):
        client.update_comment(models.Comment(content="x"), *where, thread.id, 1)
    assert client.get_pull_request_thread(*where, thread.id).is_deleted is False
    thread.delete(2)
    assert client.get_pull_request_thread(*where, thread.id).is_deleted is True
    with pytest.raises(AzureDevOpsServiceError, match=r"comment 3 .* does not exist"):
        client.get_comment(*where, thread.id, 3)
    with pytest.raises(AzureDevOpsServiceError, match=r"thread 2 .* does not exist"):
        client.get_pull_request_thread(*where, thread.id + 1)


def test_only_its_author_changes_a_comment(world: World, opened: PullRequest) -> None:
    thread = opened.add_thread("mine")
    other = connect(world, world.organization.add_token(user="Bo Builder")).get_git_client()
    where = (world.repository.id, opened.id, thread.id)
    with pytest.raises(AzureDevOpsServiceError, match="belongs to Ann Admin"):
        other.update_comment(models.Comment(content="x"), *where, 1)
    with pytest.raises(AzureDevOpsServiceError, match="belongs to Ann Admin"):
        other.delete_comment(*where, 1)
    assert other.create_comment(models.Comment(content="x"), *where).author.display_name == (
        "Bo Builder"
    )
    assert thread.comment(1).content == "mine"


def test_threads_ask_for_their_scopes(world: World, opened: PullRequest) -> None:
    thread, path = opened.add_thread("c"), path_of(world, opened)
    for scope, read, written in (
        ("vso.code", 200, 401),
        ("vso.threads_full", 200, 200),
        ("vso.code_status", 401, 401),
    ):
        token = world.organization.add_token({scope})
        assert world.get(path, token).status_code == read
        body = {"comments": [{"content": "c"}]}
        for method, address, sent in (
            ("POST", path, body),
            ("PATCH", f"{path}/{thread.id}", {"status": "closed"}),
            ("PATCH", f"{path}/{thread.id}/comments/1", {"content": "d"}),
        ):
            assert world.call(method, address, token, json=sent).status_code == written


def test_threads_are_numbered_within_the_organization(world: World, opened: PullRequest) -> None:
    world.repository.push({"y": "1"}, "other")
    other = world.repository.open_pull_request("other")
    numbers = [one.add_thread("c").id for one in (opened, other, opened)]
    assert numbers == [1, 2, 3]
    path = path_of(world, other)
    assert (
        world.get(f"{path}/1").json()["typeKey"] == "GitPullRequestCommentThreadNotFoundException"
    )


def test_a_closed_pull_request_still_takes_comments(opened: PullRequest) -> None:
    thread = opened.add_thread("c")
    opened.complete()
    thread.edit(1, "d")
    assert opened.add_thread("e").comments[0].content == "e"


def test_a_second_start_keeps_threads(tmp_path: Path) -> None:
    with Emulator(tmp_path) as first:
        repository = (
            first.add_organization("fabrikam").add_project("P").add_repository("r", {"a": "1"})
        )
        repository.push({"a": "2"}, "topic")
        opened = repository.open_pull_request("topic")
        made = opened.add_thread("c", properties={"stack": "network"}, context={"filePath": "/a"})
        made.reply("d", "Bo Builder")
    with Emulator(tmp_path) as second:
        [one] = second.organizations[0].repositories[0].pull_requests
        [kept] = one.threads
        assert kept.pull_request is one
        assert kept.comments == made.comments
        assert (kept.id, kept.status, kept.properties) == (1, "active", {"stack": "network"})
        assert kept.context == {"filePath": "/a"}
        kept.edit(1, "changed")
        assert one.add_thread("e").id == 2


def test_visitors_see_threads(opened: PullRequest) -> None:
    thread = opened.add_thread("<b>1 to add</b>")
    thread.reply("Secret words", "Bo Builder")
    text = requests.get(opened.url, timeout=5).text
    assert f"<strong>Thread {thread.id}</strong> <small>active</small>" in text
    assert "&lt;b&gt;1 to add&lt;/b&gt;" in text
    assert ", edited" not in text
    thread.edit(1, "2 to add")
    thread.delete(2, "Bo Builder")
    thread.update("closed")
    text = requests.get(opened.url, timeout=5).text
    assert "2 to add" in text
    assert ", edited" in text
    assert "<small>closed</small>" in text
    assert "Secret words" not in text
