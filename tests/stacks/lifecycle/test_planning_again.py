"""Plans of open pull requests that are out of date: said so, and made again once it is quiet."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from stacks.lifecycle import forks
from stacks.lifecycle.basis import basis_now
from stacks.lifecycle.planning_again import LOOK_AGAIN_AFTER, MOST_AT_ONCE, plan_again_next
from stacks.models import Run, Stack, StateVersion
from stacks.rules.states import Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest
from tests.stacks.reports.sender import (
    TO_PLAN,
    look,
    make_plan_again_due,
    make_reports_due,
    move,
    newest,
    send_all,
    summaries,
)
from vcs_integrations.models import Integration
from vcs_integrations.models import Repository as OurRepository


@pytest.fixture
def stack(integration: Integration, repository: Repository) -> Stack:
    ours = OurRepository.objects.get(external_id=repository.id)
    stack = make_stack(ours)
    assert follow_from_now(stack) is None
    return stack


def opened(repository: Repository, branch: str = "feature", **options: Any) -> PullRequest:
    repository.push({f"{branch}.tf": "1"}, branch)
    return repository.open_pull_request(branch, **options)


def finish(run: Run) -> None:
    """Let a run be planned from what there is now, as a worker does."""
    Run.objects.filter(pk=run.pk).update(**basis_now(run.stack), behind=0)
    run.refresh_from_db()
    move(run, *TO_PLAN)
    if run.kind == Kind.TRACKED:
        move(run, State.UNCONFIRMED, State.CONFIRMED, State.APPLYING)
    move(run, State.FINISHED)


def write_state(stack: Stack) -> None:
    number = stack.state_versions.count() + 1
    StateVersion.objects.create(
        stack=stack, number=number, serial=number, lineage="one", size=1, digest=str(number)
    )


def work() -> None:
    make_plan_again_due()
    assert plan_again_next()


def statuses(one: PullRequest) -> list[tuple[str, str]]:
    make_reports_due()
    send_all()
    return summaries(one.latest_statuses(iteration=1))


def move_main(stack: Stack, repository: Repository) -> Run:
    repository.push({"main.tf": str(stack.runs.count())})
    look(stack)
    tracked = newest(stack)
    assert tracked.kind == Kind.TRACKED
    return tracked


def test_what_main_moved_under_is_planned_again_once_main_is_applied(
    stack: Stack, repository: Repository, member: Client
) -> None:
    one = opened(repository)
    look(stack)
    old = newest(stack)
    finish(old)
    assert statuses(one) == [("succeeded", "Run 1 finished")]
    tracked = move_main(stack, repository)
    # Only once nothing moves any more, and never while main is on its way.
    assert not plan_again_next()
    work()
    assert stack.runs.count() == 2
    outdated = "Out of date, as main moved. It will be planned again."
    assert statuses(one) == [("pending", f"{outdated[:-1]}. Run 1 finished.")]
    page = member.get(old.get_absolute_url()).content.decode()
    assert "Out of date, as main moved.</strong> It will be planned again." in page
    assert Stack.objects.get().plan_again_at <= timezone.now() + LOOK_AGAIN_AFTER  # type: ignore[operator]
    finish(tracked)
    work()
    again = newest(stack)
    assert (again.repeats, again.sha, again.pull_request) == (old, old.sha, old.pull_request)
    assert again.proposals[0].revision == 1
    assert again.note == "Planned again: main moved."
    assert again.note in member.get(again.get_absolute_url()).content.decode()
    finish(again)
    assert statuses(one) == [("succeeded", "Run 3 finished")]
    work_is_done(stack)


def work_is_done(stack: Stack) -> None:
    make_plan_again_due()
    plan_again_next()
    stack.refresh_from_db()
    assert stack.plan_again_at is None
    assert not plan_again_next()


def test_a_pushed_branch_is_planned_again_where_main_moved_before_its_pull_request(
    stack: Stack, repository: Repository
) -> None:
    repository.push({"feature.tf": "1"}, "feature")
    look(stack)
    finish(newest(stack))
    finish(move_main(stack, repository))
    work_is_done(stack)
    one = repository.open_pull_request("feature")
    look(stack)
    [(state, description)] = statuses(one)
    assert (state, description.startswith("Out of date, as main moved")) == ("pending", True)
    work()
    finish(newest(stack))
    assert statuses(one) == [("succeeded", "Run 3 finished")]


def test_a_state_that_changed_is_enough(stack: Stack, repository: Repository) -> None:
    opened(repository)
    look(stack)
    finish(newest(stack))
    write_state(stack)
    work()
    assert newest(stack).note == "Planned again: the state changed."


def test_a_long_branch_leaves_a_note_that_can_be_stored(
    integration: Integration, repository: Repository
) -> None:
    branch = "/".join(["branch"] * 71)
    repository.push({"main.tf": "1"}, branch)
    ours = OurRepository.objects.get(external_id=repository.id)
    stack = make_stack(ours, branch=branch)
    assert follow_from_now(stack) is None
    repository.push({"feature.tf": "1"}, "feature")
    repository.open_pull_request("feature", branch)
    look(stack)
    finish(newest(stack))
    repository.push({"main.tf": "2"}, branch)
    look(stack)
    finish(newest(stack))
    work()
    again = newest(stack)
    assert (again.repeats is not None, len(again.note)) == (True, 500)


def test_main_may_move_where_it_does_not_concern_the_stack(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(project_root="network")
    stack.refresh_from_db()
    repository.push({"network/main.tf": "1"}, "feature")
    one = repository.open_pull_request("feature")
    look(stack)
    finish(newest(stack))
    repository.push({"docs/read.md": "1"})
    look(stack)
    assert statuses(one) == [("succeeded", "Run 1 finished")]
    stack.refresh_from_db()
    assert stack.plan_again_at is None or not plan_again_next()


@pytest.mark.parametrize("state", [State.PREPARING, State.PLANNING])
def test_a_plan_under_way_is_given_up_for_a_newer_one(
    stack: Stack, repository: Repository, state: State
) -> None:
    opened(repository)
    look(stack)
    old = newest(stack)
    Run.objects.filter(pk=old.pk).update(**basis_now(stack))
    move(old, *TO_PLAN[: TO_PLAN.index(state) + 1])
    write_state(stack)
    work()
    old.refresh_from_db()
    assert (old.state, newest(stack).repeats) == (State.SUPERSEDED, old)


def test_one_that_is_not_begun_yet_is_left_alone(stack: Stack, repository: Repository) -> None:
    opened(repository)
    look(stack)
    write_state(stack)
    work()
    assert stack.runs.count() == 1


def test_a_few_are_planned_again_at_once(stack: Stack, repository: Repository) -> None:
    count = MOST_AT_ONCE + 2
    for number in range(count):
        opened(repository, f"topic-{number}")
    look(stack)
    for run in stack.runs.all():
        finish(run)
    write_state(stack)
    work()
    again = stack.runs.exclude(repeats=None)
    assert again.count() == MOST_AT_ONCE
    work()
    assert again.count() == MOST_AT_ONCE
    for run in again.all():
        finish(run)
    work()
    assert again.count() == count
    for run in again.filter(state=State.QUEUED):
        finish(run)
    work_is_done(stack)
    assert again.count() == count


def test_a_stack_that_plans_nothing_again_says_that_it_is_out_of_date(
    stack: Stack, repository: Repository
) -> None:
    one = opened(repository)
    look(stack)
    write_state(stack)
    old = newest(stack)
    finish(old)
    Run.objects.update(tracked_sha="a1b2c3d4e5")
    Stack.objects.update(plans_again=False)
    write_state(stack)
    work_is_done(stack)
    assert stack.runs.count() == 1
    assert statuses(one) == [
        (
            "succeeded",
            "Out of date, as the state changed (planned for main at a1b2c3d4, state version 1). "
            "Run 1 finished.",
        )
    ]
    assert "Out of date, as the state changed" in one.threads[0].comments[0].content


def test_closed_ones_and_drafts_that_do_not_run_are_left_alone(
    stack: Stack, repository: Repository
) -> None:
    closed, draft = opened(repository, "closed"), opened(repository, "draft", is_draft=True)
    look(stack)
    for run in stack.runs.all():
        finish(run)
    closed.abandon()
    look(stack)
    Stack.objects.update(runs_drafts=False)
    write_state(stack)
    work_is_done(stack)
    assert stack.runs.count() == 2
    assert statuses(draft)[0][0] == "pending"


def test_a_fork_that_was_allowed_once_waits_for_a_person(
    stack: Stack, repository: Repository, bob: User
) -> None:
    fork = repository.fork("fork")
    fork.push({"feature.tf": "1"}, "feature")
    one = repository.open_pull_request("feature", fork=fork)
    look(stack)
    row = stack.repository.pull_requests.get()
    found = forks.read(row, row.source_sha)
    finish(forks.allow(stack, row, found, bob))
    write_state(stack)
    work_is_done(stack)
    assert stack.runs.count() == 1
    assert statuses(one) == [
        (
            "pending",
            "Out of date, as the state changed. Retry it to plan it again. Run 1 finished.",
        )
    ]
