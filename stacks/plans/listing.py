"""What the pages of a plan show: a part of its changes in groups, and the values of one."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django import forms
from django.db.models import Exists, Q, QuerySet
from django.http import HttpRequest, QueryDict

from core.keyset import is_key
from stacks.models import PlanChange, Run
from stacks.models.plan import ChangeKind
from stacks.rules.attribute_rows import AttributeRow, rows_of
from stacks.rules.changes import DESTROYING
from stacks.rules.plan_reasons import REASONS

CHANGES_ON_A_PAGE = 50
ACTIONS = ("destroy", "replace", "change", "add", "import", "move", "forget")
MOST_WORDS = 10


class FilterForm(forms.Form):
    """Which changes of a plan to show; what makes no sense counts as empty."""

    q = forms.CharField(
        required=False,
        label="Search",
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": "Address, type or attribute"}),
    )
    action = forms.ChoiceField(
        required=False, choices=[("", "Any"), *((one, one.capitalize()) for one in ACTIONS)]
    )
    module = forms.CharField(required=False, max_length=501, widget=forms.HiddenInput)
    show = forms.ChoiceField(
        required=False,
        choices=[("", "Changes"), (ChangeKind.DRIFT.value, ChangeKind.DRIFT.label)],
        widget=forms.HiddenInput,
    )

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.full_clean()

    def value(self, name: str) -> str:
        return str(self.cleaned_data.get(name, ""))

    @property
    def is_used(self) -> bool:
        """Whether any filter is set."""
        return any(self.value(name) for name in ("q", "action", "module"))

    @property
    def is_drift(self) -> bool:
        return self.value("show") == ChangeKind.DRIFT

    @property
    def only_in(self) -> str:
        """The only module whose changes are shown, if one is chosen."""
        return self.value("module")

    def chosen(self, run: Run) -> "QuerySet[PlanChange]":
        """Return the changes that the filter lets through."""
        kinds = [ChangeKind.DRIFT] if self.is_drift else [ChangeKind.RESOURCE, ChangeKind.OUTPUT]
        changes = PlanChange.objects.filter(run=run, kind__in=kinds)
        for word in self.value("q").casefold().split()[:MOST_WORDS]:
            changes = changes.filter(search_text__contains=word)
        if action := self.value("action"):
            changes = changes.filter(Q(action=action) | Q(also=action))
        if module := self.only_in:
            below = Q(module__startswith=f"{module}.") | Q(module__startswith=f"{module}[")
            changes = changes.filter(below | Q(module=module))
        return changes


@dataclass(frozen=True)
class Group:
    """Changes of one module, or of outputs, that come one after the other."""

    module: str
    changes: list[PlanChange]
    is_of_outputs: bool


@dataclass(frozen=True)
class PlanPage:
    """A part of a plan, and what leads on.

    `after` is where the next part begins, None on the last one; `filters` is the rest of the
    address's query.
    """

    groups: list[Group]
    after: int | None
    is_first: bool
    filters: str
    has_drift: bool
    destroying_unlisted: int

    @property
    def has_modules(self) -> bool:
        return any(group.module for group in self.groups)


def plan_page(request: HttpRequest, run: Run, form: FilterForm) -> PlanPage:
    """Return the part of a plan that a query asks for."""
    after = request.GET.get("after", "")
    is_first = not is_key(after)
    filters = request.GET.copy()
    for name in ("after", "version"):
        filters.pop(name, None)
    return _page(run, form.chosen(run), 0 if is_first else int(after), filters.urlencode())


def first_page(run: Run) -> PlanPage:
    """Return the first part of a plan, for a page that shows more than that."""
    return _page(run, FilterForm(QueryDict()).chosen(run), 0, "")


def _page(run: Run, changes: "QuerySet[PlanChange]", after: int, filters: str) -> PlanPage:
    drift = PlanChange.objects.filter(run=run, kind=ChangeKind.DRIFT)
    rows = changes.filter(number__gt=after).annotate(has_drift=Exists(drift))
    found = list(rows[: CHANGES_ON_A_PAGE + 1])
    shown = found[:CHANGES_ON_A_PAGE]
    for one in shown:
        one.run = run
    return PlanPage(
        groups=[Group(key[1], list(same), key[0]) for key, same in groupby(shown, _group)],
        after=shown[-1].number if len(found) > len(shown) else None,
        is_first=after == 0,
        filters=filters,
        has_drift=found[0].has_drift if found else drift.exists(),
        destroying_unlisted=_destroying_unlisted(run),
    )


def _group(change: PlanChange) -> tuple[bool, str]:
    return change.kind == ChangeKind.OUTPUT, change.module


def _destroying_unlisted(run: Run) -> int:
    """Return how many resources are destroyed or replaced that a plan's page leaves out."""
    if not run.unlisted:
        return 0
    listed = PlanChange.objects.filter(run=run, kind=ChangeKind.RESOURCE, action__in=DESTROYING)
    return max(0, (run.destroyed or 0) - listed.count())


@dataclass(frozen=True)
class Details:
    """The values of a change, as a page shows them."""

    change: PlanChange
    reason: str
    rows: list[AttributeRow]
    left_out: int
    imported_id: str
    is_kept: bool
    is_unread: bool
    is_hidden: bool


def details_of(change: PlanChange, values: dict[str, Any] | None) -> Details:
    """Return what a page shows of a change; `values` are None once they were removed."""
    known = values or {}
    return Details(
        change=change,
        reason=REASONS.get(change.reason, ""),
        rows=rows_of(known.get("rows", [])),
        left_out=known.get("left_out", 0),
        imported_id=known.get("imported_id", ""),
        is_kept=values is not None,
        is_unread=known.get("unread", False),
        is_hidden=known.get("hidden", False),
    )
