"""What deliveries reveal about service hooks: which projects deliver, and with which password."""

from datetime import timedelta

from django.db.models import Max, QuerySet
from django.utils import timezone

from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.base import Outcome

# A hook on probation repeats for 36 hours what it could not deliver.
OLD_PASSWORD_IS_QUIET_FOR = timedelta(hours=48)


def count_deliveries(integration: Integration) -> None:
    """Record what was delivered since the last time."""
    new = integration.deliveries.filter(pk__gt=integration.counted_delivery)
    newest = new.aggregate(Max("pk"))["pk__max"]
    if newest is None:
        return
    new = new.filter(pk__lte=newest)
    _note_projects(integration, new)
    _note_passwords(integration, new)
    _note_seen(integration, new)
    Integration.objects.filter(pk=integration.pk).update(counted_delivery=newest)


def _note_projects(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Record which projects deliver pushes, and which hooks from before unlinking are back."""
    real = new.exclude(outcome=Outcome.TEST).exclude(project_id="").order_by()
    newest = real.values_list("project_id", "event_type").annotate(Max("received_at"))
    for project_id, event_type, at in newest:
        if event_type == integration.provider.push_event:
            integration.projects.filter(external_id=project_id).update(delivered_at=at)
        hook = integration.provider.hook_for(event_type) or event_type
        recreated = integration.subscriptions.of_before().filter(event_type=hook)
        recreated.filter(project_id=project_id).delete()


def _note_passwords(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Record which password hooks made by hand post with; our own hooks name theirs."""
    by_hand = integration.subscriptions.present().filter(is_ours=False)
    ids = by_hand.values("external_id")
    marked = new.filter(subscription_id__in=ids).exclude(password_mark="")
    newest = marked.order_by().values_list("subscription_id", "password_mark").annotate(Max("pk"))
    for subscription_id, mark, _ in sorted(newest, key=lambda row: row[2]):
        by_hand.filter(external_id=subscription_id).update(
            password_mark=mark, has_wrong_password=False
        )


def _note_seen(integration: Integration, new: QuerySet[Delivery]) -> None:
    """Record when a delivery last came with each webhook password."""
    marked = new.exclude(password_mark="").order_by()
    for mark, at in marked.values_list("password_mark").annotate(Max("received_at")):
        integration.webhook_secrets.filter(digest__startswith=mark).update(seen_at=at)


def end_overlap(integration: Integration) -> None:
    """Stop accepting old passwords once no hook can use them any more."""
    quiet_since = timezone.now() - OLD_PASSWORD_IS_QUIET_FOR
    if not integration.accepts_old_password:
        return
    if integration.valid_secrets[0].valid_from > quiet_since:
        return
    if integration.subscriptions.behind(integration.password_mark).exists():
        return
    if not integration.old_secrets.filter(seen_at__gte=quiet_since).exists():
        integration.old_secrets.end()
