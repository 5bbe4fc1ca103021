"""The list of stacks: its search, labels and order, and what it shows of each stack's runs.

However many stacks there are, the list takes the same number of queries.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce, Lower
from django.http import QueryDict

from core.http import version_of
from stacks.models import Run, Stack
from stacks.models.run import RunQuerySet
from stacks.models.stack import StackQuerySet
from stacks.rules.states import ENDED, Kind, State
from vcs_integrations.models import search_key

STACKS_ON_A_PAGE = 30
LABELS_OFFERED = 20
SORTS = {"": "Name", "run": "Last run", "state": "State"}
SHOWS = {
    "": "All stacks",
    "waiting": "A plan waits",
    "failed": "Failed",
    "drift": "Drift",
    "gone": "Branch gone",
    "detached": "Detached",
}
# What a row shows of a stack, which has many columns.
IN_ROWS = (
    *("name", "slug", "labels", "branch", "project_root", "branch_gone_at", "drift_run"),
    *("repository__name", "repository__project_name", "repository__integration__unlinked_at"),
)
# What wants somebody comes first: to confirm, to fix, to watch.
FIRST_STATES = [
    State.UNCONFIRMED,
    State.FAILED,
    *(state for state in State if state not in ENDED and state != State.UNCONFIRMED),
]


def failed_stacks() -> QuerySet[Any]:
    """Return the stacks whose newest tracked run that succeeded or failed is a failed one.

    Each has `failed_run`, the key of that run. What was discarded or superseded settles nothing.
    """
    settled = Run.objects.filter(
        stack=OuterRef("pk"), kind=Kind.TRACKED, state__in=[State.FINISHED, State.FAILED]
    ).order_by("-number")
    stacks = Stack.objects.alias(settled_as=Subquery(settled.values("state")[:1]))
    failed = stacks.filter(settled_as=State.FAILED)
    return failed.annotate(failed_run=Subquery(settled.values("pk")[:1]))


@dataclass(frozen=True)
class LabelLink:
    """A label that narrows the list, or no longer does; `query` is what the link says."""

    text: str
    count: int
    is_chosen: bool
    query: str


@dataclass(frozen=True)
class ShowLink:
    """A condition that narrows the list, one of `SHOWS`; `query` is what the link says."""

    text: str
    is_chosen: bool
    query: str


@dataclass
class Labels:
    """The labels of all stacks, whatever their case: how each is written, and who has it."""

    texts: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Labels":
        labels = cls()
        for pk, texts in Stack.objects.order_by("pk").values_list("pk", "labels"):
            for text in texts:
                key = search_key(text)
                labels.texts.setdefault(key, text)
                labels.stacks.setdefault(key, set()).add(pk)
        return labels

    def with_all(self, keys: list[str]) -> set[int]:
        """Return the keys of the stacks that have all of some labels, at least one."""
        return set.intersection(*(self.stacks.get(key, set()) for key in keys))


@dataclass(frozen=True)
class StackList:
    """A page of the list, and what leads on: `query` is the address's, without a page."""

    page: Page[Stack]
    shows: list[ShowLink]
    labels: list[LabelLink]
    q: str
    chosen: list[str]
    sort: str
    show: str
    query: str

    @property
    def is_narrowed(self) -> bool:
        return bool(self.q or self.chosen or self.show)

    @property
    def version(self) -> str:
        """A digest of what is shown; it changes every minute, as the ages do."""
        stacks: list[Any] = list(self.page)  # with their runs
        rows = [
            (
                *(stack.pk, stack.name, stack.labels, stack.is_detached, stack.branch_gone_at),
                *(run and (run.pk, run.state) for run in (stack.last_run, stack.waiting_run)),
                stack.drift_run and stack.drift_run.drift_text,
            )
            for stack in stacks
        ]
        return version_of(rows, self.labels, self.page.paginator.count)


def stack_list_of(query: QueryDict) -> StackList:
    """Return the page of the list that an address asks for; what makes no sense is left out."""
    text = _cleaned(query.get("q", ""))
    chosen = list(dict.fromkeys(filter(None, map(_cleaned, query.getlist("label")))))
    sort = query.get("sort", "")
    if sort not in SORTS:
        sort = ""
    show = query.get("show", "")
    if show not in SHOWS:
        show = ""
    labels = Labels.read()
    found = Stack.objects.with_repository().only(*IN_ROWS).matching(text)
    stacks = _sorted(_shown(found, show), sort)
    if chosen:
        stacks = stacks.filter(pk__in=labels.with_all([search_key(one) for one in chosen]))
    page = Paginator(stacks, STACKS_ON_A_PAGE).get_page(query.get("page"))
    _add_runs(page)
    return StackList(
        page=page,
        shows=[
            ShowLink(words, key == show, _address(text, chosen, sort, key))
            for key, words in SHOWS.items()
        ],
        labels=_links(labels, text, chosen, sort, show),
        q=text,
        chosen=chosen,
        sort=sort,
        show=show,
        query=_address(text, chosen, sort, show),
    )


def _cleaned(text: str) -> str:
    return text.replace("\0", "").strip()


def _shown(stacks: StackQuerySet, show: str) -> StackQuerySet:
    """Return those of some stacks that are in a condition, one of `SHOWS`."""
    if show == "waiting":
        return stacks.filter(pk__in=_waiting_runs().values("stack"))
    if show == "failed":
        return stacks.filter(pk__in=failed_stacks().values("pk"))
    if show == "drift":
        return stacks.with_drift()
    if show == "gone":
        return stacks.filter(branch_gone_at__isnull=False)
    if show == "detached":
        return stacks.filter(repository__integration__unlinked_at__isnull=False)
    return stacks


def _sorted(stacks: QuerySet[Stack], sort: str) -> QuerySet[Stack]:
    """Return stacks with the keys of their newest tracked runs, in order.

    What a pull request proposes says nothing about the state of a stack.
    """
    tracked = Run.objects.filter(stack=OuterRef("pk"), kind=Kind.TRACKED).order_by("-number")
    stacks = stacks.annotate(last_run=Subquery(tracked.values("pk")[:1]))
    if sort == "run":
        return stacks.order_by(F("last_run").desc(nulls_last=True), Lower("name"))
    if sort == "state":
        places = [When(state=state, then=at) for at, state in enumerate(FIRST_STATES, start=1)]
        of_last = tracked.annotate(place=Case(*places, default=len(State))).values("place")[:1]
        waits = When(pk__in=_waiting_runs().values("stack"), then=0)
        place = Case(waits, default=Coalesce(Subquery(of_last), len(State) + 1))
        return stacks.order_by(place, Lower("name"))
    return stacks


def _waiting_runs() -> RunQuerySet:
    """Return the runs that wait for confirmation: tracked ones, at most one of each stack."""
    return Run.objects.filter(state=State.UNCONFIRMED)


def _add_runs(page: Page[Stack]) -> None:
    """Replace, in the stacks of a page, the keys of runs by the runs, and add those that wait."""
    rows: list[Any] = list(page.object_list)
    keys = {pk for row in rows for pk in (row.last_run, row.drift_run_id) if pk}
    runs = Run.objects.for_rows_of_stacks().in_bulk(keys)
    waits = _waiting_runs().for_rows_of_stacks().filter(stack__in=rows)
    waiting = {run.stack_id: run for run in waits}
    for row in rows:
        row.last_run, row.waiting_run = runs.get(row.last_run), waiting.get(row.pk)
        row.drift_run = runs.get(row.drift_run_id)
        for run in filter(None, (row.last_run, row.waiting_run, row.drift_run)):
            run.stack = row  # its address names it
    page.object_list = rows


def _links(labels: Labels, text: str, chosen: list[str], sort: str, show: str) -> list[LabelLink]:
    """Return links for the chosen labels, and for those that most stacks have."""
    counts = Counter({key: len(stacks) for key, stacks in labels.stacks.items()})
    keys = {search_key(label): label for label in chosen}
    offered = [key for key, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    shown = [*keys, *(key for key in offered if key not in keys)][: max(LABELS_OFFERED, len(keys))]
    return [
        LabelLink(
            text=labels.texts.get(key, keys.get(key, "")),
            count=counts[key],
            is_chosen=key in keys,
            query=_address(
                text,
                [label for other, label in keys.items() if other != key]
                + ([] if key in keys else [labels.texts[key]]),
                sort,
                show,
            ),
        )
        for key in shown
    ]


def _address(text: str, chosen: list[str], sort: str, show: str) -> str:
    query = QueryDict(mutable=True)
    query.setlist("q", [text] if text else [])
    query.setlist("label", chosen)
    query.setlist("sort", [sort] if sort else [])
    query.setlist("show", [show] if show else [])
    return query.urlencode()
