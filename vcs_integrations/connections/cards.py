"""What the pages show of integrations, read with a constant number of queries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery

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

    @property
    def state(self) -> tuple[object, ...]:
        """What changes of it while nobody edits it, beside ages."""
        one = self.integration
        last = one.succeeded_at, vars(one)["last_delivery_at"]
        return one.pk, one.problem, *last, self.hooks, self.reconciliation, self.backlog.context


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
        _with_reconciliation(integrations.with_last_delivery())
        .select_related("duplicate_of", "endpoint", "hook_watch", "checkup")
        .prefetch_related(*NEEDED, secrets)
    )
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
            reconciliation=_reconciliation(one),
            hooks=_hook_counts(one),
        )
        for one in found
    ]


def _with_reconciliation(integrations: IntegrationQuerySet) -> IntegrationQuerySet:
    """Return integrations with how far their repositories are read, of those that stacks use."""
    used = Repository.objects.in_use().filter(integration=OuterRef("pk")).order_by()
    group = used.values("integration_id")
    count = group.annotate(count=Count("pk")).values("count")
    failing = group.annotate(count=Count("pk", filter=Q(failures__gt=0))).values("count")
    unread_first = used.order_by(F("reconciled_at").asc(nulls_first=True))
    return integrations.annotate(
        used_repositories=Subquery(count),
        failing_repositories=Subquery(failing),
        read_since=Subquery(unread_first.values("reconciled_at")[:1]),
    )


def _reconciliation(found: Integration) -> Reconciliation | None:
    """Return how far the repositories are read; None where stacks use none."""
    read = vars(found)
    if not read["used_repositories"]:
        return None
    return Reconciliation(
        read["used_repositories"], read["failing_repositories"], read["read_since"]
    )


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
