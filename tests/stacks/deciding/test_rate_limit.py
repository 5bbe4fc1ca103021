"""Much to do in an organization that limits calls: pauses are kept, and statuses get through."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from stacks.deciding.reconciliation import reconcile_next
from stacks.models import Report, Stack
from stacks.reports.sending import send_next
from stacks.sources.heads import follow_from_now
from tests.builders import make_integration, make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.processes import wait_for
from tests.stacks.reports.sender import look
from vcs_integrations.hooks.watching import watch_next
from vcs_integrations.models import Integration

PROJECTS = 50
REPOSITORIES = 100
STATUSES = 10
# All at once, as the worker does it.
WORK = (watch_next, reconcile_next, send_next, send_next)


@pytest.fixture
def large(emulator: Emulator, transactional_db: None) -> tuple[Organization, Integration]:
    """An organization with 50 projects, and a stack for each of its 100 repositories."""
    organization = emulator.add_organization("large")
    for number in range(PROJECTS):
        project = organization.add_project(f"Project {number}")
        for name in ("one", "two")[: REPOSITORIES // PROJECTS]:
            project.add_repository(name, {"main.tf": "1"})
    integration = make_integration(organization.url, organization.add_token({"vso.code_write"}))
    for number, repository in enumerate(integration.repositories.all()):
        follow_from_now(make_stack(repository, f"Stack {number}", path_rule=False))
    return organization, integration


def start(work: Callable[[], bool], ends: threading.Event) -> threading.Thread:
    """Do some work again and again in a thread, as the worker does."""

    def keep() -> None:
        while not ends.is_set():
            if not work():
                ends.wait(0.1)
        connection.close()

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    return thread


def test_pauses_are_kept_and_no_status_starves(large: tuple[Organization, Integration]) -> None:
    organization, integration = large
    pushed = organization.repositories[:STATUSES]
    for repository in pushed:
        repository.push({"main.tf": "2"})
        look(Stack.objects.get(repository__external_id=repository.id))
    assert Report.objects.waiting().count() == STATUSES
    integration.projects.update(keeps_hooks=True)
    Integration.objects.make_hooks_due()
    integration.repositories.make_due()
    integration.repositories.update(reconciled_at=None)

    organization.limit(calls=120, seconds=3)
    ends = threading.Event()
    threads = [start(work, ends) for work in WORK]
    try:
        assert wait_for(lambda: all(one.statuses for one in pushed))
        hooks_then = len(organization.subscriptions)
        assert wait_for(lambda: len(organization.subscriptions) == 4 * PROJECTS)
        assert wait_for(lambda: not integration.repositories.filter(reconciled_at=None))
    finally:
        ends.set()
        for thread in threads:
            thread.join(30)
    assert hooks_then < 2 * PROJECTS
    assert integration.subscriptions.filter(state="ok").count() == 4 * PROJECTS
    # Each of the others may have one call under way while one is asked to pause.
    assert organization.overruns <= (len(WORK) - 1) * organization.pauses
