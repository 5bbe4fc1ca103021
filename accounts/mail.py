"""The addresses that notices are mailed to, and why a mail was not sent, in words."""

from smtplib import SMTPAuthenticationError, SMTPRecipientsRefused, SMTPResponseException

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


def is_refused_for_good(error: Exception) -> bool:
    """Say whether the mail server refused the address in a way that trying again won't change."""
    return isinstance(error, SMTPRecipientsRefused) and _codes(error)[0] >= 500


def why_not_mailed(error: Exception) -> str:
    """Return a failure as a sentence; its own text could hold anything, even a password."""
    if isinstance(error, SMTPAuthenticationError):
        return f"The mail server refused the sign-in ({error.smtp_code})."
    if isinstance(error, SMTPResponseException):
        return f"The mail server refused it ({error.smtp_code})."
    if isinstance(error, SMTPRecipientsRefused):
        return f"The mail server refused the address ({_codes(error)[0]})."
    if isinstance(error, OSError):
        return f"The mail server could not be reached ({type(error).__name__})."
    return (
        f"It could not be encoded as a mail ({type(error).__name__}): check the address, and the "
        f"user name and password in EMAIL_URL."
    )


def _codes(error: SMTPRecipientsRefused) -> list[int]:
    return [code for code, _ in error.recipients.values()]
