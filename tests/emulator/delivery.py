"""Sending webhooks: a queue, the credentials and headers, retries and what is recorded.

Azure DevOps documentation, "Troubleshoot service hooks integrations": 408, 502, 503 and 504 are
retried up to eight times within about three minutes, 410 ends the subscription at once, any other
failure is not retried.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests

from .clock import now
from .events import pull_request_event, push_event, reduced
from .hook_rules import HookRuleError, check_resolved
from .model import Notification, Organization, Push, Repository, Subscription
from .pull_requests import MERGED, Change, PullRequest
from .samples import sample_event

RETRY_DELAYS = (1, 2, 4, 8, 16, 32, 60, 60)
TRANSIENT = {408, 502, 503, 504}
GONE = 410
MASK = "********"
_USER_AGENT = "VSServices/19.250.0 (w3wp.exe)"
_WORKERS = 4
_TIMEOUT = 30
_BODY_LIMIT = 8192


Order: TypeAlias = int | Iterable[int] | None
_Job: TypeAlias = tuple[Organization, Notification]


@dataclass(frozen=True)
class WebhookRequest:
    """A webhook as it goes over the wire."""

    url: str
    headers: dict[str, str]
    body: bytes


class Deliveries:
    """The delivery queue of an emulator and the threads that work on it.

    Tests can hold deliveries back and then decide which of them arrive, in which order and how
    often. An `order` is the index of one held delivery, several indexes (one may come more than
    once, which is what a retry looks like), or None for all as they came.
    """

    def __init__(self, allow_local_hooks: bool) -> None:
        self.retry_scale = 1.0
        self._allow_local_hooks = allow_local_hooks
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Organization, Notification]] = []
        self._order = itertools.count()
        self._unfinished = 0
        self._stopping = False
        self._holding = False
        self._held: list[_Job] = []

    def start(self) -> None:
        """Start the threads that deliver."""
        for _ in range(_WORKERS):
            threading.Thread(target=self._work, name="emulator-delivery", daemon=True).start()

    def stop(self) -> None:
        """Let the threads end; what waits is not delivered any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Return when nothing waits or is under way; TimeoutError after that many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unfinished == 0, timeout):
                raise TimeoutError(f"{self._unfinished} deliveries are not finished")

    # Under a test's control

    def hold(self) -> None:
        """Keep back all deliveries from now on."""
        with self._changed:
            self._holding = True

    def held(self) -> list[Notification]:
        """Return what is kept back, oldest first."""
        with self._changed:
            return [notification for _, notification in self._held]

    def shuffled(self, seed: int, drop: float = 0, double: float = 0) -> list[int]:
        """Return an order for what is held, shuffled; drop and double are shares from 0 to 1.

        The same seed gives the same order for the same number of held deliveries.
        """
        chance = random.Random(seed)  # noqa: S311
        order = [index for index in range(len(self.held())) if chance.random() >= drop]
        order += [index for index in order if chance.random() < double]
        chance.shuffle(order)
        return order

    def release(self, order: Order = None) -> None:
        """Send held deliveries one after another; return when each has been answered once."""
        for organization, notification in self._take_held(order):
            delay = self._attempt(organization, notification)
            if delay is not None:
                with self._changed:
                    self._unfinished += 1
                    self._put(organization, notification, delay)

    def take(self, order: Order = None) -> list[WebhookRequest]:
        """Return held deliveries as requests instead of sending them."""
        return [webhook_request(notification) for _, notification in self._take_held(order)]

    def drop(self, order: Order = None) -> None:
        """Lose held deliveries."""
        self._take_held(order)

    def resume(self) -> None:
        """Send what is still held, and keep nothing back from now on."""
        with self._changed:
            self._holding = False
        self.release()

    def _take_held(self, order: Order) -> list[_Job]:
        with self._changed:
            if order is None:
                order = range(len(self._held))
            wanted = [order] if isinstance(order, int) else list(order)
            jobs = [self._held[index] for index in wanted]
            gone = {id(notification) for _, notification in jobs}
            self._held = [job for job in self._held if id(job[1]) not in gone]
        return jobs

    # What is to be sent

    def push_recorded(self, where: Repository, push: Push) -> None:
        """Notify every enabled subscription that asked for this push."""
        event: dict[str, Any] | None = None
        for subscription in list(where.organization.subscriptions):
            if subscription.status == "enabled" and _wants_push(subscription, where, push):
                event = event or push_event(where, push)
                self._notify(where.organization, subscription, event)

    def pull_request_changed(self, one: PullRequest, change: Change) -> None:
        """Notify every enabled subscription that asked for this change of a pull request."""
        event: dict[str, Any] | None = None
        organization = one.repository.organization
        for subscription in list(organization.subscriptions):
            if subscription.status == "enabled" and _wants_change(subscription, one, change):
                event = event or pull_request_event(one, change)
                self._notify(organization, subscription, event)

    def send_test(
        self,
        organization: Organization,
        event_type: str,
        consumer_inputs: dict[str, str],
        subscription: Subscription | None,
    ) -> Notification:
        """Send the sample data, as the Test button does; None is an unsaved subscription."""
        event = reduced(sample_event(event_type), consumer_inputs, "1.0")
        notification = organization.add_notification(subscription, event, consumer_inputs, True)
        self._enqueue(organization, notification)
        return notification

    def _notify(
        self, organization: Organization, subscription: Subscription, event: dict[str, Any]
    ) -> None:
        inputs = subscription.consumer_inputs
        shown = reduced(event, inputs, subscription.resource_version)
        self._enqueue(
            organization, organization.add_notification(subscription, shown, inputs, False)
        )

    # The queue

    def _enqueue(self, organization: Organization, notification: Notification) -> None:
        with self._changed:
            if self._holding:
                self._held.append((organization, notification))
                return
            self._unfinished += 1
            self._put(organization, notification, 0)

    def _put(self, organization: Organization, notification: Notification, delay: float) -> None:
        due = time.monotonic() + delay
        heapq.heappush(self._waiting, (due, next(self._order), organization, notification))
        self._changed.notify_all()

    def _take(self) -> _Job | None:
        with self._changed:
            while not self._stopping:
                pause = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if pause is not None and pause <= 0:
                    _, _, organization, notification = heapq.heappop(self._waiting)
                    return organization, notification
                self._changed.wait(pause)
        return None

    def _work(self) -> None:
        while job := self._take():
            organization, notification = job
            delay = self._attempt(organization, notification)
            with self._changed:
                if delay is None:
                    self._unfinished -= 1
                    self._changed.notify_all()
                else:
                    self._put(organization, notification, delay)

    def _attempt(self, organization: Organization, notification: Notification) -> float | None:
        """Send once and record it; return the seconds until the next try, None for no more."""
        notification.attempts += 1
        notification.status = "requestInProgress"
        started = time.monotonic()
        try:
            self._send(notification)
        except (requests.RequestException, OSError, HookRuleError) as error:
            notification.response_status, notification.response_body = None, ""
            notification.error = str(error)
        notification.duration = time.monotonic() - started
        retry = not notification.is_test and notification.response_status in TRANSIENT
        if retry and notification.attempts <= len(RETRY_DELAYS):
            notification.status = "queued"
            organization.state.save()
            return RETRY_DELAYS[notification.attempts - 1] * self.retry_scale
        _complete(organization, notification)
        return None

    def _send(self, notification: Notification) -> None:
        inputs = notification.consumer_inputs
        request = webhook_request(notification)
        notification.request = _request_text(inputs, request)
        host = urlsplit(inputs["url"]).hostname or ""
        if not self._allow_local_hooks:
            check_resolved(host)
        with requests.Session() as session:
            session.trust_env = False
            with session.post(
                inputs["url"],
                data=request.body,
                headers=request.headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
                stream=True,
                verify=inputs.get("acceptUntrustedCerts") != "true",
            ) as response:
                content = next(response.iter_content(_BODY_LIMIT), b"")
                notification.response_status = response.status_code
                notification.response_body = content.decode(errors="replace")
        succeeded = 200 <= notification.response_status < 300
        reason = f"{response.reason or ''} ({notification.response_status})".strip()
        notification.error = "" if succeeded else reason


def _wants_push(subscription: Subscription, where: Repository, push: Push) -> bool:
    names = {update.name for update in push.ref_updates}
    return _wants(subscription, "git.push", where, names)


def _wants_change(subscription: Subscription, one: PullRequest, change: Change) -> bool:
    inputs = subscription.publisher_inputs
    result = one.merge_status if change.event_type == MERGED else ""
    return (
        _wants(subscription, change.event_type, one.repository, {one.target_ref})
        and inputs.get("notificationType", "") in ("", change.kind)
        and inputs.get("mergeResult", "").lower() in ("", result)
    )


def _wants(subscription: Subscription, event_type: str, where: Repository, refs: set[str]) -> bool:
    inputs = subscription.publisher_inputs
    branch = inputs.get("branch", "").removeprefix("refs/heads/")
    return (
        subscription.event_type == event_type
        and inputs.get("projectId", "").lower() == where.project.id
        and inputs.get("repository", "").lower() in ("", where.id)
        and (not branch or f"refs/heads/{branch}" in refs)
    )


def _complete(organization: Organization, notification: Notification) -> None:
    notification.status = "completed"
    notification.result = "failed" if notification.error else "succeeded"
    notification.completed_date = now()
    if notification.response_status == GONE and not notification.is_test:
        subscription = organization.subscription(notification.subscription_id)
        if subscription:
            subscription.status = "disabledBySystem"
    organization.state.save()


def webhook_request(notification: Notification) -> WebhookRequest:
    """Return the request that delivers a notification, credentials included."""
    body = json.dumps(notification.event, ensure_ascii=False).encode()
    return WebhookRequest(notification.consumer_inputs["url"], _headers(notification), body)


def _headers(notification: Notification) -> dict[str, str]:
    inputs = notification.consumer_inputs
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": _USER_AGENT,
        "Request-Id": str(uuid.uuid4()),
        "X-VSS-ActivityId": str(uuid.uuid4()),
        "X-VSS-SubscriptionId": notification.subscription_id,
    }
    username, password = inputs.get("basicAuthUsername", ""), inputs.get("basicAuthPassword", "")
    if username or password:
        credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {credentials}"
    return headers | custom_headers(inputs)


def custom_headers(inputs: dict[str, str]) -> dict[str, str]:
    """Return the headers that a subscription adds, one a line in `httpHeaders`."""
    lines = inputs.get("httpHeaders", "").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _request_text(inputs: dict[str, str], request: WebhookRequest) -> str:
    secret = {"Authorization", *custom_headers(inputs)}
    headers = request.headers.items()
    shown = [f"{name}: {MASK if name in secret else value}" for name, value in headers]
    return "\n".join([f"POST {request.url}", *shown, "", request.body.decode()])
