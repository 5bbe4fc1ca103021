"""What the page with the runs of all stacks costs: as much with 100,000 runs as with a few."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stacks.models import Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_stack, new_run
from vcs_integrations.models import Integration

pytestmark = pytest.mark.on_postgresql

RUNS = "/runs/"
MANY, FEW, DAYS = 100_000, 3_000, 100
BEGINNING = datetime(2026, 1, 1, 12, tzinfo=UTC)
STATES = [State.FINISHED, State.FAILED, State.SUPERSEDED]
FILTERS: dict[str, dict[str, str]] = {
    "none": {},
    "state": {"state": "failed"},
    "no such state": {"state": "queued"},
    "kind": {"kind": "proposed"},
    "stack": {"stack": "stack-7"},
    "branch": {"branch": "topic-3"},
    "person": {"person": "ann"},
    "person who acted": {"person": "bob"},
    "person who triggered": {"person": "eve"},
    "nobody": {"person": "nobody"},
    "old days": {"since": "2026-01-02", "until": "2026-01-03"},
    "new days": {"since": "2026-04-08"},
    "no days": {"since": "2027-01-01"},
    "old days of a person": {"person": "ann", "until": "2026-01-03"},
}
TOGETHER = {
    "kind": "tracked",
    "stack": "stack-7",
    "branch": "topic-6",
    "person": "ann",
    "since": "2026-01-02",
    "until": "2026-04-01",
}


def grow(stacks: list[Stack], per_day: int) -> None:
    """Store runs of all stacks for a hundred days; Eve started every tenth, and Bob acted on it."""
    with time_machine.travel(BEGINNING, tick=False):
        Run.objects.bulk_create(
            new_run(
                stacks[number % len(stacks)],
                number,
                kind=Kind.TRACKED if number % 4 else Kind.PROPOSED,
                state=STATES[number % 3],
                branch=f"topic-{number % 7}",
                author=["ann", "chris", "dora"][number % 3],
                triggered_by_name="" if number % 10 else "eve",
            )
            for number in range(per_day)
        )
    fields = [field for field in Run._meta.concrete_fields if not field.primary_key]
    copied = [str(field.column) for field in fields]
    with connection.cursor() as cursor:
        for day in range(1, DAYS):
            changed = {
                "number": f"number + {day * per_day}",
                "position": f"position + {day * per_day}",
                "sha": f"sha || '-{day}'",
                "created_at": "%s",
            }
            names = ", ".join(f'"{name}"' for name in copied)
            values = ", ".join(changed.get(name, f'"{name}"') for name in copied)
            created_at = connection.ops.adapt_datetimefield_value(BEGINNING + timedelta(days=day))
            cursor.execute(
                f"INSERT INTO stacks_run ({names}) SELECT {values} FROM stacks_run "  # noqa: S608
                f"WHERE number < {per_day} ORDER BY number",
                [created_at],
            )
        cursor.execute(
            "INSERT INTO stacks_runaction (run_id, action, username, at, note) "
            "SELECT id, 'cancel', 'bob', created_at, '' FROM stacks_run WHERE number % 10 = 0"
        )
        cursor.execute("ANALYZE")


@pytest.fixture
def stacks(linked: Integration) -> list[Stack]:
    repository = make_stack(linked, "Network").repository
    return [make_stack(repository, f"Stack {number}") for number in range(20)]


def asked(client: Client, query: dict[str, str]) -> list[str]:
    """Return the queries of a page."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(RUNS, query).status_code == 200
    return [one["sql"] for one in captured]


def work(client: Client, query: dict[str, str]) -> int:
    """Return how many hundreds of steps SQLite takes to make a page."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.connection.set_progress_handler(count, 100)
    try:
        assert client.get(RUNS, query).status_code == 200
    finally:
        connection.connection.set_progress_handler(None, 0)
    return steps


def plan(statement: str) -> str:
    """Return how the database finds the rows of a query."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            return "\n".join(row[3] for row in cursor.fetchall())
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        return json.dumps(cursor.fetchall())


# Where a time leaves few runs, or none, to sort these is cheaper than to follow an index.
FEW_LEFT = {"no days", "old days of a person"}
# It sorts what it has read, or reads what no index leads to. Without a filter, the table itself is
# in the order of its keys.
SLOW = re.compile(r"TEMP B-TREE|SCAN stacks_runaction|Seq Scan|\bSort\b|Hash Join")


def test_a_hundred_thousand_runs_cost_what_a_few_do(member: Client, stacks: list[Stack]) -> None:
    grow(stacks, FEW // DAYS)
    few = {name: len(asked(member, query)) for name, query in FILTERS.items()}
    is_sqlite = connection.vendor == "sqlite"
    steps = {name: work(member, query) for name, query in FILTERS.items()} if is_sqlite else {}
    Run.objects.all().delete()
    grow(stacks, MANY // DAYS)
    assert Run.objects.count() == MANY
    for name, query in FILTERS.items():
        statements = asked(member, query)
        assert len(statements) == few[name] <= 12, name
        for statement in statements:
            if "stacks_run" in statement and "LIMIT" in statement and name not in FEW_LEFT:
                assert not SLOW.search(plan(statement)), (name, statement, plan(statement))
        if is_sqlite:
            assert work(member, query) <= 2 * steps[name] + 10, name
    # Together they read what the index of one of them leads to.
    assert len(asked(member, TOGETHER)) <= 12
