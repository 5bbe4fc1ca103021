"""The webhook password of an integration, and changing it."""

from django.db import transaction
from django.utils import timezone

from vcs_integrations.models import Integration, NoticeKind
from vcs_integrations.notices.records import withdraw


def change_webhook_password(integration: Integration, mark: str) -> bool:
    """Make a new webhook password, and accept the old one, too, until every hook has the new.

    The worker gives it to the hooks of ours. `mark` is that of the password which the person saw
    as the present one: returns False, and changes nothing, where that was changed meanwhile.
    Raises ProviderError where the stored secrets can't be read.
    """
    with transaction.atomic():
        present = Integration.objects.select_for_update().get(pk=integration.pk)
        if present.password_mark != mark:
            return False
        make_password(present, present.read_credentials().token)
        withdraw(present, NoticeKind.DELIVERY_REFUTED)
    return True


def make_password(integration: Integration, token: str) -> None:
    """Store a token with a new webhook password, beside which the old one is accepted."""
    old, mark = integration.webhook_password_digest, integration.password_mark
    integration.subscriptions.present().filter(password_mark="").update(password_mark=mark)
    integration.give_credentials(token)
    Integration.objects.filter(pk=integration.pk).update(
        old_password_digest=old, password_changed_at=timezone.now()
    )
    Integration.objects.filter(pk=integration.pk).hurry_watch()
