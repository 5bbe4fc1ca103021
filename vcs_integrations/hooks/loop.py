"""Test a hook end to end: the provider sends its own sample, and each leg is checked.

The legs: asked, sent, received, password accepted, and what the provider saw of our answer. If the
sample doesn't arrive, the provider's delivery history shows the cause.
"""

import re
import time
from dataclasses import dataclass

from vcs_integrations.models import Delivery, HookTest, Integration, Subscription, Verdict
from vcs_integrations.providers.base import (
    INTERACTIVE,
    SECRET_MISSING,
    SECRET_WRONG,
    ProviderError,
    RemoteNotification,
)

# Answers this slow come close to a failure; the provider's own limit is not documented.
SLOW_SECONDS = 10
# How errors without an answer are worded, by .NET, by curl, by Python: the first that fits.
ERRORS = (
    (Verdict.NAME_UNKNOWN, re.compile(r"resolv|no such host|name or service|host is known", re.I)),
    (Verdict.TLS, re.compile(r"\bssl\b|\btls\b|certificate|secure channel|trust", re.I)),
    (Verdict.TIMED_OUT, re.compile(r"time[sd]?[ -]?out|timeout|task was canceled", re.I)),
)
FIXES = {
    Verdict.SLOW: "Check what is in between: a proxy that buffers, or an overloaded server. "
    "A hook whose answers fail goes on probation, and events are lost.",
    Verdict.ANSWER_CHANGED: "Stackhook stored the request and answered 200. Check the proxy "
    "in front of it: it changes the answer, which counts as a failure of the hook.",
    Verdict.NOT_SENT: "Check the hook's history on the service-hooks page, and test again.",
    Verdict.NAME_UNKNOWN: "Check PUBLIC_URL and the public DNS record of its host.",
    Verdict.NOT_REACHABLE: "PUBLIC_URL has to be reached from the internet: check the firewall, "
    "the port, and that the proxy runs.",
    Verdict.TLS: "Check the certificate of PUBLIC_URL: its name, its expiry date, and that "
    "the whole chain is sent.",
    Verdict.PASSWORD_MISSING: "The request arrived without its Authorization header: let the proxy "
    "pass it, or enter the webhook password in a hook made by hand.",
    Verdict.PASSWORD_WRONG: "Stackhook corrects it automatically if it made the hook; test it "
    "again in a minute. In a hook made by hand, enter the present webhook password.",
    Verdict.HISTORY_UNREADABLE: "Test again. If it fails again, Test on the integration's card "
    "says what the token lacks.",
    Verdict.WRONG_URL: "Check that PUBLIC_URL leads to this Stackhook, that the hook has the "
    "webhook endpoint as URL, and that the proxy passes the path on unchanged.",
    Verdict.PROXY: "Check the proxy in front of Stackhook, and that Stackhook runs behind it.",
    Verdict.TIMED_OUT: "Something accepts the connection and does not answer: a firewall, or a "
    "proxy whose server is down.",
}


@dataclass(frozen=True)
class Seen:
    """What is known of a test so far: what the provider saw, and what arrived.

    `has_history` says whether the provider keeps a delivery history, `is_readable` whether it could
    be read.
    """

    has_history: bool
    is_readable: bool
    notification: RemoteNotification | None
    has_arrived: bool
    was_waited_for: bool


def begin(integration: Integration, hook: Subscription, project_name: str) -> HookTest:
    """Ask the provider to send its sample by a hook; a refusal ends the test at once."""
    test = HookTest(
        integration=integration,
        external_id=hook.external_id,
        event_type=hook.event_type,
        project_name=project_name,
    )
    started = time.monotonic()
    try:
        test.notification_id = integration.client(INTERACTIVE).send_test(hook.external_id)
    except ProviderError as error:
        test.verdict = Verdict.NOT_ASKED
        test.refusal, test.fix = error.cause[:1000], error.fix[:500]
    test.asking_took = time.monotonic() - started
    test.save()
    return test


def look(test: HookTest) -> None:
    """Check every leg again and store the result; nothing changes once the test is over."""
    if test.is_over or not test.notification_id:
        return
    has_history = test.integration.provider.keeps_hook_history
    notification, is_readable = None, True
    try:
        if has_history:
            client = test.integration.client(INTERACTIVE)
            notification = client.notification(test.external_id, test.notification_id)
    except ProviderError as error:
        is_readable = False
        test.error = f"The delivery history could not be read: {error.cause}"[:500]
    if notification:
        test.is_sent = notification.is_done or notification.is_under_way
        test.status_code, test.error = notification.status_code, notification.error
        test.sending_took = notification.seconds
    delivery = _delivery(test)
    if delivery:
        test.delivery, test.received_at = delivery, delivery.received_at
    has_arrived, was_waited_for = delivery is not None, test.was_waited_for
    seen = Seen(has_history, is_readable, notification, has_arrived, was_waited_for)
    test.verdict = verdict_of(seen)
    test.fix = FIXES.get(Verdict(test.verdict), "")
    test.save()
    if test.verdict == Verdict.PASSWORD_WRONG:  # the worker corrects it, where it is ours
        hooks = test.integration.subscriptions.present()
        hooks.filter(external_id=test.external_id).update(has_wrong_password=True)
        Integration.objects.filter(pk=test.integration_id).make_hooks_due()


def _delivery(test: HookTest) -> Delivery | None:
    same = test.integration.deliveries.filter(
        subscription_id__in=["", test.external_id], notification_id=test.notification_id
    )
    return same.defer("body", "headers").order_by("pk").first()


def verdict_of(seen: Seen) -> Verdict:
    """Return the verdict on all legs together."""
    notification = seen.notification
    if seen.has_arrived and not seen.has_history:
        return Verdict.WORKS
    if notification is None or not notification.is_done:
        return _verdict_of_unfinished(seen) if seen.was_waited_for else Verdict.WAITING
    if seen.has_arrived:
        return _verdict_of_arrived(notification)
    if notification.status_code is None:
        fitting = (verdict for verdict, words in ERRORS if words.search(notification.error))
        return next(fitting, Verdict.NOT_REACHABLE)
    return _verdict_of_answer(notification.status_code, notification.answer)


def _verdict_of_unfinished(seen: Seen) -> Verdict:
    if not seen.is_readable:
        return Verdict.HISTORY_UNREADABLE
    if seen.has_arrived:
        return Verdict.SLOW
    is_under_way = seen.notification is not None and seen.notification.is_under_way
    return Verdict.TIMED_OUT if is_under_way else Verdict.NOT_SENT


def _verdict_of_arrived(notification: RemoteNotification) -> Verdict:
    if notification.status_code is None:
        return Verdict.SLOW
    if not notification.succeeded:
        return Verdict.ANSWER_CHANGED
    is_slow = notification.seconds is not None and notification.seconds > SLOW_SECONDS
    return Verdict.SLOW if is_slow else Verdict.WORKS


def _verdict_of_answer(status_code: int, answer: str) -> Verdict:
    """Return why a request that was answered did not arrive here."""
    if status_code == 401 and SECRET_MISSING in answer:
        return Verdict.PASSWORD_MISSING
    if status_code == 401 and SECRET_WRONG in answer:
        return Verdict.PASSWORD_WRONG
    if status_code in {401, 403, 407, 413, 429} or status_code >= 500:
        return Verdict.PROXY
    return Verdict.WRONG_URL
