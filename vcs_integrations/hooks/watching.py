"""Read the service hooks on a schedule, and repair them where an admin asked for it.

A provider may stop delivering without notice, and keep nothing for later. Each repair is followed
by a reconciliation, which finds what the hook missed.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from core.leases import Keeping, LeaseLost
from core.transactions import DATABASE_IS_AWAY
from vcs_integrations.hooks.counting import count_deliveries, end_overlap
from vcs_integrations.hooks.notices import notify_of_hooks
from vcs_integrations.hooks.plan import REFUSALS, Reading, carry_out, read_hooks, steps_for
from vcs_integrations.models import (
    HookAction,
    HookTest,
    HookWatch,
    Integration,
    Project,
    Subscription,
)
from vcs_integrations.providers.base import BACKGROUND, Client, Problem, ProviderError

logger = logging.getLogger(__name__)

WATCH_EVERY = timedelta(minutes=5)
RETRY_FIRST_AFTER = timedelta(seconds=30)
RETRY_AT_LEAST_EVERY = timedelta(minutes=15)
# A dead worker's organizations are claimed by others after this.
LEASE = timedelta(minutes=1)
# How long to wait before retrying what the token's owner may not do.
TRY_REFUSED_AGAIN_AFTER = timedelta(days=1)


def watch_next() -> bool:
    """Check the hooks of one organization that is due; False if none is."""
    claimed = HookWatch.objects.select_related("integration").claim_one(LEASE)
    if claimed is None:
        return False
    integration = claimed.integration
    try:
        with Keeping([claimed], LEASE):
            watch(claimed)
    except ProviderError as error:
        logger.warning("The hooks of %s have to wait: %s", integration, error.problem)
    except LeaseLost:
        logger.warning("The hooks of %s are read by another worker, or not any more", integration)
    except DATABASE_IS_AWAY:  # it is claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other organizations
        logger.exception("Checking the hooks of %s failed", integration)
        _retry_later(claimed, "Stackhook failed to check the hooks; its log says why.")
    return True


def watch(claimed: HookWatch) -> None:
    """Read the hooks of an organization and repair those that are kept.

    Raises ProviderError if the provider can't be asked, having stored when to retry, and
    LeaseLost if another worker took over.
    """
    integration = claimed.integration
    count_deliveries(integration)
    try:
        client = integration.client(BACKGROUND)
        reading = read_hooks(integration, client)
        integration.note_good_call()
        trouble = _repair_all(claimed, reading, client)
    except ProviderError as error:
        _retry_later(claimed, str(error), error.retry_after)
        raise
    notify_of_hooks(integration)
    end_overlap(integration)
    Integration.objects.filter(pk=integration.pk).update(hooks_read_at=timezone.now())
    if trouble:
        _retry_later(claimed, str(trouble), trouble.retry_after)
        raise trouble
    if claimed.release(timezone.now() + WATCH_EVERY):
        _note_problem(integration, "")


def prune_record() -> None:
    """Delete old actions and tests."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    HookAction.objects.filter(at__lt=oldest).delete()
    HookTest.objects.filter(asked_at__lt=oldest).delete()


def _repair_all(claimed: HookWatch, reading: Reading, client: Client) -> ProviderError | None:
    """Repair project by project; return the last error that may concern only its project."""
    integration = claimed.integration
    hooks: defaultdict[str, list[Subscription]] = defaultdict(list)
    for hook in integration.subscriptions.present():
        hooks[hook.project_id].append(hook)
    trouble = None
    for pk in integration.projects.to_repair().values_list("pk", flat=True):
        # Reread: an admin may have changed it while the last one was repaired.
        project = Project.objects.select_related("integration").get(pk=pk)
        try:
            _repair(claimed, project, [*hooks[project.external_id], *hooks[""]], reading, client)
        except ProviderError as error:
            if error.problem != Problem.UNAVAILABLE:
                raise
            trouble = error
    return trouble


def _repair(
    claimed: HookWatch,
    project: Project,
    hooks: Sequence[Subscription],
    reading: Reading,
    client: Client,
) -> None:
    """Repair the hooks of a project. Raises ProviderError if the provider is in trouble."""
    refusal = reading.unreadable.get(project.external_id) if project.keeps_hooks else None
    steps = [] if refusal else list(steps_for(project, hooks, reading))
    if not project.keeps_hooks:  # hooks of ours only get a new password there
        steps = [step for step in steps if step.is_about_password]
    try:
        for step in steps:
            _check_lease(claimed)
            try:
                carry_out(project, step, client)
            except ProviderError as error:  # the others may be allowed
                if error.problem not in REFUSALS:
                    raise
                refusal = refusal or error
                if project.has_unseen_hooks:  # the token could not see the next hook either
                    break
    finally:
        if steps:  # reconcile what happened while a hook did not deliver
            project.note_repair()
    if refusal:
        _note_refusal(project, refusal)
    elif project.refusal_cause:
        project.forget_refusal()


def _note_refusal(project: Project, error: ProviderError) -> None:
    """Store what the provider refused; the record says it once."""
    if project.refusal_cause != error.cause:
        project.record(HookAction.Kind.REFUSED, str(error))
    project.refusal_cause, project.refusal_fix = error.cause[:500], error.fix[:500]
    project.retry_at = timezone.now() + TRY_REFUSED_AGAIN_AFTER
    project.save(update_fields=["refusal_cause", "refusal_fix", "retry_at"])


def _check_lease(claimed: HookWatch) -> None:
    """Raise LeaseLost if another worker took over, or the organization was unlinked."""
    claimed.renew(LEASE)
    if not Integration.objects.linked().filter(pk=claimed.integration_id).exists():
        raise LeaseLost


def _retry_later(claimed: HookWatch, problem: str, seconds: int | None = None) -> None:
    """Retry soon, then less and less often, or when the provider says; store why."""
    if claimed.retry_later(RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, seconds):
        _note_problem(claimed.integration, problem)


def _note_problem(integration: Integration, problem: str) -> None:
    Integration.objects.filter(pk=integration.pk).update(hooks_problem=problem[:500])
