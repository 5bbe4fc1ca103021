"""A stack that runs after another one changed outputs: once for each version, never in a circle."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stacks.dependencies.following import follow_next
from stacks.dependencies.graph import Circle, depend
from stacks.models import Dependency, DependencyRun, Run, Stack, StateGrant, prune_runs
from stacks.rules.states import Kind, Origin, State
from tests.builders import make_run, make_stack, make_state_version
from tests.killing import killed_at
from tests.stacks.conftest import errors
from vcs_integrations.models import Integration

PATH = "/stacks/shop/dependencies/"


@pytest.fixture
def network(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def shop(network: Stack) -> Stack:
    return make_stack(network.repository, "Shop", head_sha="a" * 40, head_position=1)


def apply(stack: Stack, **outputs: Any) -> Run:
    """Store what an apply leaves: a version with these outputs, and dependencies to look at."""
    number = stack.state_versions.count() + 1
    run = make_run(stack, state=State.FINISHED)
    values = {name: {"value": value, "type": "string"} for name, value in outputs.items()}
    content = {"version": 4, "serial": number, "lineage": "a", "outputs": values}
    make_state_version(run, number, json.dumps(content).encode())
    Dependency.objects.make_due(stack)
    return run


def started(stack: Stack) -> list[str]:
    """Return the notes of the runs that dependencies started."""
    return [one.note for one in stack.runs.filter(origin=Origin.DEPENDENCY).order_by("number")]


def follow() -> None:
    while follow_next():
        pass


def finish_runs(stack: Stack) -> None:
    stack.runs.update(state=State.FINISHED)


@pytest.mark.on_postgresql
def test_only_the_last_run_of_each_dependency_is_read_for_the_page(
    member: Client, network: Stack, shop: Stack
) -> None:
    depend(shop, network, [])
    dependency = shop.dependencies.get()
    runs = [make_run(shop, number, state=State.FINISHED) for number in range(1, 4)]
    for version, run in enumerate(runs, start=1):
        DependencyRun.objects.create(dependency=dependency, version=version, run=run, outputs=["a"])
    with CaptureQueriesContext(connection) as few:
        page = member.get(PATH).content.decode()
    assert "Run 3</a>" in page and "for version 3: a" in page and "Run 2</a>" not in page
    for number in range(3):
        other = make_stack(network.repository, f"Other {number}")
        depend(shop, other, [])
        StateGrant.objects.create(stack=shop, reader=other)
        depend(other, make_stack(network.repository, f"Base {number}"), [])
    with CaptureQueriesContext(connection) as many:
        assert "none yet" in member.get(PATH).content.decode()
    assert len(many) == len(few)


@pytest.mark.on_postgresql
def test_the_page_that_deletes_costs_the_same_however_many_stacks_read(
    admin: Client, network: Stack
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            page = admin.get("/stacks/network/delete/").content.decode()
        assert page.count("/stacks/reader-") == 2 * len(network.state_grants.all())
        return len(captured)

    def add(number: int) -> None:
        reader = make_stack(network.repository, f"Reader {number}")
        StateGrant.objects.create(stack=network, reader=reader)
        depend(reader, network, [])

    add(0)
    few = cost()
    for number in range(1, 5):
        add(number)
    assert cost() == few


@pytest.mark.on_postgresql
def test_a_changed_output_starts_one_tracked_run_of_the_head(network: Stack, shop: Stack) -> None:
    apply(network, id="1")
    depend(shop, network, [])
    follow()
    assert started(shop) == []
    apply(network, id="2")
    follow()
    Dependency.objects.make_due(network)
    follow()
    assert started(shop) == ["Network changed the output id."]
    run = shop.runs.get()
    assert (run.kind, run.state, run.sha) == (Kind.TRACKED, State.QUEUED, shop.head_sha)
    assert DependencyRun.objects.get().run == run


@pytest.mark.on_postgresql
def test_what_old_runs_were_started_for_is_removed_and_starts_no_second_one(
    network: Stack, shop: Stack
) -> None:
    depend(shop, network, [])
    for value in "1234":
        apply(network, id=value)
        follow()
        finish_runs(shop)
    long_ago = timezone.now() - timedelta(days=91)
    shop.runs.filter(number=2).update(state=State.UNCONFIRMED)
    shop.runs.update(moved_at=long_ago)
    prune_runs()
    # That of a run which waits, and the last one.
    assert [one.version for one in DependencyRun.objects.all()] == [4, 2]
    Dependency.objects.make_due(network)
    follow()
    assert shop.runs.count() == 4
    apply(network, id="5")
    follow()
    assert shop.runs.count() == 5


def test_only_outputs_that_it_reads_count(network: Stack, shop: Stack) -> None:
    depend(shop, network, ["id", "gone"])
    apply(network, other="1")
    follow()
    assert started(shop) == []
    apply(network, other="2", id="1")
    follow()
    finish_runs(shop)
    apply(network, other="3", id="1")
    follow()
    apply(network)
    follow()
    assert started(shop) == ["Network changed the output id."] * 2


def test_what_a_failed_apply_changed_counts_at_the_next_end(network: Stack, shop: Stack) -> None:
    apply(network, a="1", b="1")
    depend(shop, network, [])
    apply(network, a="2", b="1").stack.dependents.update(due_at=None)  # it failed
    apply(network, a="2", b="2")
    follow()
    assert started(shop) == ["Network changed the outputs a, b."]


def test_while_the_other_stack_applies_it_waits(network: Stack, shop: Stack) -> None:
    depend(shop, network, [])
    apply(network, id="1")
    applying = make_run(network, state=State.APPLYING)
    follow()
    assert started(shop) == []
    due_at = Dependency.objects.get().due_at
    assert due_at and due_at > timezone.now()
    Run.objects.filter(pk=applying.pk).update(state=State.FAILED)
    Dependency.objects.make_due(network)
    follow()
    assert len(started(shop)) == 1


@pytest.mark.on_postgresql
def test_a_run_that_waits_for_the_same_is_not_started_twice(network: Stack, shop: Stack) -> None:
    depend(shop, network, [])
    apply(network, id="1")
    follow()
    apply(network, id="2")
    follow()
    assert len(started(shop)) == 1
    assert [one.version for one in DependencyRun.objects.all()] == [2, 1]


@pytest.mark.on_postgresql
def test_what_cant_run_yet_says_why_and_runs_later(
    member: Client, network: Stack, shop: Stack
) -> None:
    depend(shop, network, [])
    Stack.objects.filter(pk=shop.pk).update(head_sha="")
    apply(network, id="1")
    follow()
    page = member.get(PATH).content.decode()
    assert "Waits: The head of main is not known yet. Stackhook retries automatically." in page
    Stack.objects.filter(pk=shop.pk).update(head_sha="b" * 40)
    Dependency.objects.update(due_at=timezone.now())
    follow()
    assert len(started(shop)) == 1
    assert "Waits:" not in member.get(PATH).content.decode()


@pytest.mark.on_postgresql
def test_of_two_workers_one_starts_the_run(network: Stack, shop: Stack) -> None:
    depend(shop, network, [])
    apply(network, id="1")
    [claimed] = Dependency.objects.claim(timedelta(minutes=1))
    assert not follow_next()
    Dependency.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert follow_next()
    assert not claimed.release(None, seen_version=1)
    assert len(started(shop)) == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        DependencyRun.objects.create(dependency=claimed, version=1)


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)
def test_killed_before_any_of_its_queries_it_starts_exactly_one(
    network: Stack, shop: Stack
) -> None:
    depend(shop, network, [])
    apply(network, id="1")
    point, is_done = 0, False
    while not is_done:
        with killed_at(point):
            is_done = not follow_next()
        Dependency.objects.update(lease_until=None)
        point += 1
    assert point > 5
    assert len(started(shop)) == 1
    assert Dependency.objects.get().seen_version == 1


@pytest.mark.on_postgresql
def test_no_stack_runs_after_itself(member: Client, network: Stack, shop: Stack) -> None:
    third = make_stack(network.repository, "Third")
    depend(shop, network, [])
    depend(third, shop, [])
    with pytest.raises(Circle, match="Network → Third → Shop → Network"):
        depend(network, third, [])
    refused = member.post("/stacks/network/dependencies/add/", {"on": third.pk})
    assert "they would run in a circle" in errors(refused, "on")
    assert errors(member.post("/stacks/network/dependencies/add/", {"on": network.pk}), "on")
    with pytest.raises(IntegrityError), transaction.atomic():
        Dependency.objects.create(stack=shop, on=shop)


def test_people_add_and_remove_dependencies(member: Client, network: Stack, shop: Stack) -> None:
    typed = {"on": network.pk, "outputs": "id, subnet-ids, id"}
    assert member.post(f"{PATH}add/", typed).status_code == 302
    dependency = Dependency.objects.get()
    assert dependency.outputs == ["id", "subnet-ids"]
    assert errors(member.post(f"{PATH}add/", typed), "on")
    third = make_stack(network.repository, "Third")
    refused = member.post(f"{PATH}add/", {"on": third.pk, "outputs": "a b"})
    assert "“a b” is not the name of an output." in errors(refused, "outputs")
    assert "After this stack run" in member.get("/stacks/network/dependencies/").content.decode()
    member.post(f"{PATH}{dependency.pk}/remove/")
    assert not Dependency.objects.exists()
