"""Notices about service hooks: refused, not delivering, breaking, and gone silent.

Each is sent once until it is fixed. Projects whose hooks are not managed get none.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from vcs_integrations.hooks.overview import ProjectHooks, overview_of
from vcs_integrations.models import (
    REMOVED_BY_SOMEBODY,
    HookAction,
    Integration,
    NoticeKind,
    Project,
    Repository,
)
from vcs_integrations.notices.records import notify, withdraw

# A push is delivered within seconds; clocks differ by less than this.
DELIVERIES_MAY_TAKE = timedelta(minutes=15)
CLOCKS_DIFFER_BY = timedelta(minutes=5)
# A hook that is repaired this often in a day has a cause that repairs don't remove.
TOO_OFTEN = 3
MAILED_AT_ONCE = 3
Said = tuple[str, str]  # subject and text


def notify_of_hooks(integration: Integration) -> None:
    """Notify admins of what is wrong now, and withdraw what is fixed."""
    hooks = [one for one in overview_of(integration).used if not one.project.is_left_alone]
    _notify(integration, NoticeKind.HOOKS_REFUSED, _refused(integration, hooks))
    _notify(integration, NoticeKind.HOOKS_UNWELL, _unwell(integration, hooks))
    silent = _silent(integration, hooks)
    _note_silence(integration, silent)
    _notify(integration, NoticeKind.PROJECT_SILENT, _in_words(integration, silent))


def _notify(integration: Integration, kind: NoticeKind, current: Mapping[str, Said]) -> None:
    """Notify of what is new and withdraw what is fixed; of many at once only a few are mailed."""
    unfixed = integration.notices.unfixed().filter(kind=kind)
    known = set(unfixed.values_list("key", flat=True))
    new = [key for key in current if key not in known]
    for number, key in enumerate(new, start=1):
        subject, text = current[key]
        if number == MAILED_AT_ONCE < len(new):
            text = f"{text} The same goes for {len(new) - number} more: see the integration's page."
        notify(integration, kind, key, subject, text, by_mail=number <= MAILED_AT_ONCE)
    for key in known - current.keys():
        withdraw(integration, kind, key=key)


def _refused(integration: Integration, hooks: list[ProjectHooks]) -> dict[str, Said]:
    return {
        one.project.external_id: (
            f"The service hooks of {one.project} in {integration} can't be kept",
            f"{one.project.refusal_cause} {one.project.refusal_fix}",
        )
        for one in hooks
        if one.project.refusal_cause
    }


def _unwell(integration: Integration, hooks: list[ProjectHooks]) -> dict[str, Said]:
    """Return what does not deliver and is not kept, and what breaks again and again."""
    often = _repaired_often(integration)
    found = {}
    for one in hooks:
        project = one.project
        if project.external_id in often:
            subject = f"The service hooks of {project} in {integration} keep breaking"
            text = "They were repaired several times since yesterday. Test one: it may show why."
            found[project.external_id] = (subject, text)
        elif one.dead and not project.keeps_hooks:
            subject = f"A service hook of {project} in {integration} does not deliver"
            text = f"{one.dead[0].why}. Press Create hooks there, and Stackhook creates it again."
            found[project.external_id] = (subject, text)
    return found


def _repaired_often(integration: Integration) -> set[str]:
    """Return the ids of projects with a hook that was repaired often recently."""
    lately = integration.hook_actions.filter(at__gte=timezone.now() - timedelta(days=1))
    kinds = [HookAction.Kind.RECREATED, HookAction.Kind.CORRECTED]
    repaired = lately.filter(Q(kind__in=kinds) | Q(reason=REMOVED_BY_SOMEBODY))
    counted = repaired.order_by().values("project_id", "event_type").annotate(count=Count("pk"))
    return {row["project_id"] for row in counted if row["count"] >= TOO_OFTEN}


def _silent(integration: Integration, hooks: list[ProjectHooks]) -> dict[Project, datetime]:
    """Return the projects that used to deliver, but not their newest push, with its time.

    Pushes from before a repair don't count, and neither do hooks that are known not to work.
    """
    used = Repository.objects.to_reconcile().filter(integration=integration).order_by()
    pushed = dict(used.values_list("project_id").annotate(Max("pushed_at")))
    late = timezone.now() - DELIVERIES_MAY_TAKE
    return {
        one.project: newest
        for one in hooks
        if (newest := pushed.get(one.project.external_id))
        and (heard := _last_heard(integration, one.project))
        and heard + CLOCKS_DIFFER_BY < newest
        and (one.project.silent_since or newest < late)
        and not one.is_known_to_miss_pushes
    }


def _last_heard(integration: Integration, project: Project) -> datetime | None:
    """Return until when a project delivered or had a reason not to; None if it never did."""
    if project.delivered_at is None:
        return None
    repaired_at = project.repaired_at or integration.linked_at
    return max(project.delivered_at, repaired_at, integration.linked_at)


def _note_silence(integration: Integration, silent: Mapping[Project, datetime]) -> None:
    ended = integration.projects.exclude(silent_since=None).exclude(
        pk__in=[one.pk for one in silent]
    )
    ended.update(silent_since=None)
    for project, since in silent.items():
        integration.projects.filter(pk=project.pk, silent_since=None).update(silent_since=since)


def _in_words(integration: Integration, silent: Collection[Project]) -> dict[str, Said]:
    return {
        project.external_id: (
            f"No webhook comes from {project} in {integration} any more",
            "Reconciliation found a push that no webhook reported, and the project used to "
            "deliver. Test one of its hooks to see what keeps webhooks away.",
        )
        for project in silent
    }
