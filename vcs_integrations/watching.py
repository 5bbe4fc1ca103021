"""Watching over the service hooks, on a schedule: read, mended, and what they delivered counted.

Azure DevOps tells nobody when it stops delivering, and keeps nothing for later (product
documentation, "Troubleshoot service hooks"). Whatever a hook missed until it was mended is
found by the reconciliation that is asked for then.
"""

import logging
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from vcs_integrations.backoff import wait_after
from vcs_integrations.hook_overview import overview_of
from vcs_integrations.models import (
    Delivery,
    HookAction,
    HookTest,
    Integration,
    NoticeKind,
    Project,
    Repository,
    Subscription,
)
from vcs_integrations.notices import give, withdraw
from vcs_integrations.providers.base import BACKGROUND, Client, Outcome, ProviderError
from vcs_integrations.service_hooks import Reading, mend, read_hooks, steps_for

logger = logging.getLogger(__name__)

WATCH_EVERY = timedelta(minutes=5)
RETRY_FIRST_AFTER = timedelta(seconds=30)
RETRY_AT_LEAST_EVERY = timedelta(minutes=15)
# A killed worker's integrations are taken up by others after this.
LEASE = timedelta(minutes=2)
# What the token's owner may not do is not asked for again and again.
TRY_REFUSED_AGAIN_AFTER = timedelta(days=1)
# A push is told within seconds; clocks differ by less than this.
DELIVERIES_MAY_TAKE = timedelta(minutes=15)
CLOCKS_DIFFER_BY = timedelta(minutes=5)
SILENCE_FIX = (
    "Reconciliation found a push that no webhook told of, and the project used to deliver. "
    "Test one of its hooks: that shows what keeps webhooks away."
)
# Made anew so many times in a day, a hook has a cause that this does not mend.
TOO_OFTEN = 3
# A hook on probation repeats for 36 hours what it could not deliver.
OLD_PASSWORD_IS_QUIET_FOR = timedelta(hours=48)


def watch_next() -> bool:
    """Look after the hooks of one organization that is due; False where none is."""
    integration = Integration.objects.due_for_watch().order_by("watch_at").first()
    if integration is None:
        return False
    if _take(integration):
        try:
            watch(integration)
        except ProviderError as error:
            logger.warning("The hooks of %s have to wait: %s", integration, error.problem)
        except (OperationalError, InterfaceError):  # it is taken again once the database is well
            raise
        except Exception:  # a fault of ours must not hold up the other organizations
            logger.exception("Looking after the hooks of %s failed", integration)
            _postpone(integration, "Stackhook failed to look after the hooks; its log says why.")
    return True


def watch(integration: Integration) -> None:
    """Read the hooks and mend those that are kept.

    Raises ProviderError where the provider can't be asked, having noted when to try again.
    """
    _count_deliveries(integration)
    try:
        client = integration.client(BACKGROUND)
        reading = read_hooks(integration, client)
        for project in integration.projects.to_mend().select_related("integration"):
            _keep(project, reading, client)
            _extend_lease(integration)
    except ProviderError as error:
        _postpone(integration, str(error), error.retry_after)
        raise
    _note_silence(integration)
    _tell_of_broken_hooks(integration)
    _end_overlap(integration)
    Integration.objects.filter(pk=integration.pk).update(hooks_read_at=timezone.now())
    _finish(integration, timezone.now() + WATCH_EVERY, failures=0)


def prune_record() -> None:
    """Delete what was done and tested long ago."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    HookAction.objects.filter(at__lt=oldest).delete()
    HookTest.objects.filter(asked_at__lt=oldest).delete()


def _keep(project: Project, reading: Reading, client: Client) -> None:
    """Mend the hooks of a project. Raises ProviderError where the provider is in trouble."""
    if unreadable := reading.unreadable.get(project.external_id):
        _note_refusal(project, unreadable)
        return
    steps = list(steps_for(project, _hooks_of(project), reading))
    if not project.keeps_hooks:  # those of ours there get a new password, and no more
        steps = [step for step in steps if step.hook and step.hook.has_old_password]
    try:
        mend(project, steps, client)
    except ProviderError as error:
        if error.is_transient:
            raise
        _note_refusal(project, error)
    else:
        project.forget_refusal()
        withdraw(project.integration, NoticeKind.HOOKS_REFUSED, key=project.external_id)
    finally:
        if steps:  # what happened while a hook did not deliver
            project.reconcile()


def _hooks_of(project: Project) -> list[Subscription]:
    present = project.integration.subscriptions.present().select_related("integration")
    return list(present.filter(project_id__in=[project.external_id, ""]))


def _note_refusal(project: Project, error: ProviderError) -> None:
    """Note what the provider refused; the record and people are told once."""
    if project.refusal_cause != error.cause:
        HookAction.objects.create(
            integration=project.integration,
            project_name=project.name,
            kind=HookAction.Kind.REFUSED,
            reason=str(error)[:500],
        )
    project.refusal_cause, project.refusal_fix = error.cause[:500], error.fix[:500]
    project.retry_at = timezone.now() + TRY_REFUSED_AGAIN_AFTER
    project.save(update_fields=["refusal_cause", "refusal_fix", "retry_at"])
    subject = f"The service hooks of {project} in {project.integration} can't be kept"
    give(project.integration, NoticeKind.HOOKS_REFUSED, project.external_id, subject, str(error))


def _count_deliveries(integration: Integration) -> None:
    """Note what was delivered since the last time: by which projects, with which passwords."""
    new = integration.deliveries.filter(pk__gt=integration.counted_delivery)
    newest = new.aggregate(Max("pk"))["pk__max"]
    if newest is None:
        return
    new = new.filter(pk__lte=newest)
    real = new.exclude(outcome=Outcome.TEST).exclude(project_id="").order_by()
    for project_id, event_type, at in real.values_list("project_id", "event_type").annotate(
        Max("received_at")
    ):
        integration.projects.filter(external_id=project_id).update(delivered_at=at)
        made_anew = integration.subscriptions.of_before().filter(event_type=event_type)
        made_anew.filter(project_id=project_id).delete()
    _note_passwords(integration, new)
    Integration.objects.filter(pk=integration.pk).update(counted_delivery=newest)


def _note_passwords(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Note with which password the hooks made by hand post; those of ours tell it themselves."""
    by_hand = integration.subscriptions.present().filter(is_ours=False)
    ids = [key for key in by_hand.values_list("external_id", flat=True) if _is_uuid(key)]
    marked = new.filter(subscription_id__in=ids).exclude(password_mark="")
    newest = marked.order_by().values_list("subscription_id", "password_mark").annotate(Max("pk"))
    for subscription_id, mark, _ in sorted(newest, key=lambda row: row[2]):
        by_hand.filter(external_id=str(subscription_id)).update(password_mark=mark)


def _note_silence(integration: Integration) -> None:
    """Note the projects that used to deliver and did not tell of the newest push."""
    used = Repository.objects.to_reconcile().filter(integration=integration).order_by()
    pushed = dict(used.values_list("project_id").annotate(Max("pushed_at")))
    late = timezone.now() - DELIVERIES_MAY_TAKE
    for project in integration.projects.filter(is_left_alone=False):
        newest = pushed.get(project.external_id)
        if newest is None or project.delivered_at is None:
            continue
        is_silent = project.delivered_at < newest - CLOCKS_DIFFER_BY
        if is_silent and not project.silent_since and newest < late:
            integration.projects.filter(pk=project.pk).update(silent_since=newest)
            subject = f"No webhook comes from {project} in {integration} any more"
            give(integration, NoticeKind.PROJECT_SILENT, project.external_id, subject, SILENCE_FIX)
        elif project.silent_since and not is_silent:
            integration.projects.filter(pk=project.pk).update(silent_since=None)
            withdraw(integration, NoticeKind.PROJECT_SILENT, key=project.external_id)


def _tell_of_broken_hooks(integration: Integration) -> None:
    """Tell of hooks by which nothing comes: that nobody keeps, or that break again and again."""
    often = _broken_often(integration)
    for one in overview_of(integration).used:
        project, told = one.project, one.dead
        if project.name in often:
            subject = f"The service hooks of {project} in {integration} keep breaking"
            text = "They were made anew several times since yesterday. Test one: it shows why."
        elif told and not project.keeps_hooks and not project.is_left_alone:
            subject = f"A service hook of {project} in {integration} does not deliver"
            text = f"{told[0].why}. Press Create hooks there, and Stackhook makes it anew."
        else:
            withdraw(integration, NoticeKind.HOOKS_UNWELL, key=project.external_id)
            continue
        give(integration, NoticeKind.HOOKS_UNWELL, project.external_id, subject, text)


def _broken_often(integration: Integration) -> set[str]:
    """Return the names of projects one of whose hooks was made anew often of late."""
    anew = integration.hook_actions.filter(
        kind=HookAction.Kind.MADE_ANEW, at__gte=timezone.now() - timedelta(days=1)
    )
    counted = anew.order_by().values("project_name", "event_type").annotate(count=Count("pk"))
    return {row["project_name"] for row in counted if row["count"] >= TOO_OFTEN}


def _end_overlap(integration: Integration) -> None:
    """Stop accepting the old password once no hook can come with it any more."""
    if not integration.old_password_digest:
        return
    behind = integration.subscriptions.present().exclude(password_mark=integration.password_mark)
    old = integration.deliveries.exclude(password_mark=integration.password_mark)
    quiet_since = timezone.now() - OLD_PASSWORD_IS_QUIET_FOR
    if (
        integration.password_changed_at
        and integration.password_changed_at < quiet_since
        and not behind.exists()
        and not old.filter(received_at__gte=quiet_since).exists()
    ):
        Integration.objects.filter(pk=integration.pk).update(old_password_digest="")


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _take(integration: Integration) -> bool:
    """Take an integration, so that no other worker does meanwhile; False when one does."""
    free = Integration.objects.filter(pk=integration.pk, watch_lease=integration.watch_lease)
    return free.update(watch_lease=timezone.now() + LEASE) == 1


def _extend_lease(integration: Integration) -> None:
    Integration.objects.filter(pk=integration.pk).update(watch_lease=timezone.now() + LEASE)


def _finish(
    integration: Integration, next_at: datetime, *, failures: int, problem: str = ""
) -> None:
    """Note when to look again, unless somebody asked for that meanwhile."""
    done = Integration.objects.filter(pk=integration.pk)
    done.filter(watch_at=integration.watch_at).update(watch_at=next_at)
    done.update(watch_lease=None, watch_failures=failures, hooks_problem=problem[:500])


def _postpone(integration: Integration, problem: str, seconds: int | None = None) -> None:
    """Note when to try again: soon, then less and less often, or when the provider said."""
    failures = integration.watch_failures + 1
    wait = wait_after(failures - 1, RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY)
    wait = max(wait, timedelta(seconds=seconds or 0))
    _finish(integration, timezone.now() + wait, failures=failures, problem=problem)
