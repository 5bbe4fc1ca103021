"""Sending messages that are due, and trying again those that failed.

What is posted may arrive twice, where a worker is killed: it has the same id then. Of an e-mail the
row says that it is being sent before the mail server gets it; if sending is interrupted, it is not
resent, since it may have arrived.
"""

import json
import logging
import time
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import DatabaseError, InterfaceError
from django.db.models import F
from django.utils import timezone

from accounts.mail import is_refused_for_good, why_not_mailed
from accounts.models import User
from accounts.roles import role_of
from core.backoff import wait_after
from notifications.models import Channel, Event, Kind, Message, MessageState
from notifications.models.message import LEASE
from notifications.outbox.posting import NotPosted, post
from notifications.outbox.signing import signed_headers
from notifications.outbox.texts import body_for, details_of, subject_of, url_of
from stacks.rules.states import State

logger = logging.getLogger(__name__)

RETRY_FIRST_AFTER = timedelta(seconds=30)
RETRY_AT_LEAST_EVERY = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(hours=24)
LONGEST_ASKED = 3600  # seconds
NO_LONGER_WAITS = "The run no longer waits for confirmation."
UNREADABLE = "The channel's address can't be decrypted. Edit the channel and enter it again."


def post_next() -> bool:
    """Post the message to a channel that has been due longest; False if none is."""
    due = Message.objects.to_idle_channels().select_related("run__stack", "channel")
    message = due.claim_one(LEASE)
    if message is None or message.channel is None:
        return False
    if _is_outdated(message):
        _drop(message, NO_LONGER_WAITS)
        return True
    try:
        _post(message, message.channel)
    except NotPosted as error:
        _retry(message, str(error), error.retry_after)
    else:
        _end(message, MessageState.SENT)
    return True


def mail_next() -> bool:
    """E-mail the message that has been due longest; False if none is, or no mail server is set."""
    if not settings.SENDS_EMAIL:
        return False
    due = Message.objects.to_people().select_related("run__stack", "person")
    message = due.claim_one(LEASE)
    if message is None or message.person is None:
        return False
    if why := _why_not_to(message.person):
        _drop(message, why)
    elif _is_outdated(message):
        _drop(message, NO_LONGER_WAITS)
    elif timezone.now() >= message.queued_at + GIVE_UP_AFTER:
        _drop(message, "It waited for more than 24 hours.")
    else:
        _mail(message, message.person.email)
    return True


def resend(message: Message) -> bool:
    """Have a message sent again, once more with all its time; False if it waits already."""
    ended = Message.objects.filter(pk=message.pk).exclude(state=MessageState.WAITING)
    now = timezone.now()
    return bool(
        ended.update(state=MessageState.WAITING, due_at=now, queued_at=now, failures=0, problem="")
    )


def _post(message: Message, channel: Channel) -> None:
    """Raises NotPosted."""
    secret = channel.read_secret()
    if secret is None:
        raise NotPosted(UNREADABLE)
    kind = Kind(channel.kind)
    body = json.dumps(body_for(kind, message)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Stackhook"}
    if kind == Kind.WEBHOOK:
        key, now = secret.signing_secret, int(time.time())
        headers |= signed_headers(key, f"msg_{message.pk}", now, body)
    post(secret.address, body, headers)


def _is_outdated(message: Message) -> bool:
    return message.event == Event.WAITING and message.run.state != State.UNCONFIRMED


def _why_not_to(person: User) -> str:
    if role_of(person) is None:
        return "The person is deactivated or has no role."
    return "" if person.email else "The person has no e-mail address."


def _mail(message: Message, address: str) -> None:
    connection = get_connection()
    is_sending = False
    try:
        connection.open()
        is_sending = message.held().update(state=MessageState.SENDING) == 1
        if is_sending:
            connection.send_messages([_email(message, address)])
            _end(message, MessageState.SENT)
    except (DatabaseError, InterfaceError):  # the row says how far it came
        raise
    except Exception as error:  # smtplib raises no error of its own for text that can't be encoded
        if is_sending and isinstance(error, SMTPServerDisconnected):
            problem = "The connection to the mail server ended while it was sent: it may have come."
            _end(message, MessageState.SENDING, problem)
        elif is_refused_for_good(error):
            _drop(message, why_not_mailed(error))
        else:
            _retry(message, why_not_mailed(error))
    finally:
        connection.close()


def _email(message: Message, address: str) -> EmailMessage:
    lines = [f"{subject_of(message)}.", details_of(message), url_of(message)]
    settings_page = f"{settings.PUBLIC_URL}/account/notifications/"
    lines.append(f"Stackhook sent this because you asked for it: {settings_page}")
    host = urlsplit(settings.PUBLIC_URL).hostname
    headers = {
        "Message-ID": f"<notification-{message.pk}@{host}>",
        "Auto-Submitted": "auto-generated",  # prevents out-of-office replies
    }
    body = "\n\n".join(filter(None, lines)) + "\n"
    return EmailMessage(f"Stackhook: {subject_of(message)}", body, to=[address], headers=headers)


def _retry(message: Message, problem: str, asked: int | None = None) -> None:
    """Have a message sent later, or give it up; the others to its channel wait as long."""
    if timezone.now() >= message.queued_at + GIVE_UP_AFTER:
        _drop(message, f"Given up after 24 hours. {problem}")
        return
    asked = min(asked or 0, LONGEST_ASKED)
    wait = wait_after(message.failures, RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY, asked)
    due_at = timezone.now() + wait
    message.release(
        due_at,
        failures=message.failures + 1,
        state=MessageState.WAITING,
        problem=problem[:300],
        tries=F("tries") + 1,
        tried_at=timezone.now(),
    )
    if message.channel:
        others = Message.objects.filter(channel=message.channel, state=MessageState.WAITING)
        others.filter(due_at__lt=due_at).update(due_at=due_at)
    logger.warning("Message %s was not sent: %s", message.pk, problem)


def _drop(message: Message, problem: str) -> None:
    _end(message, MessageState.DROPPED, problem)
    logger.warning("Message %s is not sent: %s", message.pk, problem)


def _end(message: Message, state: MessageState, problem: str = "") -> None:
    message.release(
        None,
        state=state,
        problem=problem[:300],
        tries=F("tries") + 1,
        tried_at=timezone.now(),
    )
