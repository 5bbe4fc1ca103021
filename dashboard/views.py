"""The start page: what needs attention, and where to go on."""

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.roles import is_admin
from stacks.models import Report, Run, Stack
from vcs_integrations.models import Delivery, Integration, Project, Subscription
from vcs_integrations.notices.attention import (
    Attention,
    connection_failure,
    token_end,
    unfixed_notices,
)
from vcs_integrations.providers import PROVIDERS

# The worker claims what is due every few seconds; later than this, it is not running.
WORKER_IS_LATE = timedelta(minutes=5)
PROJECTS_NAMED = 5
STACKS_NAMED = 5
# Once or twice happens; then something has to be fixed.
TRIES_SHOWN = 3


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    of_before = Subscription.objects.of_before().filter(integration=OuterRef("pk"))
    linked = Integration.objects.linked().with_last_delivery().select_related("duplicate_of")
    integrations = list(linked.annotate(has_old_hooks=Exists(of_before)))
    reader_is_admin = is_admin(request)
    stacks = Stack.objects.with_repository()
    counts = Stack.objects.counts()
    hooks_are_missing = any(_has_hooks_to_recreate(one) for one in integrations)
    context = {
        "integrations": integrations,
        "providers": [provider.name for provider in PROVIDERS.values()],
        "stack_count": counts["all"],
        "newest_stacks": stacks.order_by("-created_at")[:5],
        "notices": [
            *(_about_worker(integrations) or _about_waiting(reader_is_admin)),
            *(notice for one in integrations for notice in _about(one, reader_is_admin)),
            *unfixed_notices(integrations, reader_is_admin=reader_is_admin),
            *_about_projects(reader_is_admin),
            *_about_reports(integrations, reader_is_admin),
            *_about_stacks(counts["detached"]),
        ],
        "left_alone": Project.objects.left_alone().count(),
        "hooks_are_missing": hooks_are_missing,
        "receives_webhooks": not hooks_are_missing and any(map(_receives, integrations)),
    }
    return render(request, "dashboard/home.html", context)


def _about(integration: Integration, reader_is_admin: bool) -> list[Attention]:
    """Return what is wrong with an integration; members can't fix it, but should know."""
    url = reverse("integrations:list")
    found: list[Attention | None] = []
    if integration.duplicate_of:
        text = f"{integration.organization_url} is the same organization as another link"
        detail = f"“{integration.duplicate_of.name}” is used. Unlink one of them."
        found.append(Attention(text, detail, url, "VCS providers", is_error=True))
    else:
        found.append(connection_failure(integration, reader_is_admin=reader_is_admin))
    if _has_hooks_to_recreate(integration):
        text = "Service hooks have to be set up again"
        detail = f"{integration} was unlinked meanwhile, and its webhook password is new."
        if reader_is_admin:
            card = integration.get_absolute_url()
            found.append(Attention(text, detail, card, "Show the service hooks"))
        else:
            detail = f"{detail} An admin sets them up."
            found.append(Attention(text, detail, url, "VCS providers"))
    found.append(token_end(integration, reader_is_admin=reader_is_admin))
    return list(filter(None, found))


def _has_hooks_to_recreate(integration: Integration) -> bool:
    """Say whether hooks from before it was unlinked have not been recreated."""
    return not integration.duplicate_of and bool(vars(integration)["has_old_hooks"])


def _receives(integration: Integration) -> bool:
    """Say whether something was delivered since it was linked."""
    last_at = vars(integration)["last_delivery_at"]
    return last_at is not None and last_at >= integration.linked_at


def _about_projects(reader_is_admin: bool) -> list[Attention]:
    """Return which projects have stacks and no service hooks."""
    found = []
    for project in Project.objects.without_hooks().select_related("integration")[:PROJECTS_NAMED]:
        text = f"The project {project} in {project.integration} has no service hooks"
        detail = "Stacks use it; without webhooks its pushes are found within ten minutes only."
        if reader_is_admin:
            page = f"{project.integration.get_absolute_url()}#hooks"
            found.append(Attention(text, detail, page, "Create hooks"))
        else:
            detail = f"{detail} An admin creates them."
            found.append(Attention(text, detail, reverse("integrations:list"), "VCS providers"))
    return found


def _about_reports(integrations: list[Integration], reader_is_admin: bool) -> list[Attention]:
    """Return to which organizations reports have failed several times."""
    well = [one for one in integrations if not one.problem]
    failing = Report.objects.waiting().filter(failures__gte=TRIES_SHOWN)
    rows = failing.filter(repository__integration__in=well).order_by("failed_at")
    problems = dict(rows.values_list("repository__integration", "problem"))
    return [
        Attention(
            f"Runs can't be reported to {one}",
            f"{problems[one.pk]} Stackhook retries automatically.",
            reverse("stacks:reports", args=[one.pk])
            if reader_is_admin
            else reverse("integrations:list"),
            "Show the reports" if reader_is_admin else "VCS providers",
        )
        for one in well
        if one.pk in problems
    ]


def _about_worker(integrations: list[Integration]) -> list[Attention]:
    late = timezone.now() - WORKER_IS_LATE
    if not any(one.due_at and one.due_at < late and not one.is_held for one in integrations):
        return []
    return [
        Attention(
            "The background worker doesn't appear to be running",
            "Nothing is retried or refreshed until it runs. The operator starts it with "
            "“make run”, or alone with “manage.py background_worker”.",
            reverse("integrations:list"),
            "VCS providers",
            is_error=True,
        )
    ]


def _about_waiting(reader_is_admin: bool) -> list[Attention]:
    """Return that deliveries wait too long: no worker claims them, or the provider is silent."""
    late = timezone.now() - WORKER_IS_LATE
    waiting = Delivery.objects.waiting().filter(received_at__lt=late).order_by("due_at")
    oldest = waiting.select_related("integration").defer("body", "headers").first()
    if oldest is None:
        return []
    if oldest.due_at and oldest.due_at < late:
        text = "Deliveries wait to be processed"
        detail = (
            "The background worker is far behind, or is not running. The operator starts it with "
            "“make run”, or alone with “manage.py background_worker”."
        )
    else:
        text = f"Deliveries of {oldest.integration} wait"
        detail = f"{oldest.reason.rstrip('.')}. Stackhook retries automatically."
    if not reader_is_admin:
        return [Attention(text, detail, reverse("integrations:list"), "VCS providers")]
    list_of_waiting = (
        f"{reverse('integrations:deliveries', args=[oldest.integration_id])}?outcome=stored"
    )
    return [Attention(text, detail, list_of_waiting, "Show the deliveries")]


def _about_stacks(detached: int) -> list[Attention]:
    notices = []
    if detached:
        text = f"{detached} {'stack is' if detached == 1 else 'stacks are'} detached"
        detail = "The organization was unlinked. Link it again, or choose another repository."
        notices.append(Attention(text, detail, reverse("stacks:list"), "Stacks"))
    gone, drifted = Stack.objects.exclude(branch_gone_at=None), Stack.objects.with_drift()
    found = (gone | drifted).select_related("drift_run")
    stacks = list(found.defer("drift_run__plan", "drift_run__errors")[: STACKS_NAMED + 1])
    for stack in stacks[:STACKS_NAMED]:
        if stack.branch_gone_at:
            text = f"The tracked branch of {stack.name} is gone"
            detail = f"“{stack.branch}” is not in the repository any more."
            notices.append(Attention(text, detail, stack.get_absolute_url(), "Open the stack"))
        if stack.drift_run and stack.drift_run.has_drift:
            notices.append(_about_drift(stack, stack.drift_run))
    if len(stacks) > STACKS_NAMED:
        text = "More stacks have drift, or lost their branch"
        notices.append(Attention(text, "The list says which.", reverse("stacks:list"), "Stacks"))
    return notices


def _about_drift(stack: Stack, run: Run) -> Attention:
    """Return what was changed outside, as the newest comparison of a stack found."""
    run.stack = stack
    text = f"{stack.name} has drift: {run.drift_text}"
    detail = "What there is differs from what was applied. A tracked run plans how to undo that."
    return Attention(text, detail, run.get_absolute_url(), "Show the drift")
