"""The webhook password of an integration, and changing it."""

from django.db import transaction

from vcs_integrations.models import Integration, NoticeKind
from vcs_integrations.notices.records import withdraw


def change_webhook_password(integration: Integration, mark: str) -> bool:
    """Create a new webhook password, and accept earlier ones until every hook has it.

    The worker updates our own hooks. `mark` is that of the password which the person saw
    as the present one: returns False, and changes nothing, where that was changed meanwhile.
    """
    with transaction.atomic():
        present = Integration.objects.select_for_update().get(pk=integration.pk)
        if present.password_mark != mark:
            return False
        make_password(present)
        withdraw(present, NoticeKind.DELIVERY_REFUTED)
    return True


def make_password(integration: Integration) -> None:
    """Store a new webhook password; earlier ones stay accepted."""
    unmarked = integration.subscriptions.present().filter(password_mark="")
    unmarked.update(password_mark=integration.password_mark)
    integration.add_webhook_password()
    Integration.objects.filter(pk=integration.pk).make_hooks_due()
