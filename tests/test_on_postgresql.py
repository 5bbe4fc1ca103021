"""The tests that lean on the database most, once more on PostgreSQL."""

import subprocess
import sys

import pytest
from django.conf import settings

from tests.postgresql import PostgreSQL, needs_postgresql
from tests.processes import environment

TESTS = [
    "tests/stacks/environment/test_destinations.py",
    "tests/stacks/reports/test_report_pages.py",
    "tests/stacks/reports/test_reporting.py",
    "tests/stacks/deciding/test_from_event_to_run.py",
    "tests/stacks/reports/test_sending.py",
    "tests/stacks/tfstate/test_state_backend.py",
    "tests/accounts/audit/test_audit_log.py",
    "tests/core/test_key_rotation.py",
    "tests/core/test_moved_secrets.py",
    "tests/vcs_integrations/notices/test_attention.py",
    "tests/vcs_integrations/webhooks/test_deliveries.py",
    "tests/vcs_integrations/hooks/test_hook_pages.py",
    "tests/vcs_integrations/notices/test_notices.py",
    "tests/vcs_integrations/hooks/test_watching.py",
    "tests/vcs_integrations/webhooks/test_webhooks.py",
    "tests/vcs_integrations/webhooks/test_storing.py",
    "tests/stacks/overview/test_all_runs.py",
    "tests/stacks/overview/test_cost_of_all_runs.py",
    "tests/stacks/deciding/test_modules.py",
    "tests/stacks/dependencies/test_following.py",
    "tests/stacks/schedules/test_queue.py",
    "tests/modules/publishing/test_killed_workers.py",
    "tests/modules/publishing/test_storing.py",
    "tests/modules/deciding/test_tags.py",
    "tests/modules/impact/test_planning.py",
    "tests/notifications/test_outbox.py",
]

# What a key decrypts does not depend on the database, and every page is opened many times.
LEFT_OUT = ["tests/core/test_key_rotation.py::test_with_a_wrong_key_every_page_opens"]


# Several, so that processes share them.
PARTS = 4


@needs_postgresql
@pytest.mark.parametrize("part", range(PARTS))
def test_deliveries_runs_reports_and_pages_are_the_same_on_postgresql(
    server: PostgreSQL, part: int
) -> None:
    variables = environment(TEST_DATABASE_URL=server.create(f"suite{part}"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--deselect={test}" for test in LEFT_OUT]
    done = subprocess.run(
        [*command, *TESTS[part::PARTS]],
        cwd=settings.BASE_DIR,
        env=variables,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout


@needs_postgresql
def test_those_tests_run_on_postgresql(server: PostgreSQL) -> None:
    variables = environment(TEST_DATABASE_URL=server.create("suite"))
    ask = "from django.db import connection; print(connection.vendor)"
    command = [sys.executable, "manage.py", "shell", "-v", "0", "--settings", "tests.settings"]
    done = subprocess.run(
        [*command, "-c", ask],
        cwd=settings.BASE_DIR,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout.strip() == "postgresql", done.stderr
