"""Claiming work, for everything that is claimed: who holds an old lease changes nothing."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone

from core.leases import Keeping, Leased, LeaseLost
from stacks.models import Report, Stack
from stacks.models.report import What
from tests.builders import make_integration, make_run, make_stack
from tests.emulator.model import Organization
from vcs_integrations.models import Delivery, Notice, NoticeMail, Repository
from vcs_integrations.providers.base import Outcome

LEASE = timedelta(seconds=60)
MOMENT = timedelta(seconds=1)
Make = Callable[[Stack], Leased]


def delivery(stack: Stack) -> Leased:
    return Delivery.objects.create(
        integration=stack.integration, outcome=Outcome.STORED, body=b"{}", due_at=timezone.now()
    )


def repository(stack: Stack) -> Leased:
    return stack.repository


def integration(stack: Stack) -> Leased:
    return stack.integration


def hook_watch(stack: Stack) -> Leased:
    return stack.integration.hook_watch


def report(stack: Stack) -> Leased:
    return Report.objects.create(
        repository=stack.repository, stack=stack, what=What.COMMIT_STATUS, sha="1" * 40, name="n"
    )


def mail(stack: Stack) -> Leased:
    notice = Notice.objects.create(integration=stack.integration, kind="refused", subject="No")
    return NoticeMail.objects.create(notice=notice, address=f"{uuid4()}@example.com")


def run(stack: Stack) -> Leased:
    return make_run(stack, 1)


@pytest.fixture
def stack(organization: Organization, token: str, db: None) -> Stack:
    return make_stack(make_integration(organization.url, token), "Network")


@pytest.fixture(params=[delivery, repository, integration, hook_watch, report, mail, run])
def row(request: pytest.FixtureRequest, stack: Stack, clock: time_machine.Traveller) -> Leased:
    """A row that is due."""
    made: Leased = request.param(stack)
    type(made)._default_manager.filter(pk=made.pk).update(due_at=timezone.now())
    clock.shift(MOMENT)
    return made


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def claim(row: Leased) -> Any:
    """Return the row as it was claimed, None where nothing was."""
    return type(row).objects.claim_one(LEASE)  # type: ignore[attr-defined]


def stored(row: Leased) -> Leased:
    return type(row)._default_manager.get(pk=row.pk)


def values(row: Leased) -> dict[str, Any]:
    return dict(type(row)._default_manager.filter(pk=row.pk).values()[0])


def test_one_worker_at_a_time_has_a_row(row: Leased, clock: time_machine.Traveller) -> None:
    assert claim(row) == row
    assert stored(row).is_held
    assert claim(row) is None
    clock.shift(LEASE - MOMENT)
    assert claim(row) is None
    clock.shift(MOMENT)
    assert claim(row) == row


def test_what_is_not_due_is_not_claimed(row: Leased) -> None:
    for due_at in (None, timezone.now() + MOMENT):
        type(row)._default_manager.update(due_at=due_at)
        assert claim(row) is None


def test_who_renews_a_lease_keeps_the_row(row: Leased, clock: time_machine.Traveller) -> None:
    held = claim(row)
    for _ in range(3):
        clock.shift(LEASE - MOMENT)
        held.renew(LEASE)
    assert claim(row) is None
    assert held.release(None)


def test_an_expired_holder_changes_nothing(row: Leased, clock: time_machine.Traveller) -> None:
    expired = claim(row)
    clock.shift(LEASE)
    present = claim(row)
    as_it_was = values(row)
    with pytest.raises(LeaseLost):
        expired.renew(LEASE)
    assert not expired.release(timezone.now())
    assert not expired.release(None, failures=7)
    assert not expired.retry_later(MOMENT, LEASE)
    assert not expired.held().update(failures=7)
    assert values(row) == as_it_was
    assert claim(row) is None  # no third worker is let in
    assert present.release(timezone.now())
    as_it_was = values(row)
    assert not expired.release(None)
    assert values(row) == as_it_was


def test_a_row_that_somebody_saves_keeps_its_lease(row: Leased) -> None:
    read_before = stored(row)
    held = claim(row)
    read_before.save()
    assert claim(row) is None
    assert held.release(None)


def test_who_still_holds_an_expired_lease_that_nobody_claimed_may_go_on(
    row: Leased, clock: time_machine.Traveller
) -> None:
    held = claim(row)
    clock.shift(2 * LEASE)
    held.renew(LEASE)
    assert claim(row) is None


def test_a_row_that_is_given_back_is_due_when_its_holder_says(
    row: Leased, clock: time_machine.Traveller
) -> None:
    claim(row).release(timezone.now() + LEASE)
    clock.shift(LEASE - MOMENT)
    assert claim(row) is None
    clock.shift(MOMENT)
    claim(row).release(None)
    assert claim(row) is None
    assert not stored(row).is_held


def test_what_fails_is_tried_again_less_and_less_often(
    row: Leased, clock: time_machine.Traveller
) -> None:
    for failures, wait in enumerate([2, 4, 8, 10, 10]):
        held = claim(row)
        assert held.failures == failures
        assert held.retry_later(timedelta(seconds=2), timedelta(seconds=10))
        clock.shift(timedelta(seconds=wait) - MOMENT)
        assert claim(row) is None
        clock.shift(MOMENT)
    claim(row).retry_later(timedelta(seconds=2), timedelta(seconds=10), asked=90)
    clock.shift(timedelta(seconds=89))
    assert claim(row) is None
    clock.shift(MOMENT)
    claim(row).release(timezone.now())
    assert stored(row).failures == 0


def test_what_somebody_asks_for_meanwhile_is_done_next(row: Leased) -> None:
    held = claim(row)
    type(row)._default_manager.filter(pk=row.pk).update(due_at=timezone.now())
    assert held.release(timezone.now() + LEASE)
    assert claim(row) == row


def test_the_longest_due_are_claimed_first_and_no_more_than_asked_for(
    stack: Stack, clock: time_machine.Traveller
) -> None:
    made = []
    for _ in range(5):
        made.append(delivery(stack))
        clock.shift(MOMENT)
    first = Delivery.objects.claim(LEASE, most=2)
    assert first == made[:2]
    assert len({one.lease_token for one in first}) == 1
    assert Delivery.objects.claim(LEASE, most=9) == made[2:]
    assert not Delivery.objects.claim(LEASE)


@pytest.mark.django_db(transaction=True)
def test_leases_are_kept_for_as_long_as_their_rows_are_worked_on(
    organization: Organization, token: str
) -> None:
    make_stack(make_integration(organization.url, token), "Network")
    Repository.objects.update(due_at=timezone.now())
    short = timedelta(seconds=0.6)
    [held] = Repository.objects.claim(short)
    ended_at = held.lease_until
    with Keeping([held], short) as keeping:
        for _ in range(500):
            if Repository.objects.filter(pk=held.pk, lease_until__gt=ended_at).exists():
                break
            time.sleep(0.02)
        else:
            pytest.fail("It was not renewed.")
        assert not keeping.may_have_ended
    assert held.release(None)
