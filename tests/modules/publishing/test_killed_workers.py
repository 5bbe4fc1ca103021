"""Workers that are killed while they check: each version is published once, or not at all."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from config.management.commands.run_worker import claim
from modules.models import (
    Archive,
    ArchiveChunk,
    Check,
    CheckState,
    Module,
    ModuleVersion,
    VersionState,
)
from modules.publishing import checking, queue
from modules.publishing.ending import Publication, end
from stacks.execution.isolation.sandbox import Stopped
from stacks.models import Report, Run
from tests.builders import make_check, make_module, make_run, make_stack, make_version
from tests.emulator.model import Repository
from tests.killing import killed_at
from tests.modules.publishing.conftest import GOOD, outcomes, state, tagged, waiting, work
from vcs_integrations.models import Integration

pytestmark = pytest.mark.on_postgresql

SHA = f"{1:040x}"
PUBLICATION = Publication(b"0123456789" * 300_000, "<p>Read me</p>", {"inputs": []})


@pytest.fixture
def stored(linked: Integration) -> Module:
    return make_module(linked)


def end_leases() -> None:
    """Let the time pass in which a killed worker's leases hold."""
    Check.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_anywhere_publishes_once(stored: Module) -> None:
    """At each query of claiming and ending a check, and then by the next worker."""
    points = 0
    while True:
        ModuleVersion.objects.all().delete()
        Check.objects.all().delete()
        Archive.objects.all().delete()
        Report.objects.all().delete()
        versions = [waiting(stored, SHA), waiting(stored, SHA, "1.0.1")]
        has_ended = False
        with killed_at(points):
            check = queue.claim_next()
            assert check
            end(check, [], PUBLICATION, "log")
            has_ended = True
        published = {state(one) for one in versions}
        assert len(published) == 1  # both or none
        assert published == {VersionState.WAITING} or ArchiveChunk.objects.count() == 3
        end_leases()
        if again := queue.claim_next():
            end(again, [], PUBLICATION, "log")
        for one in versions:
            assert state(one) == VersionState.PUBLISHED
        assert Archive.objects.count() == 1
        assert ArchiveChunk.objects.count() == 3
        assert Report.objects.count() == 1
        assert queue.claim_next() is None
        if has_ended:
            break
        points += 1
    assert points > 8  # it was killed, indeed


@pytest.mark.django_db
def test_a_worker_that_was_too_slow_publishes_nothing(stored: Module) -> None:
    version = waiting(stored, SHA)
    slow = queue.claim_next()
    end_leases()
    fast = queue.claim_next()
    assert slow and fast
    with pytest.raises(Stopped):
        end(slow, [], PUBLICATION, "slow")
    assert state(version) == VersionState.WAITING
    end(fast, [], PUBLICATION, "fast")
    assert state(version) == VersionState.PUBLISHED
    assert Check.objects.get().log == "fast"


@pytest.mark.django_db
def test_a_check_whose_worker_dies_three_times_is_failed(stored: Module) -> None:
    version = waiting(stored, SHA)
    for attempt in (1, 2, 3):
        check = queue.claim_next()
        assert check and check.attempts == attempt
        end_leases()
    assert queue.claim_next() is None
    check = Check.objects.get()
    assert check.state == CheckState.FAILED
    assert "stopped 3 times" in check.failure
    assert state(version) == VersionState.REFUSED


@pytest.mark.django_db
def test_a_version_that_comes_while_a_check_ends_is_not_forgotten(stored: Module) -> None:
    first = waiting(stored, SHA)
    check = queue.claim_next()
    assert check
    second = waiting(stored, SHA, "1.0.1")
    Check.objects.update(state=CheckState.RUNNING)
    ModuleVersion.objects.filter(pk=second.pk).update(sha="0" * 40)  # not seen by the one that ends
    end(check, [], PUBLICATION, "")
    ModuleVersion.objects.filter(pk=second.pk).update(sha=SHA)
    assert (state(first), state(second)) == (VersionState.PUBLISHED, VersionState.WAITING)
    again = queue.claim_next()
    assert again
    end(again, [], PUBLICATION, "")
    assert state(second) == VersionState.PUBLISHED


@pytest.mark.django_db
def test_a_published_version_never_changes(stored: Module) -> None:
    published = make_version(stored)
    before = ModuleVersion.objects.filter(pk=published.pk).values().get()
    make_check(stored, published.sha, due_at=timezone.now())
    check = queue.claim_next()
    assert check
    end(check, [], PUBLICATION, "")
    assert ModuleVersion.objects.filter(pk=published.pk).values().get() == before


def test_a_worker_that_is_asked_to_end_leaves_its_check_to_the_next(
    module: Module, repository: Repository, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tagged(module, repository, {"main.tf": GOOD})
    check = queue.claim_next()
    assert check
    monkeypatch.setattr(checking, "ASK_EVERY", 0)
    asked = iter([False])
    checking.execute(check, lambda: next(asked, True))
    monkeypatch.undo()
    check.refresh_from_db()
    assert (check.state, check.attempts, check.lease_token) == (CheckState.QUEUED, 0, "")
    assert list(runs_folder.glob("job-*")) == []
    (done,) = work()
    assert state(version) == VersionState.PUBLISHED, outcomes(done)


def test_a_module_that_is_deleted_while_it_is_checked_stops_the_check(
    module: Module, repository: Repository, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "ASK_EVERY", 0)
    tagged(module, repository, {"main.tf": GOOD})
    check = queue.claim_next()
    assert check

    def delete() -> bool:
        Module.objects.all().delete()
        return False

    checking.execute(check, delete)
    assert not Check.objects.exists()
    assert not Archive.objects.exists()
    assert list(runs_folder.glob("job-*")) == []


@pytest.mark.django_db
def test_runs_come_first_and_neither_runs_nor_checks_starve(linked: Integration) -> None:
    module, stack = make_module(linked), make_stack(linked)
    now = timezone.now()
    for number in range(3):
        make_check(module, f"{number:040x}", due_at=now)
        make_run(stack, kind="proposed", sha=f"{number:040x}")
    claimed: list[str] = []
    work: Run | Check | None = None

    def turn() -> None:
        nonlocal work
        work = claim("here", after_run=isinstance(work, Run))
        claimed.append(type(work).__name__)

    turn()
    turn()
    Check.objects.update(due_at=now - timedelta(minutes=3))
    for _ in range(5):
        turn()
    assert claimed == ["Run", "Run", "Check", "Run", "Check", "Check", "NoneType"]


@pytest.mark.django_db
def test_nothing_of_an_unlinked_integration_is_checked(stored: Module) -> None:
    waiting(stored, SHA)
    Integration.objects.update(unlinked_at=timezone.now())
    assert queue.claim_next() is None
