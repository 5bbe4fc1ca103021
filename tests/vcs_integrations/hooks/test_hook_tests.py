"""The closed loop, through a proxy between Azure DevOps and Stackhook that misbehaves."""

import http.client
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.roles import Role
from tests.conftest import make_person, signed_in
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project
from tests.vcs_integrations.providers.raw_server import RawServer
from vcs_integrations.hooks import loop as hook_tests
from vcs_integrations.hooks.loop import Seen, verdict_of
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import HookTest, Integration, Verdict
from vcs_integrations.providers.base import RemoteNotification

NOT_FORWARDED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
WAIT_AT_MOST = 0.5  # seconds that the emulator waits for an answer


class Proxy:
    """Passes requests on to Stackhook, changed on their way as a test says."""

    def __init__(self, site: str) -> None:
        self._site = urlsplit(site).netloc
        self.without: str = ""
        self.password: str = ""
        self.path: str = ""
        self.pause_before = self.pause_after = 0.0
        self.status = 0
        self.instead: bytes | None = None
        self.server = RawServer(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        request = _whole(self.server.requests[-1], connection)
        time.sleep(self.pause_before)
        if self.instead is not None:
            connection.sendall(self.instead)
            return
        status, body = self._forward(request)
        time.sleep(self.pause_after)
        head = f"HTTP/1.1 {self.status or status} X\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)

    def _forward(self, request: bytes) -> tuple[int, bytes]:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        headers.pop(self.without, None)
        if self.password:
            headers["Authorization"] = self.password
        asked = http.client.HTTPConnection(self._site)
        asked.request("POST", self.path or first.split()[1], body, headers)
        answer = asked.getresponse()
        found = answer.status, answer.read()
        asked.close()
        return found


def _whole(request: bytes, connection: socket.socket) -> bytes:
    """Return a request with its body, of which a part may be under way."""
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def proxy(
    site: str, integration: Integration, emulator: Emulator, settings: Settings
) -> Iterator[Proxy]:
    emulator.deliveries.timeout = WAIT_AT_MOST
    proxy = Proxy(site)
    with proxy.server:
        settings.PUBLIC_URL = f"http://{proxy.server.host}"
        yield proxy


def run_test(emulator: Emulator, integration: Integration, project: Project) -> HookTest:
    """Make a hook that posts to the present endpoint, test it, and check each leg."""
    integration = Integration.objects.get(pk=integration.pk)
    password = integration.read_webhook_secret().value
    emulator.organizations[0].add_subscription(
        project, "git.push", integration.endpoint_url, password
    )
    watch(integration.hook_watch)
    test = hook_tests.begin(integration, integration.subscriptions.get(), project.name)
    emulator.wait_for_deliveries()
    hook_tests.look(test)
    return HookTest.objects.get(pk=test.pk)


Misbehavior = Callable[[Proxy], None]


def _set(**values: object) -> Misbehavior:
    return lambda proxy: proxy.__dict__.update(values)


CASES: dict[str, tuple[Misbehavior, Verdict]] = {
    "it passes everything on": (_set(), Verdict.WORKS),
    "it drops the request": (_set(instead=b""), Verdict.NOT_REACHABLE),
    "it holds the request back": (_set(pause_before=1.0), Verdict.TIMED_OUT),
    "it holds the answer back": (_set(pause_after=1.0), Verdict.SLOW),
    "it strips the password": (_set(without="Authorization"), Verdict.PASSWORD_MISSING),
    "it puts in another password": (_set(password="Basic OnNlY3JldA=="), Verdict.PASSWORD_WRONG),
    "it rewrites the path": (_set(path="/webhooks/azure-devops/other/"), Verdict.WRONG_URL),
    "it rewrites the answer": (_set(status=500), Verdict.ANSWER_CHANGED),
    "it redirects": (
        _set(instead=b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        Verdict.WRONG_URL,
    ),
    "a portal answers": (_set(instead=NOT_FORWARDED), Verdict.WRONG_URL),
    "its server is away": (
        _set(instead=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        Verdict.PROXY,
    ),
    "it wants a password itself": (
        _set(instead=b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nSquid!"),
        Verdict.PROXY,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_misbehavior_of_a_proxy_is_distinguished(
    proxy: Proxy, emulator: Emulator, integration: Integration, project: Project, case: str
) -> None:
    misbehave, verdict = CASES[case]
    misbehave(proxy)
    test = run_test(emulator, integration, project)
    assert test.verdict == verdict
    assert bool(test.fix) == (verdict != Verdict.WORKS)
    arrived = {Verdict.WORKS, Verdict.SLOW, Verdict.ANSWER_CHANGED}
    assert (test.received_at is not None) == (verdict in arrived)


@pytest.mark.parametrize(
    ("public_url", "verdict"),
    [
        ("http://127.0.0.1:9", Verdict.NOT_REACHABLE),
        ("http://no-such-name.invalid", Verdict.NAME_UNKNOWN),
    ],
)
def test_an_endpoint_that_is_not_there(
    emulator: Emulator,
    integration: Integration,
    project: Project,
    settings: Settings,
    public_url: str,
    verdict: Verdict,
) -> None:
    settings.PUBLIC_URL = public_url
    assert run_test(emulator, integration, project).verdict == verdict


def test_a_broken_secure_connection(
    emulator: Emulator, integration: Integration, project: Project, settings: Settings
) -> None:
    settings.PUBLIC_URL = emulator.url.replace("http:", "https:")  # which speaks plain http
    assert run_test(emulator, integration, project).verdict == Verdict.TLS


def test_a_hook_that_is_gone_can_not_be_asked(
    integration: Integration, organization: Organization, project: Project, admin: Client
) -> None:
    hook = organization.add_subscription(project, "git.push", integration.endpoint_url, "x")
    watch(integration.hook_watch)
    organization.unsubscribe(hook)
    test = hook_tests.begin(integration, integration.subscriptions.get(), project.name)
    assert test.verdict == Verdict.NOT_ASKED
    page = admin.get(test.get_absolute_url()).content.decode()
    assert "The test could not be asked for." in page
    assert "Azure DevOps does not find what was asked for." in page


def test_what_is_never_sent_is_said_after_a_minute(
    site: str, integration: Integration, emulator: Emulator, project: Project
) -> None:
    emulator.deliveries.hold()
    assert run_test(emulator, integration, project).verdict == Verdict.WAITING
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        test = HookTest.objects.get()
        hook_tests.look(test)
    assert test.verdict == Verdict.NOT_SENT


def test_the_page_shows_each_leg_as_it_comes(
    site: str, integration: Integration, emulator: Emulator, project: Project
) -> None:
    admin = signed_in(make_person("alice", Role.ADMIN))
    emulator.deliveries.hold()
    test = run_test(emulator, integration, project)
    page = admin.get(test.get_absolute_url()).content.decode()
    assert "Waiting for the delivery." in page
    assert "not yet" in page
    emulator.deliveries.release()
    page = admin.get(test.get_absolute_url(), headers={"HX-Request": "true"}).content.decode()
    assert "The hook works." in page
    assert "HTTP 200" in page
    assert "not yet" not in page
    assert "hx-get" not in page


def test_a_wrong_password_of_ours_is_corrected_automatically(
    site: str, integration: Integration, emulator: Emulator, project: Project
) -> None:
    integration.projects.update(keeps_hooks=True)
    watch(Integration.objects.get().hook_watch)
    remote = next(
        one for one in emulator.organizations[0].subscriptions if one.event_type == "git.push"
    )
    remote.edit(password="another-password")
    hook = integration.subscriptions.get(event_type="git.push")
    for verdict in (Verdict.PASSWORD_WRONG, Verdict.WORKS):
        test = hook_tests.begin(Integration.objects.get(), hook, project.name)
        emulator.wait_for_deliveries()
        hook_tests.look(test)
        assert test.verdict == verdict
        watch(Integration.objects.get().hook_watch)
    reason = integration.hook_actions.get(kind="corrected").reason
    assert reason == "It posts with another webhook password"


def test_an_unreadable_history_is_no_verdict_about_the_hook(
    site: str, integration: Integration, emulator: Emulator, project: Project
) -> None:
    emulator.deliveries.hold()
    run_test(emulator, integration, project)
    emulator.faults.add("unavailable", path="notifications")
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        test = HookTest.objects.get()
        hook_tests.look(test)
    assert test.verdict == Verdict.HISTORY_UNREADABLE
    assert "could not be read" in test.error


def test_slow_answers_and_those_that_never_come() -> None:
    notification = RemoteNotification(True, True, 200, "", "", 11.0, False)
    assert verdict_of(Seen(True, True, notification, True, False)) == Verdict.SLOW
    under_way = RemoteNotification(False, False, None, "", "", None, True)
    assert verdict_of(Seen(True, True, under_way, False, False)) == Verdict.WAITING
    assert verdict_of(Seen(True, True, under_way, False, True)) == Verdict.TIMED_OUT
    assert verdict_of(Seen(True, True, under_way, True, True)) == Verdict.SLOW
