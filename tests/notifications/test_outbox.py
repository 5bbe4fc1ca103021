"""The outbox: exactly one message for each run, event and target, stored as the run moves."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from notifications.models import Event, Message, MessageState, Subscription
from stacks.lifecycle.drift import note_drift
from stacks.models import Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_channel, make_run, make_stack, store_integration
from vcs_integrations.models import Integration


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network", labels=["prod", "azure"])


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.SENDS_EMAIL = True


def notify(person: User, *events: Event, **scope: Any) -> None:
    Subscription.objects.create(person=person, events=list(events or Event), **scope)


def stored() -> list[tuple[str, str]]:
    return sorted((one.event, one.target) for one in Message.objects.all())


def move(run: Run, *states: State) -> None:
    for state in states:
        if state == State.APPLYING:
            Run.objects.filter(pk=run.pk).update(apply_started_at=timezone.now())
        run.move_to(state)


PLANNED = (State.PREPARING, State.PLANNING)
APPLIED = (*PLANNED, State.UNCONFIRMED, State.CONFIRMED, State.APPLYING, State.FINISHED)


@pytest.mark.on_postgresql
def test_a_run_that_waits_and_is_applied_has_one_message_of_each(stack: Stack, bob: User) -> None:
    notify(bob, stack=stack)
    notify(bob, label="prod")
    notify(bob)
    make_channel()
    move(make_run(stack), *APPLIED)
    assert stored() == [
        (Event.APPLIED, "Ops"),
        (Event.APPLIED, "bob"),
        (Event.WAITING, "Ops"),
        (Event.WAITING, "bob"),
    ]


def test_without_a_mail_server_nobody_is_notified_later(
    stack: Stack, bob: User, settings: Settings
) -> None:
    settings.SENDS_EMAIL = False
    notify(bob)
    make_channel()
    move(make_run(stack), *PLANNED, State.FAILED)
    assert stored() == [(Event.FAILED, "Ops")]


def test_a_failed_run_of_the_branch_is_an_event_and_one_of_a_pull_request_is_none(
    stack: Stack, bob: User
) -> None:
    notify(bob)
    move(make_run(stack, kind=Kind.PROPOSED), *PLANNED, State.FAILED)
    assert stored() == []
    move(make_run(stack), *PLANNED, State.FAILED)
    assert stored() == [(Event.FAILED, "bob")]


def test_a_run_without_changes_was_not_applied(stack: Stack, bob: User) -> None:
    notify(bob)
    move(make_run(stack), *PLANNED, State.FINISHED)
    assert stored() == []


@pytest.mark.on_postgresql
@pytest.mark.parametrize(("drifted", "expected"), [(0, []), (2, [(Event.DRIFT, "bob")])])
def test_drift_is_an_event_where_some_was_found(
    stack: Stack, bob: User, drifted: int, expected: list[Any]
) -> None:
    notify(bob)
    run = make_run(stack, kind=Kind.DRIFT, state=State.PLANNING, plan_started_at=timezone.now())
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).update(drifted=drifted)
        note_drift(run)
    assert stored() == expected


@pytest.mark.parametrize(
    ("scope", "is_told"),
    [({}, True), ({"label": "prod"}, True), ({"label": "dev"}, False)],
)
def test_a_subscription_is_to_all_stacks_or_those_with_a_label(
    stack: Stack, bob: User, scope: dict[str, str], is_told: bool
) -> None:
    notify(bob, **scope)
    move(make_run(stack), *PLANNED, State.FAILED)
    assert bool(stored()) == is_told


def test_a_subscription_to_another_stack_or_event_or_of_somebody_deactivated_is_none(
    stack: Stack, alice: User, bob: User, charlie: User
) -> None:
    notify(alice, stack=make_stack(store_integration("contoso"), "Other"))
    notify(bob, Event.APPLIED, Event.DRIFT)
    notify(charlie)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    move(make_run(stack), *PLANNED, State.FAILED)
    assert stored() == []


@pytest.mark.on_postgresql
def test_a_channel_is_of_its_stacks_or_labels(stack: Stack) -> None:
    other = make_stack(store_integration("contoso"), "Other")
    make_channel(name="other").stacks.add(other)
    make_channel(name="this").stacks.add(stack)
    make_channel(name="dev", labels=["dev"])
    make_channel(name="prod", labels=["prod"])
    make_channel(name="applied", events=[Event.APPLIED])
    move(make_run(stack), *PLANNED, State.FAILED)
    assert stored() == [(Event.FAILED, "prod"), (Event.FAILED, "this")]


@pytest.mark.on_postgresql
def test_a_move_that_is_taken_back_leaves_no_message(stack: Stack, bob: User) -> None:
    notify(bob)
    run = make_run(stack, state=State.PLANNING)
    with transaction.atomic():
        run.move_to(State.FAILED)
        assert stored() == [(Event.FAILED, "bob")]
        transaction.set_rollback(True)
    assert stored() == []


@pytest.mark.on_postgresql
def test_a_run_that_waits_twice_is_told_of_once(stack: Stack, bob: User) -> None:
    notify(bob)
    run = make_run(stack, state=State.PLANNING)
    run.move_to(State.UNCONFIRMED)
    Run.objects.filter(pk=run.pk).update(state=State.PLANNING)
    run.refresh_from_db()
    run.move_to(State.UNCONFIRMED)
    assert stored() == [(Event.WAITING, "bob")]


@pytest.mark.on_postgresql
def test_what_is_posted_next_is_found_without_reading_what_was_posted(stack: Stack) -> None:
    run, channels = make_run(stack), [make_channel(name=f"Ops {number}") for number in range(2000)]
    sent = {"run": run, "event": Event.FAILED, "state": MessageState.SENT, "due_at": None}
    Message.objects.bulk_create(Message(channel=channel, **sent) for channel in channels)
    one = Message.objects.create(run=run, event=Event.DRIFT, channel=channels[0])
    with CaptureQueriesContext(connection) as asked:
        assert list(Message.objects.to_idle_channels().due()) == [one]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_message")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {asked[0]['sql']}")
        plan = str(cursor.fetchall())
    assert plan.count("message_due") == 2  # for what is due, and for what is being posted
