"""The runs of all stacks: which ones a filter lets through, and what a page shows of them.

A page costs the same however many runs there are: each filter has an index that leads to the
newest runs first.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Lower
from django.http import HttpRequest

from core.http import version_of
from core.keyset import KeysetPage, before_in, page_of
from stacks.models import Run, RunAction, Stack
from stacks.models.run import RunQuerySet
from stacks.rules.states import ENDED, State

RUNS_ON_A_PAGE = 25
WAITING_SHOWN = 10
MOST_WAITING = 500
# What a filter calls active: what is queued, or being planned or applied.
ANY_ACTIVE = "active"
ACTIVE = sorted(set(State) - ENDED - {State.UNCONFIRMED})
LARGEST_KEY = 2**63 - 1
# Keys of runs grow with their times, but for runs stored at once by clocks that differ.
CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True)
class Wanted:
    """Which runs are wanted. What is empty or None lets all through.

    `stacks` are the keys of those with a label. `person` wrote the commit, triggered the run or
    did something with it; `since` and `until` are days in UTC.
    """

    state: str = ""
    kind: str = ""
    stack: Stack | None = None
    stacks: Collection[int] | None = None
    branch: str = ""
    person: str = ""
    since: date | None = None
    until: date | None = None

    @property
    def lookups(self) -> dict[str, Any]:
        """The lookups that a run must fulfill, but for the person."""
        named = {"state": self.state, "kind": self.kind, "branch": self.branch, "stack": self.stack}
        found: dict[str, Any] = {name: value for name, value in named.items() if value}
        if self.stacks is not None:
            found["stack__in"] = sorted(self.stacks)
        if self.state == ANY_ACTIVE:
            found["state__in"] = ACTIVE
            del found["state"]
        # The bounds of keys spare a search by time all runs that are newer, or older.
        if self.since:
            start = datetime.combine(self.since, time.min, UTC)
            earlier = Run.objects.filter(created_at__lt=start - CLOCKS_DIFFER)
            bound = _key_of_first(earlier.order_by("-created_at"), otherwise=0)
            found |= {"created_at__gte": start, "pk__gte": bound}
        if self.until:
            end = datetime.combine(self.until, time.max, UTC)
            later = Run.objects.filter(created_at__gt=end + CLOCKS_DIFFER)
            bound = _key_of_first(later.order_by("created_at"), otherwise=LARGEST_KEY)
            found |= {"created_at__lte": end, "pk__lte": bound}
        return found


@dataclass(frozen=True)
class AllRuns:
    """What a page shows: runs that wait for confirmation, and a page of the others.

    Those that wait are only on the first page, and only unless a state is chosen.
    """

    waiting: list[Run]
    has_more_waiting: bool
    page: KeysetPage[Run]

    @property
    def version(self) -> str:
        """A digest of what is shown; it changes every minute, as the ages do."""
        shown = [
            [(run.pk, run.state, [one.pk for one in run.proposals]) for run in rows]
            for rows in (self.waiting, self.page.rows)
        ]
        return version_of(shown, self.has_more_waiting)


def all_runs(request: HttpRequest, wanted: Wanted) -> AllRuns:
    """Return what a page shows of the wanted runs, below `?before=`."""
    lookups, before = wanted.lookups, before_in(request)
    is_first = before is None and not wanted.state
    waiting = _waiting(lookups, wanted.person, WAITING_SHOWN + 1) if is_first else []
    if before is not None:
        lookups["pk__lt"] = before
    listed = _newest(lookups, wanted.person, RUNS_ON_A_PAGE + 1, without_waiting=not wanted.state)
    runs = Run.objects.for_rows().in_bulk({*waiting, *listed})
    return AllRuns(
        waiting=_in_order(waiting[:WAITING_SHOWN], runs),
        has_more_waiting=len(waiting) > WAITING_SHOWN,
        page=page_of(request, _in_order(listed, runs), "pk", RUNS_ON_A_PAGE),
    )


def runs_of_stack(request: HttpRequest, wanted: Wanted) -> KeysetPage[Run]:
    """Return the wanted runs of one stack, below `?before=`, those that wait among the others."""
    lookups, before = wanted.lookups, before_in(request)
    if before is not None:
        lookups["pk__lt"] = before
    runs = _of_person(Run.objects.for_rows().filter(**lookups), wanted.person).order_by("-pk")
    return page_of(request, list(runs[: RUNS_ON_A_PAGE + 1]), "pk", RUNS_ON_A_PAGE)


def _waiting(lookups: dict[str, Any], person: str, most: int) -> list[int]:
    """Return the keys of the newest runs that fulfill lookups and wait for confirmation.

    There are few of these at any time, so all are read first: a database that takes the index of
    another filter reads far more.
    """
    waiting = Run.objects.filter(state=State.UNCONFIRMED).order_by("-pk")
    keys = list(waiting.values_list("pk", flat=True)[:MOST_WAITING])
    if not keys:
        return []
    runs = _of_person(Run.objects.filter(**lookups).filter(pk__in=keys), person).order_by("-pk")
    return list(runs.values_list("pk", flat=True)[:most])


def _of_person(runs: RunQuerySet, person: str) -> RunQuerySet:
    """Return those of a few runs that a person wrote, triggered or acted on; all for no person."""
    if not person:
        return runs
    name = Lower(Value(person))
    acted = RunAction.objects.alias(name=Lower("username")).filter(run=OuterRef("pk"), name=name)
    runs = runs.alias(author_name=Lower("author"), starter_name=Lower("triggered_by_name"))
    return runs.filter(Q(author_name=name) | Q(starter_name=name) | Exists(acted))


def _newest(
    lookups: dict[str, Any], person: str, most: int, *, without_waiting: bool = False
) -> list[int]:
    """Return the keys of the newest runs that fulfill lookups."""
    runs = Run.objects.filter(**lookups).order_by("-pk")
    if without_waiting:
        runs = runs.exclude(state=State.UNCONFIRMED)
    if not person:
        return list(runs.values_list("pk", flat=True)[:most])
    # Three queries, as databases have no index for “one or the other”.
    name = Lower(Value(person))
    written = runs.alias(name=Lower("author")).filter(name=name).values_list("pk", flat=True)
    triggered = runs.alias(name=Lower("triggered_by_name")).filter(name=name)
    started = triggered.values_list("pk", flat=True)
    actions = RunAction.objects.alias(name=Lower("username")).filter(
        name=name, **{f"run__{lookup}": value for lookup, value in lookups.items()}
    )
    if without_waiting:
        actions = actions.exclude(run__state=State.UNCONFIRMED)
    acted_on = actions.order_by("-run_id").values_list("run_id", flat=True).distinct()
    found = {*written[:most], *started[:most], *acted_on[:most]}
    return sorted(found, reverse=True)[:most]


def _key_of_first(runs: QuerySet[Run], otherwise: int) -> Coalesce:
    first = Subquery(runs.values("pk")[:1])
    return Coalesce(first, Value(otherwise), output_field=BigIntegerField())


def _in_order(keys: Iterable[int], runs: dict[int, Run]) -> list[Run]:
    """Return runs in the order of their keys, without those removed meanwhile."""
    return [runs[key] for key in keys if key in runs]
