"""Runs without a push: they follow their own rules, and change nothing that is said of code."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from stacks.execution import queue
from stacks.lifecycle.actions import refuses_retry
from stacks.lifecycle.planning_again import plan_again_next
from stacks.lifecycle.triggering import NotTriggered, head_of, trigger
from stacks.models import Report, Run, Stack
from stacks.rules.states import Kind, Operation, Origin, State
from stacks.sources.heads import follow_from_now, read_head
from tests.builders import make_run, make_stack
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest
from tests.stacks.reports.sender import look, send_all, summaries
from vcs_integrations.models import Integration
from vcs_integrations.providers.events import RemoteCommit


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on, whatever files change."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    stack.refresh_from_db()
    return stack


def at(sha: str) -> RemoteCommit:
    return RemoteCommit(sha, "A commit\n\nof ours", "Ann <ann@fabrikam.example>", None)


def start(stack: Stack, kind: Kind = Kind.TRACKED, sha: str = "", **about: Any) -> Run:
    about = {"origin": Origin.PERSON} | about
    return trigger(stack, kind, at(sha or stack.head_sha), **about)


def shown(one: PullRequest) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what a pull request shows: its statuses, and its comments."""
    comments = [thread.comments[0].content for thread in one.threads]
    return summaries(one.latest_statuses(iteration=1)), comments


def test_a_triggered_run_of_the_head_waits_for_its_turn(following: Stack, bob: User) -> None:
    first = start(following, person=bob)
    assert (first.kind, first.state, first.branch) == (Kind.TRACKED, State.QUEUED, "main")
    assert first.position == following.head_position
    assert first.started_by == "Triggered by bob"
    second = start(following, operation=Operation.DESTROY)
    assert queue.claim_next("here") == first
    assert queue.claim_next("here") is None
    Run.objects.filter(pk=first.pk).move_to(State.CANCELED)
    assert queue.claim_next("here") == second


def test_the_name_stays_when_the_person_is_removed(following: Stack, bob: User) -> None:
    run = start(following, person=bob)
    bob.delete()
    run.refresh_from_db()
    assert (run.triggered_by, run.started_by) == (None, "Triggered by bob")


def test_pressing_twice_starts_one_run(following: Stack) -> None:
    run = start(following, targets=["a.b"])
    with pytest.raises(NotTriggered, match="Run 1 waits already") as refusal:
        start(following, targets=["a.b"])
    assert refusal.value.run == run
    assert start(following, targets=["a.c"]).number == 2
    assert start(following).number == 3


def test_a_push_whose_run_waits_needs_no_other(following: Stack, repository: Repository) -> None:
    repository.push({"main.tf": "# 1\n"})
    look(following)
    following.refresh_from_db()
    with pytest.raises(NotTriggered):
        start(following)


def test_only_the_head_is_run_as_tracked_code(following: Stack) -> None:
    with pytest.raises(NotTriggered, match="main has a newer commit by now"):
        start(following, sha="a" * 40)
    assert not following.runs.exists()


def test_a_stack_that_nobody_reaches_starts_nothing(following: Stack) -> None:
    Stack.objects.update(branch_gone_at=following.followed_at)
    with pytest.raises(NotTriggered, match="The tracked branch main is gone"):
        start(following)
    Integration.objects.update(unlinked_at=following.followed_at)
    with pytest.raises(NotTriggered, match="detached"):
        start(following, Kind.PROPOSED, "a" * 40)


def test_a_newer_push_supersedes_what_waits(following: Stack, repository: Repository) -> None:
    waiting = start(following, operation=Operation.DESTROY)
    confirmed = start(following, operation=Operation.REFRESH_ONLY)
    Run.objects.filter(pk=confirmed.pk).update(state=State.CONFIRMED)
    proposed = start(following, Kind.PROPOSED, "a" * 40, branch="feature")
    repository.push({"main.tf": "# 1\n"})
    look(following)
    assert [run.state for run in following.runs.order_by("number")] == [
        State.SUPERSEDED,
        State.CONFIRMED,
        State.QUEUED,
        State.QUEUED,
    ]
    assert proposed.number == 3 and waiting.number == 1


def test_a_push_has_its_run_though_its_commit_was_triggered_before(
    following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "# 1\n"})
    assert read_head(following) is None  # no webhook came yet
    following.refresh_from_db()
    triggered = start(following, targets=["a.b"])
    look(following)
    look(following)
    pushed = following.runs.get(origin=Origin.PUSH)
    assert (pushed.position, pushed.sha) == (triggered.position, triggered.sha)
    states = set(following.runs.values_list("state", flat=True))
    assert states == {State.QUEUED}


def test_a_late_push_is_not_superseded_by_what_was_triggered_of_a_newer_head(
    following: Stack, repository: Repository
) -> None:
    Stack.objects.update(path_rule=True, project_root="infra")
    repository.push({"infra/main.tf": "# 1\n"})
    repository.push({"docs/read.md": "1"})  # which does not concern the stack
    assert read_head(following) is None
    following.refresh_from_db()
    start(following, operation=Operation.REFRESH_ONLY)
    look(following)
    pushed = following.runs.get(origin=Origin.PUSH)
    assert pushed.state == State.QUEUED
    assert pushed.position is not None and following.head_position is not None
    assert pushed.position < following.head_position


def test_statuses_and_comments_show_what_the_code_itself_led_to(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"a.tf": "2"}, branch="feature/network")
    one = repository.open_pull_request("feature/network")
    look(following)
    own = following.runs.get(sha=sha)
    Run.objects.filter(pk=own.pk).update(state=State.FINISHED, added=1, changed=0, destroyed=0)
    Report.objects.renew_about([own])
    send_all()
    before = shown(one)
    assert before[0] == [("succeeded", "Run 1 planned: 1 to add, 0 to change, 0 to destroy")]
    run = start(following, Kind.PROPOSED, sha, targets=["a.b"], branch="feature/network")
    Run.objects.filter(pk=run.pk).move_to(State.PREPARING)
    Run.objects.filter(pk=run.pk).move_to(State.FAILED)
    send_all()
    after = shown(one)
    assert after == before


def test_a_commit_that_was_only_triggered_has_no_status(following: Stack) -> None:
    start(following)
    start(following, Kind.PROPOSED, "a" * 40, branch="feature/network")
    assert not Report.objects.exists()


def test_a_pull_request_has_its_own_run_of_a_commit_that_was_triggered(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"a.tf": "2"}, branch="feature/network")
    triggered = start(following, Kind.PROPOSED, sha, operation=Operation.REFRESH_ONLY)
    repository.open_pull_request("feature/network")
    look(following)
    own = following.runs.get(origin=Origin.PUSH)
    assert own.sha == triggered.sha and own.sources.exists()
    assert not triggered.sources.exists()


def test_what_was_triggered_makes_no_plan_out_of_date_and_is_not_planned_again(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"a.tf": "2"}, branch="feature/network")
    repository.open_pull_request("feature/network")
    look(following)
    run = start(following, Kind.PROPOSED, sha)
    Run.objects.update(state=State.FINISHED, state_version=0, tracked_position=None)
    other = start(following)
    Run.objects.filter(pk=other.pk).update(state=State.FINISHED)
    Stack.objects.update(plan_again_at=following.followed_at)
    assert plan_again_next()
    assert not Run.objects.exclude(repeats=None).exists()
    make_run(following, 9, position=9999)
    Run.objects.filter(number=9).update(state=State.FINISHED)
    Stack.objects.update(plan_again_at=following.followed_at)
    plan_again_next()
    assert [one.repeats and one.repeats.origin for one in Run.objects.exclude(repeats=None)] == [
        Origin.PUSH
    ]
    assert run.number == 2


def test_a_run_of_the_same_commit_does_not_keep_a_triggered_one_from_a_retry(
    following: Stack,
) -> None:
    run = start(following, Kind.PROPOSED, "a" * 40)
    Run.objects.filter(pk=run.pk).move_to(State.CANCELED)
    make_run(following, 2, kind=Kind.PROPOSED, sha="a" * 40)
    run.refresh_from_db()
    assert refuses_retry(run) == ""


@pytest.mark.parametrize(
    ("about", "is_refused"),
    [
        ({"origin": Origin.SCHEDULE, "state": State.FINISHED}, False),
        ({"origin": Origin.PERSON, "operation": "refresh_only", "state": State.FINISHED}, False),
        ({"origin": Origin.PERSON, "operation": "destroy", "state": State.DISCARDED}, False),
        ({"origin": Origin.DRIFT, "state": State.UNCONFIRMED}, True),  # it is still under way
        ({"origin": Origin.MODULE, "state": State.FINISHED, "sha": "b" * 40}, True),  # newer code
        ({"state": State.FAILED}, True),  # this one is the commit's last run of code
    ],
)
def test_a_failed_run_of_code_can_be_retried_after_what_was_triggered_of_its_commit(
    linked: Integration, about: dict[str, Any], is_refused: bool
) -> None:
    stack = make_stack(linked)
    run = make_run(stack, 1, state=State.FAILED, sha="a" * 40)
    make_run(stack, 2, **{"sha": "a" * 40} | about)
    assert bool(refuses_retry(run)) == is_refused


def test_a_triggered_run_is_not_retried_after_a_newer_one(linked: Integration) -> None:
    stack = make_stack(linked)
    same = {"sha": "a" * 40, "origin": Origin.PERSON}
    run = make_run(stack, 1, state=State.FAILED, **same)
    make_run(stack, 2, state=State.FINISHED, **same)
    assert "newer run: retry that one" in refuses_retry(run)


def test_no_proposed_run_destroys_and_no_push_does_either(linked: Integration) -> None:
    stack = make_stack(linked)
    for about in (
        {"kind": Kind.PROPOSED, "origin": Origin.PERSON, "operation": Operation.DESTROY},
        {"origin": Origin.PUSH, "operation": Operation.DESTROY},
        {"origin": "wind"},
        {"operation": "guess"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            make_run(stack, **about)
    make_run(stack, origin=Origin.PERSON, operation=Operation.DESTROY)


def test_without_a_known_head_no_tracked_run_starts(linked: Integration) -> None:
    stack = make_stack(linked)
    with pytest.raises(NotTriggered, match="The head of main is not known yet"):
        trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.MODULE)
    assert not stack.runs.exists()


def test_one_tracked_run_holds_its_stack_whatever_started_it(linked: Integration) -> None:
    stack = make_stack(linked)
    make_run(stack, 1, state=State.PLANNING)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(stack, 2, origin=Origin.PERSON, state=State.PLANNING)
