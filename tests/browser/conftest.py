"""A real Chromium on a running Stackhook; whatever the browser complains about fails a test."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Route,
    sync_playwright,
)
from playwright.sync_api import Request as BrowserRequest

from accounts.models import User
from accounts.roles import Role
from tests.chromium import find

CHROMIUM_OPTIONS = [
    "--no-sandbox",  # tests may run as root
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_AT_MOST = 8_000  # milliseconds
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
# Leaving a page, or typing on, ends what was asked for; a request that fails says more than these.
ABORTED = re.compile(r"htmx:(sendAbort|afterRequest), ")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find()
    if path is None:
        pytest.fail("The browser tests need Chromium: install the package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def roles(transactional_db: None) -> None:
    """The groups that a migration makes, and that the end of a transactional test empties."""
    for role in Role:
        Group.objects.get_or_create(name=role)


class Watch:
    """What a browser complains about, and which hosts it asks."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self.expected_refusals: set[int] = set()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self._pending: set[BrowserRequest] = set()
        self._host = urlsplit(site).netloc
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", self._begin)
        context.on("requestfinished", self._end)
        context.on("requestfailed", self._end)

    def forget(self) -> None:
        """Begin anew, for the next test that uses the same browser."""
        self.expected_refusals.clear()
        self.complaints.clear()
        self.hosts.clear()

    def check(self) -> None:
        """Fail if there was an error, a breach of the security policy, or a foreign request."""
        assert self.complaints == []
        assert self.hosts <= {self._host}

    def wait(self, page: Page) -> None:
        """Return when no request is under way, so that the next test finds the database free."""
        end = time.monotonic() + WAIT_AT_MOST / 1000
        while self._pending and time.monotonic() < end:
            page.wait_for_timeout(20)

    def _hear(self, message: ConsoleMessage) -> None:
        refused = REFUSED.match(message.text)
        if refused and int(refused[1]) in self.expected_refusals:
            return
        if ABORTED.match(message.text):
            return
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _begin(self, request: BrowserRequest) -> None:
        self._pending.add(request)
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(request.url).netloc)

    def _end(self, request: BrowserRequest) -> None:
        self._pending.discard(request)


@pytest.fixture
def has_javascript() -> bool:
    """Whether the browser runs scripts; a module without them overrides this."""
    return True


@pytest.fixture
def context(browser: Browser, site: str, has_javascript: bool) -> Iterator[BrowserContext]:
    context = new_context(browser, site, has_javascript)
    yield context
    context.close()


def new_context(browser: Browser, site: str, has_javascript: bool = True) -> BrowserContext:
    """Return a session of the browser with nothing in it, on a desk."""
    context = browser.new_context(
        base_url=site,
        java_script_enabled=has_javascript,
        reduced_motion="no-preference",
        viewport={"width": 1280, "height": 900},
    )
    context.set_default_timeout(WAIT_AT_MOST)
    return context


@pytest.fixture
def watch(context: BrowserContext, site: str) -> Watch:
    return Watch(context, site)


@pytest.fixture
def page(context: BrowserContext, watch: Watch) -> Iterator[Page]:
    """A tab in which nobody is signed in."""
    page = context.new_page()
    yield page
    watch.wait(page)
    watch.check()


@pytest.fixture
def azure_devops(browser: Browser) -> Iterator[Page]:
    """A tab for the emulator's own pages, which are not held to Stackhook's rules."""
    context = browser.new_context()
    context.set_default_timeout(WAIT_AT_MOST)
    yield context.new_page()
    context.close()


@contextmanager
def held(page: Page, url: str) -> Iterator[None]:
    """Hold back requests to addresses of that pattern until the block ends."""
    waiting: list[Route] = []
    page.route(url, lambda route: waiting.append(route))
    yield
    for route in waiting:
        route.continue_()
    page.unroute(url)


@pytest.fixture
def admin_page(page: Page, site: str, alice: User) -> Page:
    """A tab in which alice, an admin, is signed in."""
    sign_in(page, site, alice)
    return page


@pytest.fixture
def member_page(page: Page, site: str, bob: User) -> Page:
    """A tab in which bob, a member, is signed in."""
    sign_in(page, site, bob)
    return page


def sign_in(page: Page, site: str, person: User) -> None:
    """Sign in without the form, which has tests of its own."""
    client = Client()
    client.force_login(person)
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": site}])
