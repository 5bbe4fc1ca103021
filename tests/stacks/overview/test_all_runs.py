"""The page with the runs of all stacks: what it shows first, its filters, its cost."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from stacks.models import Run, RunAction, Stack
from stacks.overview.all_runs import RUNS_ON_A_PAGE, WAITING_SHOWN
from stacks.rules.states import Kind, Operation, Origin, State
from tests.builders import make_run, make_stack, new_run
from vcs_integrations.models import Integration

RUNS = "/runs/"
LIVE = {"HX-Request": "true"}
MORNING = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def other(stack: Stack) -> Stack:
    return make_stack(stack.repository, "Cluster", branch="release", labels=["prod"])


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def names(runs: list[Run]) -> list[str]:
    return [f"{run.stack.name} {run.number}" for run in runs]


def listed(response: Any) -> list[str]:
    """Return the runs of the list, and before them those that wait."""
    assert response.status_code == 200
    runs = response.context["runs"]
    return names(runs.waiting) + names(runs.page.rows) if runs else []


def acted(run: Run, person: str, action: str = "confirm") -> None:
    RunAction.objects.create(run=run, action=action, username=person)


# What comes first


def test_what_a_run_destroys_and_which_drift_it_found_is_said_as_on_the_stacks_page(
    member: Client, stack: Stack
) -> None:
    make_run(stack, 1, operation=Operation.DESTROY, origin=Origin.PERSON)
    refresh = {"operation": Operation.REFRESH_ONLY, "origin": Origin.PERSON}
    make_run(stack, 2, drifted=0, changed_outputs=0, **refresh)
    make_run(stack, 3, kind=Kind.DRIFT, drifted=2, changed_outputs=0)
    for address in (RUNS, stack.get_absolute_url()):
        page = text(member.get(address))
        for shown in (
            '<span class="badge badge-error">Destroy</span>',
            '<span class="badge badge-plain">Refresh only</span>',
            '<span class="badge badge-warning">Drift found</span>',
            "2 resources changed outside",
            "No drift",
        ):
            assert page.count(shown) == 1, (address, shown)


def test_runs_of_all_stacks_are_listed_the_newest_first(
    member: Client, stack: Stack, other: Stack
) -> None:
    make_run(stack, 1, author="Ann Admin", state=State.FINISHED, message="Add <b> & more")
    make_run(other, 1, state=State.FAILED)
    make_run(stack, 2)
    response = member.get(RUNS)
    assert listed(response) == ["Network 2", "Cluster 1", "Network 1"]
    page = text(response)
    for shown in (
        'href="/stacks/network/runs/1/"',
        'href="/stacks/cluster/runs/1/"',
        "Add &lt;b&gt; &amp; more",
        "Ann Admin",
        "</svg> Failed</span>",
        ">main</a>",
    ):
        assert shown in page, shown


@pytest.mark.on_postgresql
def test_what_waits_for_confirmation_comes_first_and_is_not_listed_twice(
    member: Client, stack: Stack, other: Stack
) -> None:
    make_run(stack, 1, state=State.UNCONFIRMED)
    make_run(other, 1, state=State.FINISHED)
    response = member.get(RUNS)
    assert names(response.context["runs"].waiting) == ["Network 1"]
    assert listed(response) == ["Network 1", "Cluster 1"]
    page = text(response)
    assert page.index("Waiting for confirmation</h2>") < page.index("Other runs</h2>")
    older = member.get(RUNS, {"before": 10**6})
    assert listed(older) == ["Cluster 1"]  # it is on the first page


@pytest.mark.on_postgresql
def test_what_waits_is_filtered_like_the_rest(member: Client, stack: Stack, other: Stack) -> None:
    make_run(stack, 1, state=State.UNCONFIRMED, author="Ann Admin")
    acted(make_run(other, 1, state=State.UNCONFIRMED, branch="release"), "bob", "retry")
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["Cluster 1", "Network 1"]),
        ({"branch": "release"}, ["Cluster 1"]),
        ({"person": "ann admin"}, ["Network 1"]),
        ({"person": "Bob"}, ["Cluster 1"]),
        ({"person": "nobody"}, []),
        ({"kind": "proposed"}, []),
    ]
    for query, found in cases:
        assert names(member.get(RUNS, query).context["runs"].waiting) == found, query


def test_more_that_wait_than_there_is_room_for_are_led_to(
    member: Client, linked: Integration, stack: Stack
) -> None:
    for number in range(WAITING_SHOWN + 1):
        make_run(make_stack(stack.repository, f"S{number}"), 1, state=State.UNCONFIRMED)
    response = member.get(RUNS, {"branch": "main"})
    assert len(response.context["runs"].waiting) == WAITING_SHOWN
    assert 'href="?branch=main&amp;state=unconfirmed">Show all</a>' in text(response)
    all_that_wait = member.get(RUNS, {"branch": "main", "state": "unconfirmed"})
    assert len(listed(all_that_wait)) == WAITING_SHOWN + 1


@pytest.mark.on_postgresql
def test_every_run_is_on_one_page(member: Client, stack: Stack) -> None:
    count = 2 * RUNS_ON_A_PAGE + 3
    Run.objects.bulk_create(new_run(stack, number) for number in range(1, count + 1))
    seen: list[str] = []
    query = "?kind=tracked"
    while True:
        response = member.get(f"{RUNS}{query}")
        seen += listed(response)
        older = re.search(r'href="(\?kind=tracked&amp;before=\d+)">Older', text(response))
        if older is None:
            break
        query = older[1].replace("&amp;", "&")
    assert seen == [f"Network {number}" for number in range(count, 0, -1)]
    assert f'href="{RUNS}?kind=tracked">Newest</a>' in text(response)


def test_without_runs_it_says_what_starts_one(member: Client, stack: Stack) -> None:
    assert "No run yet." in text(member.get(RUNS))
    assert "No run matches." in text(member.get(RUNS, {"state": "failed"}))


# Filters


@pytest.fixture
def several(stack: Stack, other: Stack) -> None:
    """Four runs, each created on a day of its own."""
    changes: list[tuple[Stack, int, dict[str, Any]]] = [
        (stack, 1, {"state": State.FINISHED, "author": "Ann Admin"}),
        (other, 1, {"state": State.FAILED, "author": "bob"}),
        (
            stack,
            2,
            {
                "state": State.FINISHED,
                "kind": Kind.PROPOSED,
                "branch": "topic",
                "triggered_by_name": "Eve",
            },
        ),
        (other, 2, {"state": State.UNCONFIRMED, "author": "Zoë", "triggered_by_name": "eve"}),
    ]
    for day, (of, number, values) in enumerate(changes, start=1):
        with time_machine.travel(datetime(2026, 3, day, 12, tzinfo=UTC), tick=False):
            run = make_run(of, number, **values)
        if day == 1:
            acted(run, "bob")
            acted(run, "bob", "retry")


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["Cluster 2", "Network 2", "Cluster 1", "Network 1"]),
        ({"state": "finished"}, ["Network 2", "Network 1"]),
        ({"state": "unconfirmed"}, ["Cluster 2"]),
        ({"state": "queued"}, []),
        ({"kind": "proposed"}, ["Network 2"]),
        ({"stack": "cluster"}, ["Cluster 2", "Cluster 1"]),
        ({"stack": "NETWORK"}, ["Network 2", "Network 1"]),
        ({"state": "active"}, []),
        ({"label": "PROD"}, ["Cluster 2", "Cluster 1"]),
        ({"label": "prod", "person": "bob"}, ["Cluster 1"]),
        ({"branch": "topic"}, ["Network 2"]),
        ({"branch": "top"}, []),
        ({"person": "ann admin"}, ["Network 1"]),
        ({"person": "BOB"}, ["Cluster 1", "Network 1"]),
        ({"person": "Zoë"}, ["Cluster 2"]),
        ({"person": "EVE"}, ["Cluster 2", "Network 2"]),
        ({"person": "eve", "state": "finished"}, ["Network 2"]),
        ({"person": "nobody"}, []),
        ({"person": "bob", "stack": "network"}, ["Network 1"]),
        ({"person": "bob", "state": "failed"}, ["Cluster 1"]),
        ({"person": "bob", "since": "2026-03-02"}, ["Cluster 1"]),
        ({"since": "2026-03-03"}, ["Cluster 2", "Network 2"]),
        ({"until": "2026-03-02"}, ["Cluster 1", "Network 1"]),
        ({"since": "2026-03-02", "until": "2026-03-03"}, ["Network 2", "Cluster 1"]),
        ({"since": "2026-03-03", "until": "2026-03-02"}, []),
        ({"since": "2000-01-01", "until": "2999-12-31", "kind": "proposed"}, ["Network 2"]),
    ],
)
def test_each_filter_lets_its_runs_through(
    member: Client, several: None, query: dict[str, str], found: list[str]
) -> None:
    for headers in ({}, LIVE):
        response = member.get(RUNS, query, headers=headers)
        assert listed(response) == found
        assert ("<html" in text(response)) == (not headers)


@pytest.mark.on_postgresql
def test_a_run_whose_clock_was_behind_is_found_by_its_time(member: Client, stack: Stack) -> None:
    """Keys narrow a search by time, and a key says only about when a run was created."""
    times = [MORNING, MORNING + timedelta(minutes=2), MORNING + timedelta(minutes=1)]
    for number, created_at in enumerate(times, start=1):
        run = make_run(stack, number)
        Run.objects.filter(pk=run.pk).update(created_at=created_at + timedelta(hours=15))
    found = ["Network 3", "Network 2"]
    assert listed(member.get(RUNS, {"since": "2026-11-22"})) == [*found, "Network 1"]
    Run.objects.filter(number=1).update(created_at=MORNING)
    assert listed(member.get(RUNS, {"since": "2026-11-22"})) == found


@pytest.mark.on_postgresql
def test_the_filter_keeps_what_is_chosen_and_offers_the_stacks(
    member: Client, several: None
) -> None:
    page = text(member.get(RUNS, {"stack": "cluster", "state": "failed", "since": "2026-03-01"}))
    assert 'value="cluster"' in page
    assert '<option value="failed" selected>Failed</option>' in page
    assert 'value="2026-03-01"' in page
    assert '<option value="Cluster"></option><option value="Network"></option>' in page


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"stack": "<nothing>"}, "Stack: There is no stack “&lt;nothing&gt;”. Check its name."),
        ({"label": "<none>"}, "Label: No stack has the label “&lt;none&gt;”. Check its spelling."),
        ({"state": "sleeping"}, "State: “sleeping”"),
        ({"kind": "tracked'"}, "Kind: “tracked"),
        ({"since": "yesterday"}, "Since: Enter a day from 2000 to 2999, like 2026-03-31."),
        ({"since": "0001-01-01"}, "Since: Enter a day from 2000 to 2999"),
        ({"until": "9999-12-31"}, "Until: Enter a day from 2000 to 2999"),
        ({"until": "2026-02-30"}, "Until: Enter a day"),
        ({"branch": "a\0b"}, "Branch: This contains a null character"),
        ({"person": "\0"}, "Person: This contains a null character"),
        ({"stack": "\0"}, "Stack: This contains a null character"),
        ({"branch": "b" * 501}, "Branch: This is too long: it has 501 characters"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named_and_shows_no_run(
    member: Client, several: None, query: dict[str, str], problem: str
) -> None:
    for headers in ({}, LIVE):
        response = member.get(RUNS, query, headers=headers)
        assert problem in text(response)
        assert listed(response) == []
        assert f'href="{RUNS}">Show all</a>' in text(response)


HOSTILE = [
    "",
    "0",
    "-1",
    "x",
    "²",
    "9" * 18,
    "9" * 30,
    "1 OR 1=1",
    "\0",
    "x" * 50_000,
    "😀",
    "'\"<",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_query_breaks_the_page(member: Client, several: None, value: str) -> None:
    names = (
        "state",
        "stack",
        "label",
        "branch",
        "person",
        "kind",
        "since",
        "until",
        "before",
        "version",
    )
    for query in (*({name: value} for name in names), dict.fromkeys(names, value)):
        for headers in ({}, LIVE):
            assert member.get(RUNS, query, headers=headers).status_code in {200, 204}
    twice = urlencode([(name, value) for name in names] * 2)
    assert member.get(f"{RUNS}?{twice}&{value[:5]}=1").status_code == 200


def test_active_runs_are_those_queued_or_being_executed(member: Client, stack: Stack) -> None:
    for number, state in enumerate(["queued", "unconfirmed", "failed"], start=1):
        make_run(stack, number, state=state)
    make_run(make_stack(stack.repository, "Data"), 1, state="applying")
    assert listed(member.get(RUNS, {"state": "active"})) == ["Data 1", "Network 1"]


@pytest.mark.on_postgresql
def test_a_stacks_own_list_has_the_same_filters(member: Client, several: None) -> None:
    def found(**query: str) -> list[int]:
        return [run.number for run in member.get("/stacks/cluster/", query).context["page"].rows]

    assert found() == [2, 1]
    assert found(state="failed") == [1]
    assert found(person="eve") == [2]
    assert found(kind="proposed") == found(branch="topic") == []
    assert found(until="2026-03-02") == [1]
    assert found(stack="network", label="none") == [2, 1]  # it has no such filter
    page = text(member.get("/stacks/cluster/", {"state": "failed"}))
    assert '<option value="failed" selected>Failed</option>' in page
    assert 'hx-get="/stacks/cluster/?state=failed&amp;version=' in page
    wrong = text(member.get("/stacks/cluster/", {"state": "sleeping"}))
    assert "State: “sleeping”" in wrong


@pytest.mark.on_postgresql
def test_pages_of_a_stacks_runs_keep_the_filter(member: Client, stack: Stack) -> None:
    Run.objects.bulk_create(new_run(stack, number) for number in range(1, RUNS_ON_A_PAGE + 10))
    page = text(member.get("/stacks/network/", {"kind": "tracked"}))
    older = re.search(r'href="(\?kind=tracked&amp;before=\d+)">Older', page)
    assert older
    rest = member.get(f"/stacks/network/{older[1].replace('&amp;', '&')}")
    assert [run.number for run in rest.context["page"].rows] == list(range(9, 0, -1))


# Live


def version(response: Any) -> str:
    found: str = response.context["runs"].version
    assert f"version={found}" in response.content.decode()
    return found


@time_machine.travel(MORNING, tick=False)
def test_the_page_asks_again_and_gets_nothing_while_nothing_changed(
    member: Client, stack: Stack
) -> None:
    run = make_run(stack, 1)
    known = version(member.get(RUNS, {"kind": "tracked"}))
    query = {"kind": "tracked", "version": known}
    answer = member.get(RUNS, query, headers=LIVE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "HX-Request" in answer["Vary"]
    run.move_to(State.PREPARING)
    part = member.get(RUNS, query, headers=LIVE)
    assert "</svg> Preparing</span>" in text(part)
    assert f"{RUNS}?kind=tracked&amp;version={version(part)}" in text(part)
    assert member.get(RUNS, query).status_code == 200  # who opens it sees a page


@time_machine.travel(MORNING, tick=False)
def test_the_live_part_of_an_older_page_stays_on_its_runs(member: Client, stack: Stack) -> None:
    runs = [make_run(stack, number) for number in range(1, 4)]
    page = member.get(RUNS, {"before": runs[2].pk})
    assert f"{RUNS}?before={runs[2].pk}&amp;version=" in text(page)
    query = {"before": str(runs[2].pk), "version": "old"}
    part = member.get(RUNS, query, headers=LIVE)
    assert listed(part) == ["Network 2", "Network 1"]


# The navigation


def badge(response: Any) -> str:
    found = re.search(r'<span id="waiting-runs"[^>]*>(.*?)</a>', text(response))
    return " ".join(re.sub(r"<[^>]+>", "", found[1]).split()) if found else "no badge"


@pytest.mark.on_postgresql
def test_every_page_says_how_many_runs_wait(
    admin: Client, member: Client, stack: Stack, other: Stack, charlie: User
) -> None:
    assert badge(member.get("/")) == ""
    make_run(stack, 1, state=State.UNCONFIRMED)
    make_run(other, 1, state=State.QUEUED)
    for path in ("/", "/stacks/", "/stacks/network/", RUNS, "/settings/vcs-providers/"):
        for client in (admin, member):
            assert badge(client.get(path)) == "1 waiting for confirmation", path
    assert re.search(
        r'aria-current="page"><svg[^>]*><path[^>]*/></svg>Runs', text(member.get(RUNS))
    )


@pytest.mark.on_postgresql
def test_the_badge_has_room_for_two_digits(
    member: Client, linked: Integration, stack: Stack
) -> None:
    stacks = Stack.objects.bulk_create(
        Stack(name=f"S{n}", slug=f"s{n}", repository=stack.repository, branch="main")
        for n in range(100)
    )
    Run.objects.bulk_create(new_run(one, 1, state=State.UNCONFIRMED) for one in stacks[:99])
    assert badge(member.get("/")) == "99 waiting for confirmation"
    make_run(stacks[99], 1, state=State.UNCONFIRMED)
    assert badge(member.get("/")) == "99+ waiting for confirmation"


def test_the_live_part_brings_the_badge_along(member: Client, stack: Stack) -> None:
    make_run(stack, 1, state=State.UNCONFIRMED)
    part = text(member.get(RUNS, headers=LIVE))
    assert '<span id="waiting-runs" hx-swap-oob="true">' in part
    assert part.count('id="waiting-runs"') == 1


# What it costs


@pytest.mark.on_postgresql
def test_many_runs_cost_as_many_queries_as_few_and_fit_a_page(member: Client, stack: Stack) -> None:
    grow(stack, "few", 3)
    few, _ = cost(member)
    grow(stack, "many", 200)
    many, size = cost(member)
    assert many == few <= 12
    assert size <= 150_000
    shown = member.get(RUNS).context["runs"]
    assert len(shown.waiting) == WAITING_SHOWN
    assert len(shown.page.rows) == RUNS_ON_A_PAGE


def grow(like: Stack, name: str, count: int) -> None:
    """Store stacks of which each has a run that waits and one that failed, with long messages."""
    stacks = Stack.objects.bulk_create(
        Stack(name=f"{name} {n}", slug=f"{name}-{n}", repository=like.repository, branch="main")
        for n in range(count)
    )
    words = {"message": "y" * 200, "author": "Ann Admin"}
    Run.objects.bulk_create(
        new_run(one, number, state=state, **words)
        for one in stacks
        for number, state in enumerate((State.FAILED, State.UNCONFIRMED), start=1)
    )


def cost(client: Client) -> tuple[int, int]:
    """Return the queries of the page, and its size in bytes."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get(RUNS)
    return len(captured), len(response.content)
