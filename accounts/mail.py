"""The addresses that notices are mailed to."""

from django.conf import settings
from django.db.models import Q

from accounts.models import User
from accounts.roles import Role


def addresses_of_admins() -> list[str]:
    """Return the e-mail addresses of active admins, each once whatever its case."""
    admins = User.objects.filter(Q(is_superuser=True) | Q(groups__name=Role.ADMIN), is_active=True)
    found: dict[str, str] = {}
    for address in admins.exclude(email="").order_by("pk").values_list("email", flat=True):
        found.setdefault(address.lower(), address)
    return list(found.values())


def mail_obstacle() -> str:
    """Return why no notice is mailed to anybody, in sentences; empty if it is."""
    if not settings.SENDS_EMAIL:
        return (
            "Notices are not sent by e-mail: no mail server is set up. The operator names one in "
            "EMAIL_URL."
        )
    if not addresses_of_admins():
        return "Notices are not sent by e-mail: no admin has an address yet, under People."
    return ""
