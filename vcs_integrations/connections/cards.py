"""What the pages show of integrations, read with a constant number of queries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Min, Prefetch, Q, QuerySet

from vcs_integrations.consumer import Part, consumer
from vcs_integrations.hooks.overview import NEEDED
from vcs_integrations.models import Integration, Repository, Subscription, WebhookSecret
from vcs_integrations.models.integration import IntegrationQuerySet
from vcs_integrations.providers.base import RemoteSubscription

PROJECTS_ON_A_CARD = 12
MOST_PROJECTS = 300


@dataclass
class Card:
    """What the page shows of one integration; the password only when it was asked for."""

    integration: Integration
    backlog: Part
    projects: list[tuple[str, str]] = field(default_factory=list)  # name, service-hooks page
    more_projects: list[tuple[str, str]] = field(default_factory=list)
    hooks_to_recreate: list["HookOfProject"] = field(default_factory=list)
    reconciliation: "Reconciliation | None" = None
    hooks: "HookCounts | None" = None
    webhook_password: str = field(default="", repr=False)  # a log may show a card
    password_problem: str = ""

    @property
    def lacks_hooks(self) -> bool:
        """Whether an organization that answers has no hooks, and nobody decided so."""
        one = self.integration
        if self.hooks or self.hooks_to_recreate or one.problem or one.duplicate_of:
            return False
        return not any(project.is_left_alone for project in one.projects.all())


@dataclass(frozen=True)
class Reconciliation:
    """How many repositories stacks use, since when all are read, and how many can't be just now.

    `since` is None while some are still to be read for the first time.
    """

    repositories: int
    failing: int
    since: datetime | None


@dataclass(frozen=True)
class HookCounts:
    """How many hooks there are, and how many of them don't work."""

    count: int
    broken: int


@dataclass(frozen=True)
class HookOfProject:
    """A service hook in the words of the provider's pages, with the page to set it up."""

    event: str
    project: str
    url: str


def cards_of(integrations: IntegrationQuerySet) -> list[Card]:
    """Return the cards of integrations, with a constant number of queries."""
    valid = WebhookSecret.objects.valid().defer("value")
    valid = WebhookSecret.objects.valid().defer("value")
    secrets: Prefetch[str, QuerySet[WebhookSecret], str] = Prefetch(
        "webhook_secrets", valid, to_attr="valid_secrets"
    )
    found = list(
        integrations.with_last_delivery()
        .select_related("duplicate_of", "endpoint", "hook_watch", "checkup")
        .prefetch_related(*NEEDED, secrets)
    )
    reconciliations = _reconciliations(found)
    backlogs = consumer().backlogs_of(found)
    return [
        Card(
            integration=one,
            backlog=backlogs[one.pk],
            projects=(pages := pages_of(one))[:PROJECTS_ON_A_CARD],
            more_projects=pages[PROJECTS_ON_A_CARD:MOST_PROJECTS],
            hooks_to_recreate=hooks_of_projects(
                one, [hook for hook in one.subscriptions.all() if hook.is_of_before]
            ),
            reconciliation=reconciliations.get(one.pk),
            hooks=_hook_counts(one),
        )
        for one in found
    ]


def _reconciliations(integrations: list[Integration]) -> dict[int, Reconciliation]:
    """Return how far the repositories of integrations are read, of those that stacks use."""
    rows = (
        Repository.objects.in_use()
        .filter(integration__in=integrations)
        .order_by()
        .values("integration_id")
        .annotate(
            count=Count("pk"),
            failing=Count("pk", filter=Q(failures__gt=0)),
            unread=Count("pk", filter=Q(reconciled_at=None)),
            since=Min("reconciled_at"),
        )
    )
    return {
        row["integration_id"]: Reconciliation(
            row["count"], row["failing"], None if row["unread"] else row["since"]
        )
        for row in rows
    }


def _hook_counts(found: Integration) -> HookCounts | None:
    """Return how many hooks post to an integration; None where none does."""
    present = [hook for hook in found.subscriptions.all() if hook.is_present]
    broken = sum(not hook.works for hook in present)
    return HookCounts(len(present), broken) if present else None


def pages_of(found: Integration) -> list[tuple[str, str]]:
    """Return the projects that are there by name, each with the page of its service hooks."""
    return [
        (project.name, found.provider.service_hooks_url(found.organization_url, project.name))
        for project in found.projects.all()
        if not project.is_gone
    ]


def hooks_of_projects(
    found: Integration, hooks: Sequence[Subscription] | Sequence[RemoteSubscription]
) -> list[HookOfProject]:
    """Return hooks in the words of the provider's pages."""
    names = {project.external_id: project.name for project in found.projects.all()}
    return [
        HookOfProject(
            event=found.hook_name(hook.event_type),
            project=(name := names.get(hook.project_id, hook.project_id)),
            url=found.provider.service_hooks_url(found.organization_url, name),
        )
        for hook in hooks
    ]
