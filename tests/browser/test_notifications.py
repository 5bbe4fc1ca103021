"""Notifications, and the parts of a card that change without a new page."""

import re
from itertools import pairwise

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import held
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from vcs_integrations.audit.views import entries_of
from vcs_integrations.models import Integration

PROVIDERS = "/settings/vcs-providers/"
SUCCEEDED = "Connecting to Azure DevOps succeeded"
FAILED = "Connecting to Azure DevOps failed: "
COUNT_ADDITIONS = """
window.announced = [];
document.addEventListener("DOMContentLoaded", () => {
  const watch = (region) => new MutationObserver((changes) => {
    for (const change of changes)
      for (const node of change.addedNodes)
        if (node.nodeType === 1) announced.push(node.innerText);
  }).observe(region, { childList: true });
  watch(document.querySelector("[aria-live=polite][aria-label=Notifications]"));
  new MutationObserver((changes) => {
    for (const change of changes)
      for (const node of change.addedNodes)
        if (node.matches?.(".column")) watch(node.querySelector("[aria-live=polite]"));
  }).observe(document.body, { childList: true });
});
"""


def press_test(page: Page) -> None:
    button = page.get_by_role("button", name="Test", exact=True)
    button.click()
    expect(button).to_be_enabled()


def toasts(page: Page) -> Locator:
    return page.get_by_role("region", name="Notifications").locator(".toast")


def end_animations(toast: Locator) -> float:
    """Let the time pass in which a notification is shown; return how many seconds it is."""
    milliseconds: float = toast.evaluate(
        """toast => {
          const all = toast.getAnimations();
          const end = Math.max(0, ...all.map(one => one.effect.getComputedTiming().endTime));
          all.forEach(one => one.finish());
          return end;
        }"""
    )
    return milliseconds / 1000


def test_notifications_stack_at_the_bottom_right_and_can_be_closed(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    admin_page.goto(PROVIDERS)
    for count, fault in enumerate(("token-expired", "unavailable", "throttled"), start=1):
        emulator.faults.clear()
        emulator.faults.add(fault)
        press_test(admin_page)
        expect(toasts(admin_page)).to_have_count(count)
    boxes = [toast.bounding_box() for toast in toasts(admin_page).all()]
    size = admin_page.viewport_size
    assert size
    tops = []
    for box in boxes:
        assert box
        assert size["width"] - 48 <= box["x"] + box["width"] <= size["width"]
        assert box["x"] > size["width"] / 2
        tops.append((box["y"], box["y"] + box["height"]))
    assert size["height"] - 48 <= max(bottom for _, bottom in tops) <= size["height"]
    tops.sort()
    assert all(upper[1] <= lower[0] for upper, lower in pairwise(tops))

    toasts(admin_page).first.get_by_role("button", name="Close notification").click()
    expect(toasts(admin_page)).to_have_count(2)


def test_what_is_said_again_takes_the_place_of_what_was_said_before(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    admin_page.goto(PROVIDERS)
    for fault in ("token-expired", "unavailable", "token-expired"):
        emulator.faults.clear()
        emulator.faults.add(fault)
        with admin_page.expect_response(lambda response: "/test/" in response.url):
            press_test(admin_page)
    expect(toasts(admin_page)).to_have_text([re.compile("is down"), re.compile("has expired")])
    for _ in range(2):
        admin_page.evaluate("complain('Stackhook is busy.')")
    expect(toasts(admin_page)).to_have_count(3)
    expect(toasts(admin_page).last).to_contain_text("Stackhook is busy.")


def test_only_the_newest_few_notifications_are_visible(admin_page: Page) -> None:
    admin_page.goto(PROVIDERS)
    for number in range(6):
        admin_page.evaluate(f"complain('Failure {number}')")
    shown = toasts(admin_page).filter(visible=True)
    expect(shown).to_have_text([re.compile(f"Failure {number}") for number in range(2, 6)])
    shown.last.get_by_role("button", name="Close notification").click()
    expect(shown).to_have_text([re.compile(f"Failure {number}") for number in range(1, 5)])


def test_the_test_button_says_that_it_is_at_work(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    admin_page.goto(PROVIDERS)
    with held(admin_page, "**/test/"):
        admin_page.get_by_role("button", name="Test", exact=True).click()
        expect(admin_page.get_by_role("button", name="Testing…", exact=True)).to_be_disabled()
    expect(admin_page.get_by_role("button", name="Test", exact=True)).to_be_enabled()


def test_links_to_set_up_hooks_by_hand_open_beside_the_steps(
    admin_page: Page, integration: Integration
) -> None:
    admin_page.goto(PROVIDERS)
    admin_page.get_by_text("Set up the service hooks by hand").click()
    link = admin_page.get_by_role("link", name="Platform Team")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_a_success_leaves_by_itself_and_an_error_stays_until_it_is_closed(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    admin_page.goto(PROVIDERS)
    press_test(admin_page)
    expect(toasts(admin_page)).to_contain_text([SUCCEEDED])
    assert 4 < end_animations(toasts(admin_page).first) < 20
    expect(toasts(admin_page)).to_have_count(0)

    emulator.faults.add("token-expired")
    press_test(admin_page)
    error = toasts(admin_page).filter(has_text=FAILED)
    expect(error).to_have_role("alert")
    assert end_animations(error) < 1
    admin_page.wait_for_timeout(300)
    expect(error).to_be_visible()
    error.get_by_role("button", name="Close notification").click()
    expect(toasts(admin_page)).to_have_count(0)


def test_a_notification_under_the_pointer_or_with_the_focus_does_not_leave(
    admin_page: Page, integration: Integration
) -> None:
    admin_page.goto(PROVIDERS)
    press_test(admin_page)
    toast = toasts(admin_page).first
    toast.hover()
    expect(toast).to_have_css("animation-play-state", re.compile("^paused"))
    admin_page.mouse.move(0, 0)
    expect(toast).to_have_css("animation-play-state", re.compile("^running"))
    toast.get_by_role("button", name="Close notification").focus()
    expect(toast).to_have_css("animation-play-state", re.compile("^paused"))


def test_notifications_that_come_with_a_page_are_added_to_its_live_region(
    admin_page: Page, organization: Organization, token: str
) -> None:
    admin_page.add_init_script(COUNT_ADDITIONS)
    admin_page.goto(f"{PROVIDERS}azure-devops/set-up/")
    admin_page.get_by_label("Organization URL").fill(organization.url)
    admin_page.get_by_label("Personal access token").fill(token)
    admin_page.get_by_role("button", name="Save").click()
    expect(toasts(admin_page)).to_have_count(2)
    announced = admin_page.evaluate("announced.join()")
    assert "New integration was created" in announced
    assert SUCCEEDED in announced

    admin_page.get_by_role("link", name="Edit").click()
    admin_page.get_by_label("Description").fill("The team's organization")
    admin_page.get_by_role("button", name="Save").click()
    expect(toasts(admin_page)).to_contain_text(["Integration was changed"])
    expect(toasts(admin_page).get_by_role("button", name="Close notification")).to_be_visible()
    admin_page.reload()
    expect(toasts(admin_page)).to_have_count(0)


def test_the_test_button_says_at_once_that_all_is_well(
    admin_page: Page, integration: Integration
) -> None:
    admin_page.goto(PROVIDERS)
    admin_page.evaluate("window.isSamePage = true")
    press_test(admin_page)
    expect(admin_page.get_by_text(SUCCEEDED, exact=True)).to_be_visible()
    assert admin_page.evaluate("window.isSamePage") is True


def test_the_test_button_says_what_is_wrong_and_how_to_repair_it(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    admin_page.goto(PROVIDERS)
    admin_page.evaluate("window.isSamePage = true")
    emulator.faults.add("token-expired")
    press_test(admin_page)
    card = admin_page.get_by_role("article", name="fabrikam")
    for place in (toasts(admin_page), card):
        expect(place).to_contain_text("The token has expired.")
        expect(place).to_contain_text("Create a new token in Azure DevOps")
    expect(card.get_by_text("Not connected")).to_be_visible()

    emulator.faults.clear()
    press_test(admin_page)
    expect(card.get_by_text("Connected", exact=True)).to_be_visible()
    expect(card).not_to_contain_text("The token has expired.")
    assert admin_page.evaluate("window.isSamePage") is True


def test_a_typed_token_survives_a_failed_save_and_is_never_in_the_page(
    admin_page: Page, emulator: Emulator, organization: Organization, token: str
) -> None:
    address = f"{PROVIDERS}azure-devops/set-up/"
    emulator.faults.add("token-expired")
    admin_page.goto(address)
    admin_page.get_by_label("Organization URL").fill(organization.url)
    admin_page.get_by_label("Personal access token").fill(token)
    with admin_page.expect_response(lambda r: r.request.method == "POST") as answer:
        admin_page.get_by_role("button", name="Save").click()
    expect(admin_page.get_by_role("alert")).to_contain_text(f"{FAILED}The token has expired.")
    field = admin_page.get_by_label("Personal access token")
    expect(field).to_have_value(token)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("The token has expired."))
    assert token not in answer.value.text()
    assert token not in admin_page.content()
    assert not Integration.objects.exists()

    emulator.faults.clear()
    admin_page.get_by_role("button", name="Save").click()
    expect(admin_page.get_by_text("New integration was created")).to_be_visible()
    assert token not in admin_page.content()


def test_reveal_shows_the_password_in_the_element_of_that_name_and_is_recorded(
    admin_page: Page, integration: Integration
) -> None:
    password = integration.read_webhook_secret().value
    admin_page.goto(PROVIDERS)
    assert password not in admin_page.content()
    admin_page.get_by_role("button", name="Reveal").click()
    expect(admin_page.get_by_label("Webhook password")).to_have_text(password)
    assert [entry.person for entry in entries_of(integration)] == ["alice"]


def test_copy_puts_the_password_on_the_clipboard_and_counts_as_a_reveal(
    admin_page: Page, context: BrowserContext, integration: Integration
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    password = integration.read_webhook_secret().value
    admin_page.goto(PROVIDERS)
    admin_page.get_by_role("button", name="Copy").click()
    expect(admin_page.get_by_role("button", name="Copied")).to_be_visible()
    assert admin_page.evaluate("navigator.clipboard.readText()") == password
    assert password not in admin_page.content()
    assert [entry.person for entry in entries_of(integration)] == ["alice"]


def test_a_stack_page_reads_the_head_commit_by_itself(
    admin_page: Page, integration: Integration, repository: Repository
) -> None:
    stored = integration.repositories.get()
    stack = make_stack(stored)
    sha = repository.push({"main.tf": "# new"}, message="The newest commit")
    admin_page.goto(stack.get_absolute_url())
    expect(admin_page.get_by_text("The newest commit")).to_be_visible()
    expect(admin_page.get_by_role("link", name=sha[:8])).to_be_visible()
