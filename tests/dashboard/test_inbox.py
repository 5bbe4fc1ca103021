"""The start page as an inbox: what waits, failed, goes on or drifted, and whether workers work."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.inbox import SHOWN, Section
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Origin, State
from tests.builders import make_check, make_module, make_run, make_stack, new_run
from vcs_integrations.models import Integration

LONG_AGO, JUST_NOW = timedelta(minutes=1), timedelta(seconds=10)
NO_WORKER = "No run worker appears to be running"


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def other(stack: Stack) -> Stack:
    return make_stack(stack.repository, "Cluster")


def sections(client: Client) -> dict[str, Section]:
    return {one.key: one for one in client.get("/").context["inbox"].sections}


def rows(client: Client, key: str) -> list[str]:
    found = sections(client).get(key)
    return [f"{row.stack} {row.number}" for row in found.rows] if found else []


def details(client: Client) -> dict[str, str]:
    return {f"{row.stack} {row.number}": row.detail for row in sections(client)["active"].rows}


def notices(client: Client) -> list[str]:
    return [one.text for one in client.get("/").context["notices"]]


def page_of(client: Client) -> str:
    return " ".join(client.get("/").content.decode().replace("\xa0", " ").split())


def ago(run: Run, how_long: timedelta, **changes: Any) -> None:
    Run.objects.filter(pk=run.pk).update(moved_at=timezone.now() - how_long, **changes)


def test_what_waits_for_confirmation_says_what_it_changes(member: Client, stack: Stack) -> None:
    counts = {"added": 2, "changed": 0, "destroyed": 1}
    make_run(stack, 4, state=State.UNCONFIRMED, message="Add <b>", **counts)
    assert rows(member, "waiting") == ["Network 4"]
    page = page_of(member)
    for shown in (
        "Waiting for confirmation",
        'href="/stacks/network/runs/4/"',
        "Add &lt;b&gt;",
        "2 to add, 0 to change, 1 to destroy",
        "Needs confirmation</span>",
    ):
        assert shown in page, shown


def test_a_stack_has_failed_until_a_tracked_run_succeeds(
    member: Client, stack: Stack, other: Stack
) -> None:
    make_run(stack, 1, state=State.FAILED)
    make_run(stack, 2, state=State.FAILED, failure="The provider refused.")
    make_run(stack, 3, state=State.DISCARDED)
    make_run(stack, 4, state=State.FINISHED, kind=Kind.PROPOSED)
    make_run(other, 1, state=State.FAILED)
    make_run(other, 2, state=State.FINISHED)
    make_run(other, 3, state=State.FAILED, kind=Kind.PROPOSED)
    assert rows(member, "failed") == ["Network 2"]
    assert "The provider refused." in page_of(member)
    assert [one.name for one in member.get("/stacks/?show=failed").context["list"].page] == [
        "Network"
    ]
    make_run(stack, 5, state=State.FINISHED)
    assert rows(member, "failed") == []


def test_what_is_queued_says_what_it_waits_for(member: Client, stack: Stack, other: Stack) -> None:
    make_run(stack, 1, state=State.UNCONFIRMED)
    make_run(stack, 2)
    make_run(stack, 3, kind=Kind.PROPOSED)
    make_run(other, 1, state=State.APPLYING)
    make_run(other, 2, kind=Kind.DRIFT)
    make_run(make_stack(stack.repository, "Data"), 1, state=State.CONFIRMED)
    assert details(member) == {
        "Network 2": "Waits for run 1, which is waiting for confirmation",
        "Network 3": "Waits for a worker",
        "Cluster 1": "",
        "Cluster 2": "Waits for run 1, which is being applied",
        "Data 1": "Waits for a worker to apply it",
    }
    assert rows(member, "active")[0] == "Network 2"  # the oldest first, as workers claim them


def test_a_run_of_an_unlinked_organization_waits_for_it(member: Client, stack: Stack) -> None:
    ago(make_run(stack, 1), LONG_AGO)
    Integration.objects.update(unlinked_at=timezone.now())
    assert details(member) == {"Network 1": "Waits until its stack is attached again"}
    assert NO_WORKER not in notices(member)


def test_drift_is_listed_with_what_was_found(member: Client, stack: Stack, other: Stack) -> None:
    for one, drifted in ((stack, 2), (other, 0)):
        one.drift_run = make_run(one, 1, kind=Kind.DRIFT, state=State.FINISHED, drifted=drifted)
        one.save()
    assert rows(member, "drift") == ["Network 1"]
    assert "2 resources changed outside" in page_of(member)


def test_an_empty_inbox_says_what_happened_last(member: Client, stack: Stack) -> None:
    assert "Nothing needs you" not in page_of(member)  # nothing has happened
    for number in range(1, 8):
        make_run(stack, number, state=State.FINISHED)
    page = page_of(member)
    assert "Nothing needs you" in page
    assert [row.number for row in member.get("/").context["inbox"].last] == [7, 6, 5, 4, 3]
    make_run(stack, 8, state=State.UNCONFIRMED)
    assert "Nothing needs you" not in page_of(member)


# Run workers


@pytest.mark.parametrize(("how_long", "is_named"), [(JUST_NOW, False), (LONG_AGO, True)])
@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.QUEUED},
        {"state": State.QUEUED, "kind": Kind.PROPOSED},
        {"state": State.CONFIRMED},
    ],
)
def test_an_absent_run_worker_is_named_once_a_run_could_have_started(
    member: Client, stack: Stack, changes: dict[str, str], how_long: timedelta, is_named: bool
) -> None:
    ago(make_run(stack, 1, **changes), how_long)
    assert (NO_WORKER in notices(member)) == is_named
    assert ("Run 1 of Network could start" in page_of(member)) == is_named


def test_a_run_that_waits_for_another_or_for_a_busy_worker_says_nothing_of_workers(
    member: Client, stack: Stack, other: Stack
) -> None:
    make_run(stack, 1, state=State.UNCONFIRMED)
    ago(make_run(stack, 2), LONG_AGO)
    assert notices(member) == []
    Run.objects.filter(number=1).update(state=State.DISCARDED, moved_at=timezone.now())
    assert notices(member) == []
    ago(make_run(other, 1), LONG_AGO)
    assert notices(member) == [NO_WORKER]
    busy = make_run(make_stack(stack.repository, "Data"), 1, state=State.PLANNING)
    ago(busy, LONG_AGO, lease_until=timezone.now() + JUST_NOW)
    assert notices(member) == []


def test_a_worker_that_checks_a_module_is_not_absent(member: Client, stack: Stack) -> None:
    run = make_run(stack, 1)
    ago(run, LONG_AGO)
    check = make_check(make_module(stack.repository), f"{1:040x}")
    assert notices(member) == [NO_WORKER]
    absent = "the run worker doesn't appear to be running"
    assert absent in str(member.get(run.get_absolute_url()).context["waiting"])
    type(check).objects.update(lease_until=timezone.now() + JUST_NOW)
    assert notices(member) == []
    assert absent not in str(member.get(run.get_absolute_url()).context["waiting"])


@pytest.mark.parametrize(("how_long", "is_named"), [(JUST_NOW, False), (LONG_AGO, True)])
def test_a_frozen_run_worker_is_named(
    member: Client, stack: Stack, how_long: timedelta, is_named: bool
) -> None:
    run = make_run(stack, 7, state=State.APPLYING, worker="host-1:4711:0123")
    ago(run, LONG_AGO, lease_until=timezone.now() - how_long)
    assert ("The run worker on host-1 doesn't respond" in notices(member)) == is_named
    assert ("It holds run 7 of Network" in page_of(member)) == is_named


# What it costs


def test_many_rows_cost_as_many_queries_as_few_and_are_led_to(member: Client, stack: Stack) -> None:
    grow(stack, "few", 2)
    few, _ = cost(member)
    grow(stack, "many", 400)
    many, size = cost(member)
    assert many == few <= 12
    assert size <= 150_000
    found = sections(member)
    assert {key: (len(one.rows), one.total) for key, one in found.items()} == {
        "waiting": (SHOWN, 402),
        "failed": (SHOWN, 402),
        "active": (SHOWN, 402),
        "drift": (SHOWN, 402),
    }
    for one in found.values():
        page = member.get(one.url)
        assert page.status_code == 200
        assert f'href="{one.url}" id="{one.key}-all">All 402<' in page_of(member)


def grow(like: Stack, name: str, count: int) -> None:
    """Store stacks of which each has a run in every section."""
    stacks = Stack.objects.bulk_create(
        Stack(
            name=f"{name} {number}",
            slug=f"{name}-{number}",
            repository=like.repository,
            branch="main",
        )
        for number in range(count)
    )
    runs: list[tuple[int, dict[str, Any]]] = [
        *((1, {"state": State.FAILED, "failure": "x" * 900}), (2, {"state": State.UNCONFIRMED})),
        (3, {"message": "y" * 200}),
        (4, {"kind": Kind.DRIFT, "state": State.FINISHED, "drifted": 1, "origin": Origin.DRIFT}),
    ]
    for number, changes in runs:
        made = Run.objects.bulk_create(new_run(one, number, **changes) for one in stacks)
    for run in made:
        run.stack.drift_run = run
    Stack.objects.bulk_update(stacks, ["drift_run"], batch_size=100)


def cost(client: Client) -> tuple[int, int]:
    """Return the queries of the start page, and its size in bytes."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get("/")
    return len(captured), len(response.content)
