"""What holds for every page, in its main states: accessible, narrow enough, complete."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.browser import (  # noqa: F401 - they add states
    argument_scenes,
    hook_scenes,
    module_scenes,
    sharing_scenes,
    trigger_scenes,
)
from tests.browser.conftest import Watch
from tests.browser.scene import STATES, Scene

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
SHOW_FULLY = "document.getAnimations().forEach(one => { one.pause(); one.currentTime = 1000; })"


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

    page.emulate_media(color_scheme="light")
    assert violations(page) == ""
    page.emulate_media(color_scheme="dark")
    assert violations(page) == ""
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert violations(page) == ""
    page.set_viewport_size(DESK)


def violations(page: Page) -> str:
    """Return a report of what axe objects to; empty if nothing."""
    results = Axe().run(page)
    return results.generate_report() if results.violations_count else ""
