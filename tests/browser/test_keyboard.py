"""The main journey with the keyboard alone: from signing in to a run that was applied."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from stacks.models import Stack
from tests.conftest import PASSWORD
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.emulator.model import Repository as Remote
from tests.stacks.execution.conftest import THREE, runs_folder, terraform, work
from vcs_integrations.hooks.watching import watch as watch_hooks
from vcs_integrations.models import Integration

__all__ = ["runs_folder", "terraform"]

MOST_TABS = 60  # more than anybody would press
IS_FOCUSED = "node => node === document.activeElement"
# After its last stop, a page hands the focus to the browser, and then begins again.
IS_MARKED = """() => {
  const style = getComputedStyle(document.activeElement);
  const isMarked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  return isMarked || document.activeElement === document.body;
}"""


def test_an_organization_is_linked_a_stack_created_and_its_run_applied(
    page: Page,
    alice: User,
    emulator: Emulator,
    organization: Organization,
    repository: Remote,
    token: str,
    terraform: Path,
) -> None:
    repository.push({"main.tf": THREE})
    page.goto("/")
    fill(page, page.get_by_label("Username"), "alice")
    fill(page, page.get_by_label("Password"), PASSWORD)
    page.keyboard.press("Enter")

    press(page, page.get_by_role("link", name="Go to VCS providers"))
    press(page, page.get_by_role("link", name="Set up").first)
    fill(page, page.get_by_label("Organization URL"), organization.url)
    fill(page, page.get_by_label("Personal access token"), token)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Connecting to Azure DevOps succeeded")).to_be_visible()

    press(page, page.get_by_role("link", name="Create hooks"))
    press(page, page.get_by_role("button", name="Create hooks in Platform Team"))
    expect(page.get_by_text("The worker checks the hooks of Platform Team now")).to_be_visible()
    watch_hooks(Integration.objects.get().hook_watch)

    press(page, page.get_by_role("link", name="Overview").first)
    press(page, page.get_by_role("link", name="Create the first stack"))
    fill(page, page.get_by_role("combobox", name="Repository"), "infra")
    expect(page.get_by_role("option", name="Platform Team/infrastructure")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Branch")).to_have_value("main")
    press(page, page.get_by_role("button", name="Continue"))
    expect(page.get_by_label("Name", exact=True)).to_have_value("infrastructure")
    press(page, page.get_by_role("button", name="Continue"))
    switch(page, page.get_by_label("Run draft pull requests"))
    press(page, page.get_by_role("button", name="Continue"))
    press(page, page.get_by_role("button", name="Create stack"))
    expect(page.get_by_role("heading", name="infrastructure", level=1)).to_be_visible()
    assert not Stack.objects.get().runs_drafts

    press(page, page.get_by_role("link", name="Trigger run"))
    press(page, page.get_by_role("button", name="Trigger run"))
    expect(page.get_by_text("The next free run worker starts it.")).to_be_visible()
    work()
    press(page, page.get_by_role("button", name="Apply: 3 add, 0 change, 0 destroy, 2 outputs"))
    expect(page.get_by_text("Run 1 was confirmed")).to_be_visible()
    work()
    expect(page.locator(".run-heading")).to_contain_text("Applied")


def reach(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus; each stop on the way must be visible."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_TABS):
        if wanted.evaluate(IS_FOCUSED):
            return
        page.keyboard.press("Tab")
        assert page.evaluate(IS_MARKED), page.evaluate("document.activeElement.outerHTML")
    raise AssertionError(f"Tab does not lead to {wanted}.")


def press(page: Page, wanted: Locator) -> None:
    reach(page, wanted)
    page.keyboard.press("Enter")


def switch(page: Page, wanted: Locator) -> None:
    reach(page, wanted)
    page.keyboard.press("Space")


def fill(page: Page, wanted: Locator, text: str) -> None:
    """Replace what is in a field, as somebody does who types."""
    reach(page, wanted)
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type(text)
