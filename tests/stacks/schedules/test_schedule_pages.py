"""The pages of schedules, and triggering drift detection."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.audit.records import entries
from accounts.models import User
from stacks.models import Run, Schedule, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_schedule, make_stack
from tests.conftest import signed_in
from tests.stacks.conftest import errors
from vcs_integrations.models import Integration

PAGE = "/stacks/network/schedules/"
FRIDAY = datetime(2027, 3, 26, 12, tzinfo=UTC)
DAILY = {"what": "drift", "cron": "0 6 * * mon-fri", "time_zone": "europe/berlin"}


@pytest.fixture
def unread(linked: Integration) -> Stack:
    """A stack whose repository nobody reads."""
    return make_stack(linked)


def words(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_a_member_adds_a_schedule_and_sees_its_next_times(bob: User, unread: Stack) -> None:
    with time_machine.travel(FRIDAY):
        member = signed_in(bob)
        answer = member.post(PAGE, DAILY | {"runs_on_drift": "on"}, follow=True)
    schedule = Schedule.objects.get()
    assert str(schedule) == "Drift detection: 0 6 * * MON-FRI, Europe/Berlin"
    assert schedule.runs_on_drift
    # On March 28, clocks in Berlin go forward.
    assert schedule.due_at == datetime(2027, 3, 29, 4, tzinfo=UTC)
    page = words(answer)
    assert "The schedule was added" in page
    for time in ("Mon 2027-03-29 06:00 CEST", "Tue 2027-03-30 06:00 CEST", "Wed 2027-03-31"):
        assert time in page


def test_a_member_changes_and_removes_one(member: Client, bob: User, unread: Stack) -> None:
    schedule = make_schedule(unread, due_at=FRIDAY, problem="Skipped, as Run 1 is queued.")
    assert "Skipped, as Run 1 is queued." in words(member.get(PAGE))
    page = member.get(f"{PAGE}{schedule.pk}/")
    assert 'value="0 6 * * *"' in words(page) and 'value="Europe/Berlin"' in words(page)
    assert f'href="{PAGE}"' in words(member.get("/stacks/network/"))
    with time_machine.travel(FRIDAY):
        signed_in(bob).post(
            f"{PAGE}{schedule.pk}/", DAILY | {"what": "tracked", "time_zone": "UTC"}, follow=True
        )
    schedule.refresh_from_db()
    assert (schedule.what, schedule.time_zone, schedule.problem) == ("tracked", "UTC", "")
    assert schedule.due_at == datetime(2027, 3, 29, 6, tzinfo=UTC)
    assert "Remove schedule?" in words(member.get(f"{PAGE}{schedule.pk}/remove/"))
    member.post(f"{PAGE}{schedule.pk}/remove/")
    assert not Schedule.objects.exists()
    assert entries().count() == 2


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("cron", {"cron": ""}, "Write when, like"),
        ("cron", {"cron": "@daily"}, "Write five fields"),
        ("cron", {"cron": "61 * * * *"}, "Its minute can’t be read."),
        ("cron", {"cron": "0 0 31 2 *"}, "can’t be used"),
        ("time_zone", {"time_zone": "Berlin"}, "“Berlin” is no time zone."),
        ("time_zone", {"time_zone": "../etc/passwd"}, "is no time zone."),
        ("what", {"what": "guess"}, "Choose from the list"),
        ("stack_name", {"what": "destroy"}, "type the stack's name: Network"),
        ("runs_on_drift", {"what": "tracked", "runs_on_drift": "on"}, "Only drift detection"),
    ],
)
def test_what_can_not_be_scheduled_is_refused_and_nothing_typed_is_lost(
    member: Client, unread: Stack, field: str, typed: dict[str, str], said: str
) -> None:
    answer = member.post(PAGE, DAILY | typed)
    assert answer.status_code == 200
    assert said in errors(answer, field)
    kept = typed.get("time_zone", "europe/berlin")
    assert f'value="{kept}"' in words(answer)
    assert not Schedule.objects.exists() and not entries().exists()


def test_a_destroy_run_is_scheduled_with_the_stacks_name(member: Client, unread: Stack) -> None:
    member.post(PAGE, DAILY | {"what": "destroy", "stack_name": "Network"})
    assert Schedule.objects.get().what == "destroy"


def test_a_stack_takes_twenty_schedules(member: Client, unread: Stack) -> None:
    for _ in range(20):
        make_schedule(unread)
    assert "A stack has at most 20 schedules." in words(member.post(PAGE, DAILY))
    assert Schedule.objects.count() == 20


def test_a_schedule_of_another_stack_is_not_found(member: Client, unread: Stack) -> None:
    other = make_schedule(make_stack(unread.repository, "Other"))
    for path in (f"{PAGE}{other.pk}/", f"{PAGE}{other.pk}/remove/"):
        assert member.get(path).status_code == 404
        assert member.post(path, DAILY).status_code == 404
    assert Schedule.objects.get() == other


def test_a_member_triggers_drift_detection(member: Client, unread: Stack) -> None:
    new = "/stacks/network/runs/new/"
    answer = member.post(new, {"kind": "drift", "operation": "apply"})
    assert "there is nothing to compare with" in errors(answer, "kind")
    make_run(unread, 1, state=State.FINISHED, sha="a" * 40)
    answer = member.post(new, {"kind": "drift", "operation": "apply", "more_targets": "a.b"})
    assert "Drift detection compares everything." in errors(answer, "kind")
    member.post(new, {"kind": "drift", "operation": "destroy"})
    run = Run.objects.get(number=2)
    assert (run.kind, run.operation, run.sha) == (Kind.DRIFT, "refresh_only", "a" * 40)
    assert run.started_by == "Triggered by bob"
    (entry,) = entries()
    assert entry.note == "Drift detection"
