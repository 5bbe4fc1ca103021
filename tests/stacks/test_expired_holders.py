"""Workers that were away until others claimed their work: what they still do."""

from typing import Any

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from core.leases import LeaseLost
from stacks.deciding.reconciliation import LEASE, reconcile
from stacks.execution import progress, queue
from stacks.models import Report, Run, Stack
from stacks.reports.sending import send
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.emulator.model import Repository
from tests.stacks.reports.sender import look, newest
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import Delivery, HookWatch
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.webhooks.processing import process


@pytest.fixture
def following(stack: Stack, repository: Repository) -> Stack:
    """A stack with a queued run, due to be reported as pending."""
    Stack.objects.update(path_rule=False)
    follow_from_now(stack)
    look(stack)
    repository.push({"main.tf": "1"})
    look(stack)
    return stack


def claimed_twice(rows: "QuerySet[Any]") -> Any:
    """Have two workers claim a row, the second once the first one's lease ended; return its row."""
    rows.update(due_at=timezone.now())
    [first] = rows.claim(LEASE)  # type: ignore[attr-defined]
    rows.update(lease_until=timezone.now())
    assert len(rows.claim(LEASE)) == 1  # type: ignore[attr-defined]
    return first


def values(rows: "QuerySet[Any]") -> dict[str, Any]:
    found: dict[str, Any] = rows.values("lease_token", "lease_until", "due_at", "failures")[0]
    return found


def test_one_that_reconciles_lets_no_third_one_in(following: Stack, repository: Repository) -> None:
    rows = OurRepository.objects.filter(pk=following.repository_id)
    expired = claimed_twice(rows)
    as_it_was = values(rows)
    repository.push({"main.tf": "2"}, message="Found")
    reconcile(expired)
    assert values(rows) == as_it_was
    assert newest(following).message == "Found"  # what it found is still true


def test_one_that_processes_a_delivery_does_not_settle_it(
    following: Stack, repository: Repository
) -> None:
    push = repository.push({"main.tf": "2"})
    delivery = Delivery.objects.create(
        integration=following.integration, outcome="stored", body=b"not read", due_at=timezone.now()
    )
    rows = Delivery.objects.filter(pk=delivery.pk)
    expired = claimed_twice(rows)
    as_it_was = values(rows)
    process([expired])
    assert values(rows) == as_it_was
    assert rows.get().outcome == "stored"
    assert push


def test_one_that_sends_a_report_posts_nothing(following: Stack, repository: Repository) -> None:
    rows = Report.objects.filter(pk=Report.objects.earliest("pk").pk)
    expired = claimed_twice(rows)
    as_it_was = values(rows)
    with pytest.raises(LeaseLost):
        send(expired)
    assert values(rows) == as_it_was
    assert not repository.statuses


def test_one_that_reads_hooks_makes_none(following: Stack) -> None:
    following.integration.projects.update(keeps_hooks=True)
    rows = HookWatch.objects.all()
    expired = claimed_twice(rows)
    as_it_was = values(rows)
    with pytest.raises(LeaseLost):
        watch(expired)
    assert values(rows) == as_it_was
    assert not following.integration.subscriptions.present().exists()


def test_one_that_executes_a_run_does_not_end_it(following: Stack) -> None:
    expired = queue.claim_next("slow")
    assert expired
    rows = Run.objects.filter(pk=expired.pk)
    rows.update(lease_until=timezone.now() - LEASE)
    present = queue.claim_next("fast")
    assert present == expired
    as_it_was = values(rows)
    assert not queue.is_wanted(expired)
    progress.fail(expired, "It is not mine any more.")
    queue.requeue(expired)
    assert values(rows) == as_it_was
    assert rows.get().state == State.PREPARING
