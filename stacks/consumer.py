"""What integrations ask of stacks: a `vcs_integrations.consumer.Consumer`."""

from collections.abc import Sequence

from django.db.models import Case, Count, Min, Q, When, Window
from django.db.models.functions import RowNumber

from stacks.deciding.intake import Batch
from stacks.models import Decision, Report, Stack
from stacks.module_registry import module_registry
from vcs_integrations.consumer import Part
from vcs_integrations.models import Delivery, Integration

DECISIONS_SHOWN = 100
STACKS_SHOWN = 20


def begin_batch(integration: Integration, repository_id: str) -> Batch:
    return Batch(integration, repository_id)


def decisions_on(delivery: Delivery) -> Part | None:
    """Return a run or the reason for none, for each stack, and what was decided for modules.

    None where nothing was decided.
    """
    ours = Decision.objects.filter(delivery=delivery).for_pages().order_by("pk")
    found = list(ours[: DECISIONS_SHOWN + 1])
    of_modules = module_registry().decisions_on(delivery)
    if not found:
        return of_modules
    context = {
        "decisions": found[:DECISIONS_SHOWN],
        "has_more": len(found) > DECISIONS_SHOWN,
        "of_modules": of_modules,
    }
    return Part("stacks/overview/decisions_on_delivery.html", context)


def dependents_of(integration: Integration) -> Part:
    """Return the stacks and modules that unlinking an integration would detach."""
    first = list(Stack.objects.of(integration).annotate(count=Window(Count("pk")))[:STACKS_SHOWN])
    context = {
        "count": vars(first[0])["count"] if first else 0,
        "first": first,
        "modules": module_registry().dependents_of(integration),
    }
    return Part("stacks/overview/dependents.html", context)


def backlogs_of(integrations: Sequence[Integration]) -> dict[int, Part]:
    """Return how many reports wait, since when the oldest does, and why they still do."""
    has_failed = Q(failures__gt=0)
    # A subquery for the last problem would be read once for each report.
    last_failed_first = Case(When(has_failed, then="failed_at")).desc(nulls_last=True)
    group = "repository__integration"
    rows = (
        Report.objects.waiting()
        .filter(repository__integration__in=integrations)
        .annotate(
            count=Window(Count("pk"), group),
            since=Window(Min("changed_at"), group),
            failing=Window(Count("pk", filter=has_failed), group),
            place=Window(RowNumber(), group, last_failed_first),
        )
        .filter(place=1)
        .values("repository__integration", "count", "since", "failing", "problem")
    )
    backlogs = {row["repository__integration"]: row for row in rows}
    return {
        one.pk: Part(
            "stacks/reports/backlog.html", {"integration": one, "backlog": backlogs.get(one.pk)}
        )
        for one in integrations
    }
