"""Sending webhooks: a queue, the credentials and headers, retries and what is recorded.

Azure DevOps documentation, "Troubleshoot service hooks integrations": 408, 502, 503 and 504 are
retried up to eight times within about three minutes, 410 ends the subscription at once. Any other
failure, and one of those that lasts, puts it on probation: the notification that failed is tried
again seven times within about 36 hours, and what happens meanwhile is lost.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from .clock import Clock
from .events import pull_request_event, push_event, reduced
from .hook_rules import HookRuleError, check_resolved
from .model import Notification, Organization, Probation, Push, Repository, Subscription
from .pull_requests import MERGED, Change, PullRequest
from .samples import sample_event
from .shapes import timestamp

RETRY_DELAYS = (1, 2, 4, 8, 16, 32, 60, 60)
PROBATION_DELAYS = tuple(timedelta(minutes=one) for one in (20, 40, 80, 160, 320, 640, 900))
TRANSIENT = {408, 502, 503, 504}
GONE = 410
MASK = "********"
_USER_AGENT = "VSServices/19.250.0 (w3wp.exe)"
_WORKERS = 4
_BODY_LIMIT = 8192


Order: TypeAlias = int | Iterable[int] | None


@dataclass(frozen=True)
class _Job:
    """One attempt to deliver; one on probation is a retry after an enduring failure."""

    organization: Organization
    notification: Notification
    is_on_probation: bool = False

    @property
    def subscription(self) -> Subscription | None:
        return self.organization.subscription(self.notification.subscription_id)


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

    def __init__(self, allow_local_hooks: bool, clock: Clock) -> None:
        self.retry_scale = 1.0
        self.timeout = 30.0
        self._allow_local_hooks = allow_local_hooks
        self._clock = clock
        clock.on_the_way = self._catch_up
        self._changed = threading.Condition()
        self._waiting: list[tuple[datetime, int, _Job]] = []
        self._order = itertools.count()
        self._busy = 0
        self._stopping = False
        self._holding = False
        self._held: list[_Job] = []

    def start(self, organizations: Iterable[Organization]) -> None:
        """Start the threads that deliver, and continue the retries of an earlier start."""
        with self._changed:
            for organization in organizations:
                self._resume_probation(organization)
        for _ in range(_WORKERS):
            threading.Thread(target=self._work, name="emulator-delivery", daemon=True).start()

    def stop(self) -> None:
        """Let the threads end; what waits is not delivered any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Return when nothing waits or is under way; TimeoutError after that many seconds.

        The retries of a subscription on probation are not waited for.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._unfinished() == 0, timeout):
                raise TimeoutError(f"{self._unfinished()} deliveries are not finished")

    def _unfinished(self) -> int:
        return self._busy + sum(not job.is_on_probation for _, _, job in self._waiting)

    # Under a test's control

    def hold(self) -> None:
        """Keep back all deliveries from now on."""
        with self._changed:
            self._holding = True

    def held(self) -> list[Notification]:
        """Return what is kept back, oldest first."""
        with self._changed:
            return [job.notification for job in self._held]

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
        for job in self._take_held(order):
            with self._changed:
                self._busy += 1
            self._do(job)

    def take(self, order: Order = None) -> list[WebhookRequest]:
        """Return held deliveries as requests instead of sending them."""
        return [webhook_request(job.notification) for job in self._take_held(order)]

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
            gone = {id(job.notification) for job in jobs}
            self._held = [job for job in self._held if id(job.notification) not in gone]
        return jobs

    # What to send

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
        sample = sample_event(event_type) | {"createdDate": timestamp(organization.now())}
        event = reduced(sample, consumer_inputs, "1.0")
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
        job = _Job(organization, notification)
        with self._changed:
            if self._holding:
                self._held.append(job)
            else:
                self._put(job, self._clock.now())

    def _put(self, job: _Job, due: datetime) -> None:
        heapq.heappush(self._waiting, (due, next(self._order), job))
        self._changed.notify_all()

    def _resume_probation(self, organization: Organization) -> None:
        for one in organization.subscriptions:
            if one.status == "onProbation" and one.probation:
                key = (one.id, one.probation.notification_id)
                for notification in organization.history:
                    if (notification.subscription_id, notification.id) == key:
                        self._put(_Job(organization, notification, True), one.probation.due)

    def _work(self) -> None:
        while job := self._take():
            self._do(job)

    def _take(self) -> _Job | None:
        """Wait for the next job that is due by the clock; None at the end."""
        with self._changed:
            while not self._stopping:
                if self._is_one_due(self._clock.now()):
                    return self._pop()
                self._changed.wait(self._pause())
        return None

    def _catch_up(self, moment: datetime) -> None:
        """Do what falls due until a later moment, each at its own time, one after another."""
        while True:
            with self._changed:
                self._changed.wait_for(self._is_idle)
                if self._stopping or not self._is_one_due(moment):
                    return
                self._clock.set(self._waiting[0][0])
                job = self._pop()
            self._do(job)

    def _is_idle(self) -> bool:
        return self._stopping or not (self._busy or self._is_one_due(self._clock.now()))

    def _is_one_due(self, moment: datetime) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= moment

    def _pause(self) -> float | None:
        if not self._waiting:
            return None
        return (self._waiting[0][0] - self._clock.now()).total_seconds()

    def _pop(self) -> _Job:
        self._busy += 1
        return heapq.heappop(self._waiting)[2]

    def _do(self, job: _Job) -> None:
        """Deliver, and let what follows from the answer wait for its time."""
        retry = None
        try:
            retry = self._attempt(job)
        finally:
            with self._changed:
                self._busy -= 1
                if retry:
                    self._put(*retry)
                self._changed.notify_all()

    # One attempt

    def _attempt(self, job: _Job) -> tuple[_Job, datetime] | None:
        """Send once and record it; return the next try and when it is due, None for no more."""
        if job.is_on_probation and not _start_probation_retry(job):
            return None
        notification = job.notification
        notification.attempts += 1
        notification.status, notification.sent_date = "requestInProgress", self._clock.now()
        notification.response_status, notification.response_body = None, ""
        notification.error = notification.error_detail = ""
        started = time.monotonic()
        try:
            self._send(notification)
        except (requests.RequestException, OSError, HookRuleError) as error:
            notification.error = _words(error, notification.consumer_inputs["url"])
            notification.error_detail = str(error)
        notification.duration = time.monotonic() - started
        if self._is_to_be_retried(job):
            notification.status = "queued"
            job.organization.state.save()
            delay = RETRY_DELAYS[notification.attempts - 1] * self.retry_scale
            return job, self._clock.now() + timedelta(seconds=delay)
        return _complete(job)

    def _is_to_be_retried(self, job: _Job) -> bool:
        notification = job.notification
        return (
            notification.response_status in TRANSIENT
            and notification.attempts <= len(RETRY_DELAYS)
            and not (notification.is_test or job.is_on_probation)
        )

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
                timeout=self.timeout,
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


def _words(error: Exception, url: str) -> str:
    """Return what the history says of a request that had no answer, as .NET words it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, HookRuleError):
        return str(error)
    if isinstance(error, requests.exceptions.SSLError):
        return "The SSL connection could not be established, see inner exception."
    if isinstance(error, requests.Timeout):
        return "The operation has timed out."
    if isinstance(error, socket.gaierror) or isinstance(reason, NameResolutionError):
        return f"The remote name could not be resolved: '{urlsplit(url).hostname}'"
    if isinstance(reason, NewConnectionError) and "refused" in str(reason):
        where = urlsplit(url).netloc
        return f"No connection could be made because the target machine actively refused it {where}"
    return "An error occurred while sending the request."


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


def _start_probation_retry(job: _Job) -> bool:
    """Take note of a retry on probation; False if somebody has ended the probation."""
    subscription, notification = job.subscription, job.notification
    probation = subscription.probation if subscription else None
    if (
        subscription is None
        or probation is None
        or subscription.status != "onProbation"
        or probation.notification_id != notification.id
    ):
        return False
    probation.retries += 1
    probation.last_retry = job.organization.now()
    notification.consumer_inputs = dict(subscription.consumer_inputs)
    return True


def _complete(job: _Job) -> tuple[_Job, datetime] | None:
    """Record the result of an attempt; return the retry on probation that follows from it."""
    notification = job.notification
    notification.status = "completed"
    notification.result = "failed" if notification.error else "succeeded"
    notification.completed_date = job.organization.now()
    with job.organization.state.lock:
        retry = None if notification.is_test else _judge(job)
    job.organization.state.save()
    return retry


def _judge(job: _Job) -> tuple[_Job, datetime] | None:
    """Apply to the subscription what the last answer means for it."""
    subscription, notification = job.subscription, job.notification
    if subscription is None:
        return None
    if notification.response_status == GONE:
        subscription.set_status("disabledBySystem")
    elif not notification.error:
        if subscription.status == "onProbation":
            subscription.set_status("enabled")
    elif subscription.status == ("onProbation" if job.is_on_probation else "enabled"):
        return _go_on_probation(job, subscription)
    return None


def _go_on_probation(job: _Job, subscription: Subscription) -> tuple[_Job, datetime] | None:
    """Return the next retry on probation; after the last one the subscription is disabled."""
    moment, done = job.organization.now(), subscription.probation
    retries = done.retries if done and job.is_on_probation else 0
    if retries == len(PROBATION_DELAYS):
        subscription.set_status("disabledBySystem")
        return None
    due = moment + PROBATION_DELAYS[retries]
    last_retry = done.last_retry if done and retries else None
    subscription.probation = Probation(job.notification.id, due, retries, last_retry)
    subscription.set_status("onProbation")
    return replace(job, is_on_probation=True), due


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
