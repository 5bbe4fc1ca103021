"""What is wrong with linked organizations, workers and stacks, and where it can be fixed."""

from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from dashboard.inbox import Row
from stacks.models import Report, Stack
from vcs_integrations.models import Delivery, Integration, Project
from vcs_integrations.notices.attention import (
    Attention,
    connection_failure,
    token_end,
    unfixed_notices,
)

# The worker claims what is due every few seconds; later than this, it is not running.
WORKER_IS_LATE = timedelta(minutes=5)
PROJECTS_NAMED = 5
STACKS_NAMED = 5
# Once or twice happens; then something has to be fixed.
TRIES_SHOWN = 3


def attention(
    integrations: list[Integration], stuck: Row | None, detached: int, *, reader_is_admin: bool
) -> list[Attention]:
    """Return everything that needs attention, workers first.

    `stuck` is a run that shows that no run worker works, `detached` the number of detached stacks.
    """
    return [
        *_about_run_worker(stuck),
        *(_about_worker(integrations) or _about_waiting(reader_is_admin)),
        *(notice for one in integrations for notice in _about(one, reader_is_admin)),
        *unfixed_notices(integrations, reader_is_admin=reader_is_admin),
        *_about_projects(reader_is_admin),
        *_about_reports(integrations, reader_is_admin),
        *_about_stacks(detached),
    ]


def _about_run_worker(stuck: Row | None) -> list[Attention]:
    """Return that the worker that holds a run is frozen, or that none claims it."""
    if stuck is None:
        return []
    if stuck.worker:
        host, _, number = stuck.worker.rpartition(":")[0].rpartition(":")
        text = f"The run worker on {host} doesn't respond"
        detail = (
            f"It holds run {stuck.number} of {stuck.stack}, and no other worker claims that run. "
            f"The operator restarts it; its process number is {number}."
        )
    else:
        text = "No run worker appears to be running"
        detail = (
            f"Run {stuck.number} of {stuck.stack} could start, and nothing executes it. The "
            "operator starts a worker with “make run”, or alone with “manage.py run_worker”."
        )
    return [Attention(text, detail, stuck.url, "Show the run", is_error=True)]


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
        url = f"{reverse('stacks:list')}?show=detached"
        notices.append(Attention(text, detail, url, "Stacks"))
    gone = list(Stack.objects.exclude(branch_gone_at=None)[: STACKS_NAMED + 1])
    for stack in gone[:STACKS_NAMED]:
        text = f"The tracked branch of {stack.name} is gone"
        detail = f"“{stack.branch}” is not in the repository any more."
        notices.append(Attention(text, detail, stack.get_absolute_url(), "Open the stack"))
    if len(gone) > STACKS_NAMED:
        text = "More stacks lost their tracked branch"
        url = f"{reverse('stacks:list')}?show=gone"
        notices.append(Attention(text, "The list says which.", url, "Stacks"))
    return notices
