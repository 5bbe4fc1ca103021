"""Mail notices to admins, each once to everyone.

A mail is claimed, so that one worker at a time sends it. Its row says that it is being sent before
the mail server gets it. If sending is interrupted, the mail is not resent: it may have arrived, and
SMTP has no way to ask.
"""

import logging
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import DatabaseError, InterfaceError

from accounts.mail import addresses_of_admins, is_refused_for_good, why_not_mailed
from vcs_integrations.models import MailState, NoticeMail
from vcs_integrations.models.notice import LEASE
from vcs_integrations.notices.records import is_still_so
from vcs_integrations.providers.base import digest

logger = logging.getLogger(__name__)

RETRY_FIRST_AFTER = timedelta(minutes=1)
RETRY_AT_LEAST_EVERY = timedelta(hours=1)


def send_next_mail() -> bool:
    """Send the mail that has been due longest; False if none is."""
    mail = NoticeMail.objects.select_related("notice__integration").claim_one(LEASE)
    if mail is None:
        return False
    _send(mail)
    return True


def _send(mail: NoticeMail) -> None:
    if not is_still_so(mail.notice):
        return _drop(mail, "Its cause was fixed before.")
    if mail.address not in addresses_of_admins():
        return _drop(mail, "The address no longer belongs to an admin.")
    connection = get_connection()
    try:
        connection.open()
        if _note_sending(mail):
            connection.send_messages([_message(mail)])
            mail.held().update(state=MailState.SENT, problem="")
    except (DatabaseError, InterfaceError):  # the row says how far it came
        raise
    except Exception as error:  # smtplib raises no error of its own for text that can't be encoded
        _note_failure(mail, error)
    finally:
        connection.close()
    return None


def _message(mail: NoticeMail) -> EmailMessage:
    notice = mail.notice
    body = (
        f"{notice.subject}.\n\n{notice.text}\n\n"
        f"{settings.PUBLIC_URL}{notice.integration.get_absolute_url()}\n\n"
        f"You get this as an admin of Stackhook.\n"
    )
    host = urlsplit(settings.PUBLIC_URL).hostname
    headers = {
        "Message-ID": f"<notice-{notice.pk}-{digest(mail.address.encode())[:16]}@{host}>",
        "Auto-Submitted": "auto-generated",  # prevents out-of-office replies
    }
    return EmailMessage(f"Stackhook: {notice.subject}", body, to=[mail.address], headers=headers)


def _note_sending(mail: NoticeMail) -> bool:
    """Store that a mail is being sent; False if another worker claimed it meanwhile."""
    mail.state = MailState.SENDING
    return mail.held().update(state=MailState.SENDING) == 1


def _note_failure(mail: NoticeMail, error: Exception) -> None:
    """Store why a mail was not sent, and when to retry, unless it may have been sent."""
    problem = why_not_mailed(error)
    if mail.state == MailState.SENDING and isinstance(error, SMTPServerDisconnected):
        problem = "The connection to the mail server ended while it was sent: it may have arrived."
        mail.held().update(problem=problem)
    elif is_refused_for_good(error):
        _drop(mail, problem)
    else:
        _try_later(mail, problem)
    logger.warning("“%s” could not be mailed: %s", mail.notice, problem)


def _drop(mail: NoticeMail, problem: str) -> None:
    mail.held().update(state=MailState.DROPPED, problem=problem)


def _try_later(mail: NoticeMail, problem: str) -> None:
    """Have a mail sent later: soon, then less and less often."""
    mail.retry_later(
        RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, state=MailState.WAITING, problem=problem
    )
