"""`manage.py background_worker` as a process of its own, on a database file of its own."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as product

from tests.databases import Database, copy_database, worker
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.processes import run, wait_for

LINK = """
import os
from tests.builders import make_integration
make_integration(os.environ["ORGANIZATION"], os.environ["TOKEN"])
"""
OLD_AND_YOUNG = """
from datetime import timedelta
from accounts.models import AuditEntry
from django.contrib.sessions.models import Session
from django.utils import timezone
now = timezone.now()
for key, days in (("old", -1), ("young", 1)):
    Session.objects.create(session_key=key, session_data="", expire_date=now + timedelta(days=days))
for days in (91, 89):
    at = now - timedelta(days=days)
    AuditEntry.objects.create(verb="webhook_refused", thing=f"{days} days", at=at, until=at)
"""


class LinkedDatabase(Database):
    """A database in which an organization is linked."""

    def link(self, organization: Organization, token: str) -> None:
        self.run(LINK, ORGANIZATION=organization.url, TOKEN=token)

    def make_due(self) -> None:
        """Let the time come at which integrations are refreshed again."""
        self.ask("UPDATE vcs_integrations_integration SET due_at = '2020-01-01 00:00:00'")

    def integration(self, columns: str) -> tuple[Any, ...]:
        return self.ask(f"SELECT {columns} FROM vcs_integrations_integration")[0]  # noqa: S608

    def sessions(self) -> list[str]:
        return [key for (key,) in self.ask("SELECT session_key FROM django_session")]


@pytest.fixture
def database(migrated: Path, tmp_path: Path, emulator: Emulator) -> LinkedDatabase:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    return LinkedDatabase(url, AZURE_DEVOPS_SERVERS=emulator.url)


def test_an_organization_linked_while_azure_devops_was_down_is_connected_automatically(
    database: LinkedDatabase, emulator: Emulator, organization: Organization, token: str
) -> None:
    emulator.faults.add("unavailable")
    database.link(organization, token)
    assert database.integration("problem, external_id") == ("unavailable", "")
    emulator.faults.clear()
    database.make_due()
    with worker(database) as process:
        assert wait_for(lambda: database.integration("problem, external_id")[0] == "")
        assert database.integration("external_id") == (organization.id,)
        assert wait_for(
            lambda: (
                database.ask("SELECT name FROM vcs_integrations_repository")
                == [("infrastructure",)]
            )
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_it_stays_away_from_what_is_not_due(
    database: LinkedDatabase, emulator: Emulator, organization: Organization, token: str
) -> None:
    database.link(organization, token)
    database.run(OLD_AND_YOUNG)
    database.ask("UPDATE vcs_integrations_hookwatch SET due_at = '2100-01-01'")
    before = len(emulator.requests)
    with worker(database):
        # By the end of tidying, everything else was looked for, too.
        assert wait_for(lambda: database.sessions() == ["young"])
    assert len(emulator.requests) == before


def test_it_tidies_old_sessions_and_refusals_and_keeps_the_young(
    database: LinkedDatabase,
) -> None:
    database.run(OLD_AND_YOUNG)
    with worker(database):
        assert wait_for(lambda: database.sessions() == ["young"])
        refusals = "SELECT thing FROM accounts_auditentry"
        assert wait_for(lambda: database.ask(refusals) == [("89 days",)])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(database: LinkedDatabase, end: signal.Signals) -> None:
    with worker(database) as process:
        assert process.stdout
        assert process.stdout.readline() == "The background worker is running.\n"
        process.send_signal(end)
        assert process.wait(60) == 0


def test_a_signal_lets_it_finish_what_it_does(
    database: LinkedDatabase, emulator: Emulator, organization: Organization, token: str
) -> None:
    database.link(organization, token)
    database.make_due()
    emulator.faults.add("slow", "git/repositories", seconds=1.5, times=1)
    with worker(database) as process:
        assert wait_for(lambda: not emulator.faults.active())  # it waits for the slow answer
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    [due, lease_until] = database.integration("due_at, lease_until")
    assert due > str(datetime.now(UTC))
    assert lease_until is None


def test_the_work_of_a_killed_worker_is_picked_up(
    database: LinkedDatabase, emulator: Emulator, organization: Organization, token: str
) -> None:
    emulator.faults.add("unavailable", times=1)
    database.link(organization, token)
    database.make_due()
    emulator.faults.add("slow", "git/repositories", seconds=30, times=1)
    with worker(database) as killed:
        assert wait_for(lambda: not emulator.faults.active())  # it waits for the slow answer
        killed.kill()
        killed.wait(120)
    assert database.integration("problem") == ("unavailable",)
    [lease_until] = database.integration("lease_until")
    assert lease_until > str(datetime.now(UTC))
    database.ask("UPDATE vcs_integrations_integration SET lease_until = '2020-01-01 00:00:00'")
    with worker(database):
        assert wait_for(lambda: database.integration("problem") == ("",))


def test_what_fails_does_not_end_it(
    database: LinkedDatabase, organization: Organization, token: str
) -> None:
    database.link(organization, token)
    database.ask("UPDATE vcs_integrations_integration SET provider_key = '-', problem = 'timeout'")
    database.make_due()
    with worker(database) as process:
        due = "SELECT 1 FROM vcs_integrations_integration WHERE due_at < CURRENT_TIMESTAMP"
        assert wait_for(lambda: database.ask(due) == [])
        database.ask("UPDATE vcs_integrations_integration SET provider_key = 'azure_devops'")
        database.make_due()
        assert wait_for(lambda: database.integration("problem") == ("",))
        assert process.poll() is None


def test_it_names_a_wrong_setting(database: LinkedDatabase) -> None:
    done = run(
        product.BASE_DIR, "manage.py", "background_worker", **(database.variables | {"PORT": "x"})
    )
    assert done.returncode == 1
    assert done.stderr == "Stackhook can't start: PORT is 'x': use a number from 1 to 65535.\n"
