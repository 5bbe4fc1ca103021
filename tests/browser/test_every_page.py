"""What holds for every page, in its main states: accessible, narrow enough, complete."""

import os
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page, ViewportSize
from pytest_django.live_server_helper import LiveServer

from tests.browser import (  # noqa: F401 - they add states
    approval_scenes,
    argument_scenes,
    check_scenes,
    hook_scenes,
    impact_scenes,
    module_scenes,
    notification_scenes,
    registry_scenes,
    sharing_scenes,
    token_scenes,
    trigger_scenes,
)
from tests.browser.conftest import Watch, new_context
from tests.browser.scene import STATES, Scene

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
# `make screenshots` names a folder; it gets pictures of each page in these widths and schemes.
FOLDER = os.environ.get("SCREENSHOTS", "")
WIDTHS = (390, 1280, 1920)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SHOW_FULLY = "document.getAnimations().forEach(one => { one.pause(); one.currentTime = 1000; })"
# On a picture of a whole page, the foot of the window is in its middle.
TO_ITS_END = "document.getElementById('notifications').style.position = 'static'"
# What axe finds by the colors of a page; all else is the same in light and dark.
COLOR_RULES = ["color-contrast", "link-in-text-block"]


@pytest.fixture(scope="module")
def tab(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """The tab of all pages, as each one of its own costs half of what its page does."""
    context = new_context(browser, live_server.url)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def watching(tab: Page, live_server: LiveServer) -> Watch:
    return Watch(tab.context, live_server.url)


@pytest.fixture
def watch(watching: Watch) -> Watch:
    watching.forget()
    return watching


@pytest.fixture
def page(tab: Page, site: str, watch: Watch) -> Iterator[Page]:
    """The tab, in which nobody is signed in; nothing is left in it at the end."""
    try:
        yield tab
        watch.wait(tab)
        watch.check()
    finally:
        tab.goto("about:blank")
        tab.context.clear_cookies()
        tab.set_viewport_size(DESK)
        tab.emulate_media(color_scheme="light")


@pytest.mark.parametrize("name", STATES)
def test_a_page_is_accessible_in_light_and_dark_fits_a_phone_and_has_one_heading(
    name: str, request: pytest.FixtureRequest, page: Page, site: str, watch: Watch
) -> None:
    STATES[name](Scene(request, page, site, watch))
    watch.wait(page)
    page.evaluate(SHOW_FULLY)
    assert page.title().endswith(" · Stackhook")
    assert len(page.title()) > len(" · Stackhook")
    assert page.get_by_role("heading", level=1).count() == 1
    assert all(one.strip() for one in page.locator(".badge").all_text_contents())

    page.evaluate(Axe().axe_script)
    assert violations(page) == ""
    page.emulate_media(color_scheme="dark")
    assert violations(page, COLOR_RULES) == ""
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert violations(page) == ""
    if FOLDER:
        shoot(page, name)


def shoot(page: Page, name: str) -> None:
    """Store pictures of a page as it is, in every width and in light and dark."""
    page.evaluate(TO_ITS_END)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": DESK["height"]})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{FOLDER}/{name}-{width}-{scheme}.png", full_page=True)


def violations(page: Page, rules: list[str] | None = None) -> str:
    """Return a report of what axe, which is in the page, objects to by some rules or by all."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = rules
    results = AxeResults(page.evaluate("options => axe.run(options)", options))
    return results.generate_report() if results.violations_count else ""


def test_dark_pages_differ_by_their_colors_only() -> None:
    """So what axe finds in other things than colors is the same in both."""
    styles = "\n".join(
        file.read_text() for file in sorted((settings.BASE_DIR / "static/css").glob("*.css"))
    )
    assert styles.count("prefers-color-scheme") == 1
    found = re.search(
        r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}\s*\}", styles, re.S
    )
    assert found
    assert all(
        re.fullmatch(r"--[a-z0-9-]+:[^;{}]+|color-scheme: dark", one.strip())
        for one in found[1].split(";")
        if one.strip()
    )
