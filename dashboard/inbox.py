"""What the start page lists of runs: those that wait for somebody, failed, go on, or found drift.

One query reads all of it, however many runs there are.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import (
    CharField,
    Count,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
)
from django.urls import reverse
from django.utils.text import capfirst

from stacks.execution.queue import without_worker
from stacks.models import Run, Stack
from stacks.overview.all_runs import ACTIVE
from stacks.overview.stack_list import failed_stacks
from stacks.rules.states import HOLDS_BACK, HOLDS_STACK, Kind, State
from stacks.runs.waiting import HOLDING

SHOWN = 8
LAST_SHOWN = 5
# What a list needs of a run to say about it what its own page says.
FIELDS = (
    *("number", "kind", "state", "operation", "message", "failure", "worker", "moved_at"),
    "apply_started_at",
    *("added", "changed", "destroyed", "changed_outputs", "imported", "moved", "forgotten"),
    "drifted",
)


@dataclass(frozen=True)
class Row:
    """A run in a list: where it leads, what to know about it, and since when that is so."""

    key: int
    url: str
    stack: str
    number: int
    kind: str
    state: str
    state_text: str
    message: str
    detail: str
    since: datetime
    worker: str


@dataclass(frozen=True)
class Section:
    """The first runs of a list, how many there are, and the page that lists all."""

    key: str
    heading: str
    url: str
    rows: list[Row]
    total: int

    @property
    def has_more(self) -> bool:
        return self.total > len(self.rows)


@dataclass(frozen=True)
class Inbox:
    """What the start page lists.

    `last` are the newest runs, whatever became of them; `stuck` is a run which shows that the run
    worker that holds it is frozen, or that there is none.
    """

    sections: list[Section]
    last: list[Row]
    stuck: Row | None


def read_inbox() -> Inbox:
    """Return what the start page lists. A section without runs is left out."""
    waiting = Run.objects.filter(state=State.UNCONFIRMED)
    active = Run.objects.filter(state__in=ACTIVE)
    failed, drifted = failed_stacks(), Stack.objects.with_drift()
    first, *others = [
        _part("waiting", waiting.order_by("-pk").values("pk")[:SHOWN], waiting),
        _part("failed", failed.order_by("-failed_run").values("failed_run")[:SHOWN], failed),
        _part("active", active.order_by("pk").values("pk")[:SHOWN], active),
        _part("drift", drifted.order_by("-drift_run").values("drift_run")[:SHOWN], drifted),
        _part("last", Run.objects.order_by("-pk").values("pk")[:LAST_SHOWN]),
        _part("stuck", without_worker().order_by("pk").values("pk")[:1]),
    ]
    rows: dict[str, list[Row]] = {}
    totals: dict[str, int] = {}
    for values in first.union(*others, all=True):
        rows.setdefault(values["part"], []).append(_row(values))
        totals[values["part"]] = values["total"]
    for part, found in rows.items():
        found.sort(key=lambda one: one.key, reverse=part != "active")
    return Inbox(
        sections=[
            Section(key, heading, url, rows[key], totals[key])
            for key, heading, url in _headings()
            if key in rows
        ],
        last=rows.get("last", []),
        stuck=next(iter(rows.get("stuck", [])), None),
    )


def _headings() -> list[tuple[str, str, str]]:
    runs, stacks = reverse("stacks:runs"), reverse("stacks:list")
    return [
        ("waiting", "Waiting for confirmation", f"{runs}?state={State.UNCONFIRMED}"),
        ("failed", "Failed", f"{stacks}?show=failed"),
        ("active", "Running and queued", f"{runs}?state=active"),
        ("drift", "Drift", f"{stacks}?show=drift"),
    ]


def _part(part: str, keys: QuerySet[Any, Any], counted: QuerySet[Any] | None = None) -> Any:
    """Return the runs with some keys as one part of a union: rows with the same columns.

    Each has the number of all that are `counted`, and the run that holds its stack.
    """
    none = Value(None, output_field=IntegerField())
    holder = Run.objects.filter(
        stack=OuterRef("stack"), kind=Kind.TRACKED, state__in=sorted(HOLDS_STACK)
    )
    return (
        Run.objects.filter(pk__in=keys)
        .order_by()
        .annotate(
            part=Value(part, output_field=CharField()),
            total=none if counted is None else _count(counted),
            slug=F("stack__slug"),
            name=F("stack__name"),
            unlinked_at=F("repository__integration__unlinked_at"),
            holder=Subquery(holder.values("number")[:1]),
            holder_state=Subquery(holder.values("state")[:1]),
        )
        .values(
            *("pk", *FIELDS),
            *("part", "total", "slug", "name", "unlinked_at", "holder", "holder_state"),
        )
    )


def _count(rows: QuerySet[Any]) -> Subquery:
    one = rows.order_by().annotate(whole=Value(1)).values("whole")
    return Subquery(one.annotate(count=Count("pk")).values("count"), IntegerField())


def _row(values: dict[str, Any]) -> Row:
    run = Run(stack=Stack(slug=values["slug"]), **{name: values[name] for name in FIELDS})
    return Row(
        key=values["pk"],
        url=run.get_absolute_url(),
        stack=values["name"],
        number=run.number,
        kind=run.kind,
        state=run.state,
        state_text=run.state_text,
        message=run.message,
        detail=_detail(run, values),
        since=run.moved_at,
        worker=run.worker,
    )


def _detail(run: Run, values: dict[str, Any]) -> str:
    """Return what to know about a run: why it waits or failed, or what its plan changes."""
    if run.is_waiting:
        return _why_it_waits(run, values)
    if run.state == State.CONFIRMED:
        return "Waits for a worker to apply it"
    return run.failure or capfirst(run.drift_text) or run.counts


def _why_it_waits(run: Run, values: dict[str, Any]) -> str:
    if values["unlinked_at"]:
        return "Waits until its stack is attached again"
    if values["holder_state"] in HOLDS_BACK[Kind(run.kind)]:
        return f"Waits for run {values['holder']}, which {HOLDING[State(values['holder_state'])]}"
    return "Waits for a worker"
