"""Forks whose code a stack does not run, drafts likewise: a status says why, and what to do."""

from typing import Any

import pytest
from django.test import Client

from accounts.audit.records import entries
from accounts.models import User
from stacks.lifecycle.actions import refuses_retry
from stacks.lifecycle.forks import NotAllowed, allow, is_refused, pull_request_of, read
from stacks.models import Stack
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.builders import make_run, make_stack, propose
from tests.conftest import signed_in
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest, PullRequestError
from tests.stacks.reports.sender import TO_PLAN, look, move, newest, send_all, summaries
from vcs_integrations.models import Integration

BLOCKED = "Code of forks does not run on its own. A member can allow this commit."
PUBLIC = "https://stackhook.example.com"


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on, whatever files change."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    stack.refresh_from_db()
    return stack


@pytest.fixture
def proposed(following: Stack, repository: Repository) -> PullRequest:
    """A pull request of a fork to the stack's branch, whose status is required."""
    repository.require_status("stackhook/network")
    fork = repository.fork("fork")
    fork.push({"fork.tf": "1"}, "idea", "An idea", author="Eve <eve@fork.example>", start="main")
    one = repository.open_pull_request("idea", fork=fork, title="An idea of ours")
    look(following)
    send_all()
    return one


def page(one: PullRequest, sha: str = "") -> str:
    return f"/stacks/network/forks/{sha or one.source_commit}/"


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_blocked_fork_says_why_and_where_a_member_can_allow_it(
    proposed: PullRequest, following: Stack
) -> None:
    assert not following.runs.exists()
    assert summaries(proposed.latest_statuses(iteration=1)) == [("error", BLOCKED)]
    assert proposed.statuses[0].target_url == f"{PUBLIC}{page(proposed)}"
    assert proposed.threads == []
    with pytest.raises(PullRequestError, match="it is error"):
        proposed.complete()


def test_a_member_allows_exactly_this_commit_once(
    member: Client, proposed: PullRequest, following: Stack
) -> None:
    for where in ("/stacks/network/activity/", "/stacks/network/"):
        assert f'href="{page(proposed)}"' in text(member.get(where))
    shown = text(member.get(page(proposed)))
    for part in (proposed.source_commit[:8], "An idea", "Eve", "An idea of ours", "Allow once"):
        assert part in shown
    response = member.post(page(proposed), follow=True)
    run = newest(following)
    assert response.redirect_chain == [(run.get_absolute_url(), 302)]
    assert (run.kind, run.state, run.sha) == ("proposed", "queued", proposed.source_commit)
    assert run.note == "bob allowed this commit of a fork to run once."
    assert "<strong>Allowed</strong> by bob" in text(response)
    [decision] = run.decisions.all()
    assert (decision.rule, decision.subject) == ("allowed", f"Pull request {proposed.id}")
    [entry] = entries().filter(verb="fork_allowed")
    assert entry.person == "bob"
    assert not is_refused(run)
    send_all()
    move(run, *TO_PLAN, State.FINISHED)
    send_all()
    assert [status.state for status in proposed.statuses] == ["error", "pending", "succeeded"]
    assert refuses_retry(run) == ""
    # A vote does not take it back, and nobody starts it twice.
    proposed.vote("Bo Builder", 10)
    look(following)
    send_all()
    assert proposed.latest_statuses(iteration=1)[0].state == "succeeded"
    assert "Run 1 has this commit already." in text(member.post(page(proposed), follow=True))
    assert following.runs.count() == 1
    assert proposed.complete()


def test_a_later_push_to_the_fork_is_blocked_again(
    member: Client, proposed: PullRequest, following: Stack
) -> None:
    member.post(page(proposed))
    first = proposed.source_commit
    proposed.push({"fork.tf": "2"}, "Worse")
    look(following)
    send_all()
    assert following.runs.count() == 1
    assert summaries(proposed.latest_statuses(iteration=2)) == [("error", BLOCKED)]
    assert proposed.statuses[-1].target_url == f"{PUBLIC}{page(proposed)}"
    later = make_run(
        following,
        9,
        kind="proposed",
        sha=proposed.source_commit,
        position=None,
        state=State.FAILED,
    )
    row = pull_request_of(following, first)
    assert row
    propose(later, row, revision=2)
    assert is_refused(later)
    assert refuses_retry(later) == "The stack does not run the code of forks."
    shown = text(member.get(page(proposed, first)))
    assert "has a newer commit by now." in shown and f'href="{page(proposed)}"' in shown


def test_a_newer_commit_is_noticed_before_its_webhook_is_there(
    member: Client, proposed: PullRequest, following: Stack
) -> None:
    first = proposed.source_commit
    proposed.push({"fork.tf": "2"}, "Worse")
    response = member.post(page(proposed, first), follow=True)
    assert "has a newer commit by now." in text(response)
    assert not following.runs.exists()


def test_of_two_who_allow_it_at_once_one_does(
    alice: User, bob: User, proposed: PullRequest, following: Stack
) -> None:
    row = pull_request_of(following, proposed.source_commit)
    assert row
    found = read(row, proposed.source_commit)  # both have the page open
    allow(following, row, found, alice)
    with pytest.raises(NotAllowed, match="Run 1 has this commit already"):
        allow(following, row, found, bob)
    assert following.runs.count() == 1


def test_a_run_that_was_given_up_can_be_allowed_again(
    member: Client, proposed: PullRequest, following: Stack
) -> None:
    member.post(page(proposed))
    proposed.abandon()
    look(following)
    assert "not open to main any more" in text(member.post(page(proposed), follow=True))
    proposed.reactivate()
    look(following)
    send_all()
    assert [run.state for run in following.runs.all()] == ["canceled"]
    assert summaries(proposed.statuses)[-1] == ("error", BLOCKED)
    member.post(page(proposed))
    assert newest(following).state == "queued"


def test_who_has_no_role_allows_nothing(
    charlie: User, stranger: Client, proposed: PullRequest, following: Stack
) -> None:
    assert signed_in(charlie).post(page(proposed)).status_code == 403
    assert stranger.post(page(proposed)).status_code == 302
    assert not following.runs.exists()


def test_what_can_not_be_read_is_not_allowed_blindly(
    member: Client, proposed: PullRequest, following: Stack, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable")
    assert "The commit could not be read." in text(member.get(page(proposed)))
    assert "Nothing was started." in text(member.post(page(proposed), follow=True))
    assert not following.runs.exists()


@pytest.mark.parametrize("sha", ["1" * 40, "main", "x"])
def test_no_other_commit_has_such_a_page(
    member: Client, proposed: PullRequest, repository: Repository, sha: str
) -> None:
    assert member.get(page(proposed, sha)).status_code == 404
    assert member.post(page(proposed, repository.sha("main"))).status_code == 404


def test_allowing_is_nothing_that_is_done_with_a_run(
    member: Client, proposed: PullRequest, following: Stack
) -> None:
    member.post(page(proposed))
    run = newest(following)
    response = member.post(f"{run.get_absolute_url()}act/", {"action": "allow"})
    assert response.status_code == 302
    assert following.runs.count() == 1


def test_a_fork_that_does_not_concern_the_stack_is_not_applicable(
    following: Stack, repository: Repository
) -> None:
    Stack.objects.update(path_rule=True, project_root="infra")
    fork = repository.fork("fork")
    fork.push({"docs/read.md": "1"}, "idea", start="main")
    one = repository.open_pull_request("idea", fork=fork)
    look(following)
    send_all()
    assert [status.state for status in one.statuses] == ["notApplicable"]


def test_a_draft_that_is_not_run_says_so_until_it_is_published(
    following: Stack, repository: Repository
) -> None:
    Stack.objects.update(runs_drafts=False, pull_requests_only=True)
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic", is_draft=True)
    look(following)
    send_all()
    expected = "The stack does not run drafts. Publish the pull request to have it planned."
    assert summaries(one.statuses) == [("error", expected)]
    one.set_draft(False)
    look(following)
    send_all()
    assert summaries(one.statuses)[-1] == ("pending", "Run 1 waits for its turn")


@pytest.mark.parametrize("count", [1, 2])
def test_one_status_for_all_stacks_says_what_blocks(
    following: Stack, repository: Repository, count: int
) -> None:
    Integration.objects.update(reports_all_stacks_at_once=True)
    if count == 2:
        other = make_stack(following.repository, "Other", path_rule=False, runs_forks=True)
        assert follow_from_now(other) is None
    fork = repository.fork("fork")
    fork.push({"fork.tf": "1"}, "idea", start="main")
    one = repository.open_pull_request("idea", fork=fork)
    look(following)
    send_all()
    counted = "" if count == 1 else "2 stacks: 1 without a result, 1 not done yet. "
    assert summaries(one.statuses) == [("error", f"{counted}Network: {BLOCKED}")]
    assert one.statuses[0].target_url == f"{PUBLIC}{page(one)}"
