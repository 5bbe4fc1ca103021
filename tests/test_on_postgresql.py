"""What databases may do differently, once more on PostgreSQL.

Marked `on_postgresql` are the tests of locks, claims and workers side by side, of rows that are
refused, and of what is stored and found again: bytes, JSON, the order and the case of text. So are
those that send statements which none of these sends.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.postgresql import PostgreSQL, needs_postgresql
from tests.processes import environment

# Several, so that processes share them.
PARTS = 3


def files() -> list[str]:
    """Return the files that have such tests; collecting all would take longer than many of them."""
    found = sorted(Path(settings.BASE_DIR, "tests").rglob("test_*.py"))
    return [str(file) for file in found if "pytest.mark.on_postgresql" in file.read_text()]


@needs_postgresql
@pytest.mark.parametrize("part", range(PARTS))
def test_what_databases_may_do_differently_is_the_same_on_postgresql(
    server: PostgreSQL, part: int
) -> None:
    variables = environment(TEST_DATABASE_URL=server.create(f"suite{part}"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-m", "on_postgresql", *files()[part::PARTS]],
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
