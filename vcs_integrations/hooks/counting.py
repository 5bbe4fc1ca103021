"""What deliveries tell of service hooks: which projects deliver, and with which password."""

from datetime import timedelta

from django.db.models import Max, QuerySet
from django.utils import timezone

from vcs_integrations.models import Delivery, Integration, as_uuid
from vcs_integrations.providers.base import Outcome

# A hook on probation repeats for 36 hours what it could not deliver.
OLD_PASSWORD_IS_QUIET_FOR = timedelta(hours=48)


def count_deliveries(integration: Integration) -> None:
    """Note what was delivered since the last time."""
    new = integration.deliveries.filter(pk__gt=integration.counted_delivery)
    newest = new.aggregate(Max("pk"))["pk__max"]
    if newest is None:
        return
    new = new.filter(pk__lte=newest)
    _note_projects(integration, new)
    _note_passwords(integration, new)
    Integration.objects.filter(pk=integration.pk).update(counted_delivery=newest)


def _note_projects(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Note which projects deliver pushes, and which hooks of before are there again."""
    real = new.exclude(outcome=Outcome.TEST).exclude(project_id="").order_by()
    newest = real.values_list("project_id", "event_type").annotate(Max("received_at"))
    for project_id, event_type, at in newest:
        if event_type == integration.provider.push_event:
            integration.projects.filter(external_id=project_id).update(delivered_at=at)
        recreated = integration.subscriptions.of_before().filter(event_type=event_type)
        recreated.filter(project_id=project_id).delete()


def _note_passwords(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Note with which password the hooks made by hand post; those of ours tell it themselves."""
    by_hand = integration.subscriptions.present().filter(is_ours=False)
    ids = filter(None, map(as_uuid, by_hand.values_list("external_id", flat=True)))
    marked = new.filter(subscription_id__in=list(ids)).exclude(password_mark="")
    newest = marked.order_by().values_list("subscription_id", "password_mark").annotate(Max("pk"))
    for subscription_id, mark, _ in sorted(newest, key=lambda row: row[2]):
        by_hand.filter(external_id=str(subscription_id)).update(
            password_mark=mark, has_wrong_password=False
        )


def end_overlap(integration: Integration) -> None:
    """Stop accepting the old password once no hook can come with it any more."""
    quiet_since = timezone.now() - OLD_PASSWORD_IS_QUIET_FOR
    changed_at = integration.password_changed_at
    if not integration.old_password_digest or changed_at is None or changed_at > quiet_since:
        return
    old = integration.deliveries.exclude(password_mark=integration.password_mark)
    if integration.subscriptions.behind(integration.password_mark).exists():
        return
    if not old.filter(received_at__gte=quiet_since).exists():
        forget_old_password(integration, integration.old_password_digest)


def forget_old_password(integration: Integration, digest: str) -> bool:
    """Stop accepting an old password; False where it is not the old one any more."""
    same = Integration.objects.filter(pk=integration.pk, old_password_digest=digest)
    return bool(digest and same.update(old_password_digest=""))
