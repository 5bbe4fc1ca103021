"""Schedules that come due: what they start, once, and what keeps them from it."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from stacks.execution import queue
from stacks.models import Run, Schedule, Stack
from stacks.models.schedule import Starts
from stacks.rules.states import Kind, Operation, Origin, State
from stacks.schedules.queue import LEASE, start_scheduled_next
from tests.builders import make_run, make_schedule
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.stacks.reports.sender import look
from vcs_integrations.models import Integration

MONDAY_AT_FIVE = datetime(2027, 3, 1, 5, tzinfo=UTC)  # 6:00 in Berlin


@pytest.fixture
def applied(stack: Stack) -> Stack:
    """A stack whose tracked run was applied."""
    make_run(stack, 1, state=State.FINISHED, sha="a" * 40)
    return stack


def newest(stack: Stack) -> Run:
    found = stack.runs.order_by("-number").first()
    assert found
    return found


def due_again(schedule: Schedule) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(due_at=timezone.now())


def test_drift_is_looked_for_in_what_was_applied_and_not_in_the_head(
    applied: Stack, repository: Repository
) -> None:
    make_run(applied, 2, state=State.FINISHED, origin=Origin.PERSON, operation="refresh_only")
    make_run(applied, 3, state=State.FINISHED, origin=Origin.PERSON, targets=["a.b"])
    make_run(applied, 4, state=State.FAILED)
    make_run(applied, 5, state=State.FINISHED, kind=Kind.PROPOSED)
    repository.push({"main.tf": "# 2\n"})
    schedule = make_schedule(applied)
    assert start_scheduled_next()
    run = newest(applied)
    assert (run.kind, run.operation, run.origin) == (
        Kind.DRIFT,
        Operation.REFRESH_ONLY,
        Origin.SCHEDULE,
    )
    assert (run.sha, run.started_by) == ("a" * 40, "Started by a schedule")
    schedule.refresh_from_db()
    assert (schedule.last_run, schedule.awaited, schedule.problem) == (run, None, "")
    assert not start_scheduled_next()


def test_without_an_apply_there_is_nothing_to_compare(stack: Stack) -> None:
    schedule = make_schedule(stack)
    assert start_scheduled_next()
    schedule.refresh_from_db()
    assert schedule.problem.startswith("No run of this branch was applied yet")
    assert schedule.due_at and schedule.due_at > timezone.now()
    assert not stack.runs.exists()


@pytest.mark.parametrize(
    ("what", "operation"), [(Starts.TRACKED, Operation.APPLY), (Starts.DESTROY, Operation.DESTROY)]
)
def test_a_scheduled_run_is_of_the_head_as_it_is_then(
    stack: Stack, repository: Repository, what: Starts, operation: Operation
) -> None:
    newer = repository.push({"main.tf": "# 2\n"})
    make_schedule(stack, what)
    assert start_scheduled_next()
    run = newest(stack)
    assert (run.kind, run.sha, run.operation) == (Kind.TRACKED, newer, operation)


@pytest.mark.on_postgresql
def test_what_was_missed_is_made_up_for_once(applied: Stack) -> None:
    with time_machine.travel(MONDAY_AT_FIVE - timedelta(hours=1), tick=False):
        schedule = make_schedule(applied, due_at=MONDAY_AT_FIVE)
        assert not start_scheduled_next()
    # No worker ran for ten days.
    with time_machine.travel(MONDAY_AT_FIVE + timedelta(days=10, hours=3), tick=False):
        assert start_scheduled_next()
        assert not start_scheduled_next()
    assert applied.runs.filter(origin=Origin.SCHEDULE).count() == 1
    schedule.refresh_from_db()
    assert schedule.due_at == MONDAY_AT_FIVE + timedelta(days=11)


def test_the_next_time_follows_the_clock_of_its_zone(applied: Stack) -> None:
    # On March 28, 2027, clocks in Berlin go forward.
    saturday = datetime(2027, 3, 27, 5, tzinfo=UTC)
    with time_machine.travel(saturday, tick=False):
        schedule = make_schedule(applied)
        assert start_scheduled_next()
    schedule.refresh_from_db()
    assert schedule.due_at == saturday + timedelta(hours=23)


def test_nothing_piles_up_while_the_last_run_is_unfinished(applied: Stack) -> None:
    schedule = make_schedule(applied)
    assert start_scheduled_next()
    run = newest(applied)
    due_again(schedule)
    assert start_scheduled_next()
    assert newest(applied) == run
    schedule.refresh_from_db()
    assert schedule.problem == "Skipped, as Run 2 is queued."
    Run.objects.filter(pk=run.pk).move_to(State.CANCELED)
    due_again(schedule)
    assert start_scheduled_next()
    assert newest(applied).number == 3


@pytest.mark.on_postgresql
def test_a_detached_stack_waits_and_is_run_once_attached(
    applied: Stack, integration: Integration
) -> None:
    make_schedule(applied)
    Integration.objects.update(unlinked_at=timezone.now())
    assert not start_scheduled_next()
    Integration.objects.update(unlinked_at=None)
    assert start_scheduled_next()


@pytest.mark.on_postgresql
def test_while_the_provider_is_down_it_is_retried_and_started_once(
    stack: Stack, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make_schedule(stack, Starts.TRACKED)
    Integration.objects.update(organization_url="http://127.0.0.1:9/fabrikam")
    assert start_scheduled_next()
    schedule.refresh_from_db()
    assert schedule.problem.startswith("Stackhook retries automatically.")
    assert schedule.failures == 1 and not stack.runs.exists()
    Integration.objects.update(organization_url=f"{emulator.url}/fabrikam")
    due_again(schedule)
    assert start_scheduled_next()
    schedule.refresh_from_db()
    assert (schedule.failures, schedule.problem, newest(stack).number) == (0, "", 1)


@pytest.mark.on_postgresql
def test_a_killed_workers_schedule_is_started_by_the_next_once(applied: Stack) -> None:
    schedule = make_schedule(applied)
    assert Schedule.objects.claim_one(LEASE) == schedule
    assert not start_scheduled_next()
    Schedule.objects.update(lease_until=timezone.now())
    assert start_scheduled_next()
    assert not start_scheduled_next()
    assert applied.runs.filter(kind=Kind.DRIFT).count() == 1


@pytest.mark.on_postgresql
def test_who_lost_the_lease_starts_nothing(applied: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = make_schedule(applied)
    real = Schedule.release

    def late(self: Schedule, *args: object, **fields: object) -> bool:
        Schedule.objects.filter(pk=schedule.pk).update(lease_token="another")
        return real(self, *args, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(Schedule, "release", late)
    assert start_scheduled_next()
    assert not applied.runs.filter(kind=Kind.DRIFT).exists()


def found_drift(schedule: Schedule, state: State = State.FINISHED, drifted: int = 2) -> Run:
    """Let the drift run of a schedule end with a result."""
    run = newest(schedule.stack)
    Run.objects.filter(pk=run.pk).update(state=state, drifted=drifted)
    return run


def test_drift_starts_a_tracked_run_of_the_head_where_that_is_asked_for(
    applied: Stack, repository: Repository
) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    assert not start_scheduled_next()  # it is not known yet
    found_drift(schedule)
    schedule.refresh_from_db()
    due_at = schedule.due_at
    assert start_scheduled_next()
    assert not start_scheduled_next()
    run = newest(applied)
    assert (run.kind, run.origin, run.operation) == (Kind.TRACKED, Origin.DRIFT, Operation.APPLY)
    assert run.sha == repository.sha("main")
    assert run.note == "Run 2 found drift: 2 resources changed outside."
    schedule.refresh_from_db()
    assert (schedule.awaited, schedule.due_at) == (None, due_at)
    # As long as that run waits, drift that is found again starts no other.
    due_again(schedule)
    assert start_scheduled_next()
    found_drift(schedule)
    Run.objects.filter(pk=run.pk).update(state=State.UNCONFIRMED)
    assert start_scheduled_next()
    assert applied.runs.filter(origin=Origin.DRIFT).count() == 1
    schedule.refresh_from_db()
    assert schedule.problem.endswith("Run 3 needs confirmation, so no other was started.")


@pytest.mark.parametrize(
    ("state", "drifted"), [(State.FINISHED, 0), (State.FAILED, 2), (State.CANCELED, 2)]
)
def test_without_a_result_that_says_drift_nothing_starts(
    applied: Stack, state: State, drifted: int
) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    found_drift(schedule, state, drifted)
    assert start_scheduled_next()
    assert not start_scheduled_next()
    assert not applied.runs.filter(origin=Origin.DRIFT).exists()


def test_drift_that_is_only_to_be_shown_starts_nothing(applied: Stack) -> None:
    schedule = make_schedule(applied)
    assert start_scheduled_next()
    found_drift(schedule)
    assert not start_scheduled_next()


def test_who_clears_the_choice_stops_what_a_drift_run_would_start(
    applied: Stack, member: Client
) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    typed = {"what": "drift", "cron": schedule.cron, "time_zone": schedule.time_zone}
    member.post(f"/stacks/network/schedules/{schedule.pk}/", typed)
    found_drift(schedule)
    assert not start_scheduled_next()
    assert not applied.runs.filter(origin=Origin.DRIFT).exists()


@pytest.mark.on_postgresql
def test_a_choice_that_was_cleared_while_the_drift_run_started_counts(applied: Stack) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    Schedule.objects.update(runs_on_drift=False)
    found_drift(schedule)
    assert start_scheduled_next()
    assert not start_scheduled_next()
    assert not applied.runs.filter(origin=Origin.DRIFT).exists()


def test_what_was_found_waits_while_the_stack_is_detached(applied: Stack) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    found_drift(schedule)
    Integration.objects.update(unlinked_at=timezone.now())
    assert not start_scheduled_next()
    Integration.objects.update(unlinked_at=None)
    assert start_scheduled_next()
    assert newest(applied).origin == Origin.DRIFT


@pytest.mark.on_postgresql
def test_while_the_provider_is_down_a_found_drift_is_kept(
    applied: Stack, emulator: Emulator
) -> None:
    schedule = make_schedule(applied, runs_on_drift=True)
    assert start_scheduled_next()
    found_drift(schedule)
    schedule.refresh_from_db()
    due_at = schedule.due_at
    Integration.objects.update(organization_url="http://127.0.0.1:9/fabrikam")
    assert start_scheduled_next()
    assert not start_scheduled_next()  # not at once
    Integration.objects.update(organization_url=f"{emulator.url}/fabrikam")
    Schedule.objects.update(lease_until=timezone.now())
    assert start_scheduled_next()
    assert newest(applied).origin == Origin.DRIFT
    schedule.refresh_from_db()
    assert schedule.due_at == due_at


@pytest.mark.on_postgresql
def test_drift_is_not_compared_while_a_run_is_applied(applied: Stack) -> None:
    make_schedule(applied)
    assert start_scheduled_next()
    applying = make_run(applied, 9, state=State.APPLYING)
    assert queue.claim_next("here") is None
    Run.objects.filter(pk=applying.pk).update(state=State.UNCONFIRMED)
    claimed = queue.claim_next("here")
    assert claimed and claimed.kind == Kind.DRIFT


def test_a_push_does_not_supersede_drift_detection(applied: Stack, repository: Repository) -> None:
    Stack.objects.update(path_rule=False)
    make_schedule(applied)
    assert start_scheduled_next()
    run = newest(applied)
    repository.push({"main.tf": "# 2\n"})
    look(applied)
    run.refresh_from_db()
    assert run.state == State.QUEUED
