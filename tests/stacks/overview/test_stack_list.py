"""The list of stacks: labels, order, what it shows of runs, and what it costs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from stacks.models import Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_stack, new_run
from vcs_integrations.models import Integration, Repository

STACKS = "/stacks/"


@pytest.fixture
def repository(linked: Integration) -> Repository:
    return make_stack(linked, "Alone", labels=["PROD"]).repository


@pytest.fixture
def several(repository: Repository) -> None:
    """Four stacks: one applied, one failed, one whose plan waits, one without runs."""
    applied = make_stack(repository, "Big", labels=["prod", "Europa"])
    failed = make_stack(repository, "Cluster", labels=["test"])
    waits = make_stack(repository, "Data", labels=["prod", "a & b"])
    make_run(waits, 1, state=State.UNCONFIRMED)
    make_run(waits, 2)
    make_run(failed, 1, state=State.FAILED)
    make_run(applied, 1, state=State.FINISHED)
    make_run(applied, 2, kind=Kind.PROPOSED, state=State.FAILED)


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def listed(response: Any) -> list[str]:
    assert response.status_code == 200
    return [stack.name for stack in response.context["list"].page]


def cells_of(page: str, name: str) -> list[str]:
    """Return the words of each cell in the row of a stack: it, its state, its code, its run."""
    rows: list[str] = re.findall(r"<tr>.*?</tr>", page)
    [found] = [row for row in rows if f"<strong>{name}</strong>" in row]
    cells: list[str] = re.findall(r"<td.*?</td>", found)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def test_each_stack_shows_its_newest_tracked_run_and_the_plan_that_waits(
    member: Client, several: None
) -> None:
    Run.objects.update(moved_at=timezone.now() - timedelta(days=3))
    page = text(member.get(STACKS))
    shown = {name: cells_of(page, name)[1::2] for name in ("Big", "Cluster", "Data", "Alone")}
    assert shown == {
        "Big": ["Applied", "Run 1 3 d ago"],
        "Cluster": ["Failed", "Run 1 3 d ago"],
        "Data": ["Queued Run 1 waits", "Run 2 3 d ago"],
        "Alone": ["No run yet", ""],
    }
    assert 'href="/stacks/data/runs/1/">Run 1 waits</a>' in page
    assert 'href="/stacks/data/runs/2/" aria-label="Run 2 of Data">Run 2</a>' in page


def test_a_row_says_where_the_code_of_its_stack_is_and_leads_to_it(
    member: Client, several: None
) -> None:
    Stack.objects.filter(name="Big").update(project_root="envs/prod", branch="release")
    page = text(member.get(STACKS))
    assert cells_of(page, "Big")[2] == "Web/tools envs/prod release"
    assert cells_of(page, "Data")[2] == "Web/tools main"
    assert 'class="row-link" href="/stacks/big/"><strong>Big</strong></a>' in page
    assert cells_of(page, "Big")[0] == "Big prod Europa"


def test_links_count_the_stacks_and_narrow_them_by_their_condition(
    member: Client, several: None
) -> None:
    page = text(member.get(f"{STACKS}?label=prod&sort=run"))
    assert "<p>3 stacks</p>" in page
    assert 'href="/stacks/?label=prod&amp;sort=run" aria-current="true">All stacks</a>' in page
    waiting = "/stacks/?label=prod&sort=run&show=waiting"
    assert f'href="{escape(waiting)}">A plan waits</a>' in page
    assert listed(member.get(waiting)) == ["Data"]
    page = text(member.get(waiting))
    assert "<p>1 stack</p>" in page
    assert f'href="{escape(waiting)}" aria-current="true">A plan waits</a>' in page
    assert '<input type="hidden" name="show" value="waiting">' in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Alone", "Big", "Cluster", "Data"]),
        ("sort=run", ["Big", "Cluster", "Data", "Alone"]),
        ("sort=state", ["Data", "Cluster", "Big", "Alone"]),
        ("sort=nonsense", ["Alone", "Big", "Cluster", "Data"]),
        ("label=prod", ["Alone", "Big", "Data"]),
        ("label=PROD&label=europa", ["Big"]),
        ("label=a+%26+b", ["Data"]),
        ("label=pro", []),
        ("label=test&label=prod", []),
        ("label=prod&q=da&sort=run", ["Data"]),
        ("label=&label=", ["Alone", "Big", "Cluster", "Data"]),
    ],
)
def test_labels_narrow_the_list_and_it_has_three_orders(
    member: Client, several: None, query: str, found: list[str]
) -> None:
    for headers in ({}, {"HX-Request": "true"}):
        assert listed(member.get(f"{STACKS}?{query}", headers=headers)) == found


def test_a_label_is_a_link_that_keeps_the_rest_and_takes_itself_back(
    member: Client, several: None
) -> None:
    page = text(member.get(f"{STACKS}?q=a&label=prod&sort=state"))
    assert 'href="/stacks/?q=a&amp;sort=state" class="chosen" aria-current="true">PROD' in page
    assert 'href="/stacks/?q=a&amp;label=prod&amp;label=a+%26+b&amp;sort=state">a &amp; b' in page
    assert '<input type="hidden" name="label" value="prod">' in page
    assert '<option value="state" selected>Sort by state</option>' in page
    assert "No stack matches “zzz” with prod." in text(member.get(f"{STACKS}?q=zzz&label=prod"))


def test_the_list_says_which_stacks_have_drift(member: Client, several: None) -> None:
    for name, drifted in (("Big", 2), ("Cluster", 0)):
        stack = Stack.objects.get(name=name)
        stack.drift_run = make_run(stack, 9, kind=Kind.DRIFT, drifted=drifted, changed_outputs=0)
        stack.save()
    page = text(member.get(STACKS))
    assert cells_of(page, "Big")[0] == "Big Drift prod Europa"
    assert page.count(" Drift</a>") == 1
    assert 'href="/stacks/big/runs/9/" title="2 resources changed outside"' in page


@pytest.mark.parametrize("value", ["\0", "x" * 50_000, "😀", "<b>", "'", "²", "9" * 50, "-1"])
def test_no_query_breaks_the_list(member: Client, several: None, value: str) -> None:
    for names in (["q"], ["label"], ["sort"], ["page"], ["q", "label", "sort", "page"]):
        query = dict.fromkeys(names, value)
        for headers in ({}, {"HX-Request": "true"}):
            page = text(member.get(STACKS, query, headers=headers))
            assert "<b>" not in page
    assert member.get(STACKS, {"label": [f"label-{n}" for n in range(500)]}).status_code == 200


def test_five_hundred_stacks_cost_as_many_queries_as_ten_and_fit_a_page(
    member: Client, repository: Repository
) -> None:
    queries = ["", "?sort=run", "?sort=state", "?label=label-1&q=stack", "?page=2"]
    grow(repository, 1, 10)
    few = [cost(member, query)[0] for query in queries]
    grow(repository, 11, 500)
    many, sizes = zip(*(cost(member, query) for query in queries), strict=True)
    assert list(many) == few
    assert max(few) <= 12
    assert max(sizes) <= 150_000
    assert len(listed(member.get(STACKS))) == 30


def grow(repository: Repository, first: int, last: int) -> None:
    """Add stacks with labels, each with two tracked runs and drift."""
    stacks = Stack.objects.bulk_create(
        Stack(
            name=f"Stack {number}",
            slug=f"stack-{number}",
            repository=repository,
            branch="main",
            project_root=f"environments/production/{number}",
            labels=[f"label-{number % 40}", "all"],
            search_text=f"stack {number}",
            head_sha="f" * 40,
            head_read_at=timezone.now(),
        )
        for number in range(first, last + 1)
    )
    states = [State.FINISHED, State.UNCONFIRMED]
    Run.objects.bulk_create(
        new_run(stack, number, state=state)
        for stack in stacks
        for number, state in enumerate(states, start=1)
    )
    drift = {"kind": Kind.DRIFT, "drifted": 1, "changed_outputs": 0}
    for run in Run.objects.bulk_create(new_run(stack, 3, **drift) for stack in stacks):
        run.stack.drift_run = run
    Stack.objects.bulk_update(stacks, ["drift_run"], batch_size=100)


def cost(client: Client, query: str) -> tuple[int, int]:
    """Return the queries of a page of the list, and its size in bytes."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get(f"{STACKS}{query}")
    assert response.status_code == 200
    return len(captured), len(response.content)
