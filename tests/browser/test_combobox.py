"""The fields that search repositories and branches, by keyboard and by pointer."""

import re
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Watch, held
from tests.builders import make_integration
from tests.emulator.model import Organization
from vcs_integrations.models import Integration

NEW_STACK = "/stacks/new/"


@pytest.fixture
def several(organization: Organization, integration: Integration) -> Integration:
    """The organization with repositories of all kinds of names and states, linked."""
    project = organization.add_project("Straßen & Brücken")
    files = {"main.tf": "# nothing"}
    project.add_repository("Größe 100%", files)
    project.add_repository("café-日本", files)
    organization.add_project("Web").add_repository("closed", files).disable()
    organization.add_project("Data").add_repository("nothing yet")
    repository = organization.projects[0].repositories[0]
    for branch in ("feature/größer", "release-1", "feature/kleiner"):
        repository.push({"main.tf": branch}, branch=branch)
    return integration


def fields(page: Page) -> tuple[Locator, Locator]:
    return (
        page.get_by_role("combobox", name="Repository"),
        page.get_by_role("combobox", name="Branch"),
    )


def options(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Matches").get_by_role("option")


def refresh(page: Page) -> None:
    """Read the list of repositories again, as the worker does."""
    page.goto("/settings/vcs-providers/")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("Connecting to Azure DevOps succeeded")).to_be_visible()


@pytest.mark.usefixtures("several")
def test_the_keyboard_alone_chooses_a_repository(admin_page: Page) -> None:
    page = admin_page
    refresh(page)
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    expect(repository).to_have_attribute("aria-expanded", "false")
    repository.focus()
    page.keyboard.press("ArrowDown")
    expect(repository).to_have_attribute("aria-expanded", "true")
    expect(options(page)).to_have_count(4)
    expect(repository).not_to_have_attribute("aria-activedescendant", re.compile("."))

    page.keyboard.press("ArrowDown")
    expect_active(repository, options(page).nth(0))
    page.keyboard.press("ArrowDown")
    expect_active(repository, options(page).nth(1))
    page.keyboard.press("ArrowUp")
    expect_active(repository, options(page).nth(0))
    page.keyboard.press("ArrowUp")
    expect_active(repository, options(page).nth(3))
    chosen = "Straßen & Brücken/Größe 100%"
    expect(options(page).nth(3)).to_have_text(chosen)
    page.keyboard.press("Enter")
    expect(repository).to_have_value(chosen)
    expect(repository).to_be_focused()
    expect(repository).to_have_attribute("aria-expanded", "false")
    expect(repository).not_to_have_attribute("aria-activedescendant", re.compile("."))
    expect(branch).to_have_value("main")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Project root")).to_be_visible()
    expect(page.get_by_text(f"From {chosen}, branch main")).to_be_visible()


def expect_active(field: Locator, option: Locator) -> None:
    expect(option).to_have_attribute("aria-selected", "true")
    identity = option.get_attribute("id")
    assert identity
    expect(field).to_have_attribute("aria-activedescendant", identity)
    controls = field.get_attribute("aria-controls")
    assert controls
    popup = field.page.locator(f"[id='{controls}']")
    expect(popup.locator("[aria-selected=true]")).to_have_count(1)


@pytest.mark.usefixtures("several")
def test_escape_and_tab_close_the_list_and_keep_what_was_typed(admin_page: Page) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    repository.press_sequentially("infra")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(options(page)).to_be_hidden()
    expect(repository).to_have_attribute("aria-expanded", "false")
    expect(repository).to_have_value("infra")
    page.keyboard.press("ArrowDown")
    expect(options(page).first).to_be_visible()
    page.keyboard.press("Tab")
    expect(branch).to_be_focused()
    expect(options(page)).to_have_count(0)
    expect(repository).to_have_attribute("aria-expanded", "false")
    expect(repository).to_have_value("infra")


@pytest.mark.usefixtures("several")
def test_typing_finds_names_with_spaces_and_any_letters_in_any_case(admin_page: Page) -> None:
    page = admin_page
    refresh(page)
    page.goto(NEW_STACK)
    repository, _ = fields(page)
    for typed, found in {
        "PLATFORM infra": "Platform Team/infrastructure",
        "BRÜCKEN grö": "Straßen & Brücken/Größe 100%",
        "100%": "Straßen & Brücken/Größe 100%",
        "日本": "Straßen & Brücken/café-日本",
    }.items():
        repository.fill("")
        repository.press_sequentially(typed)
        expect(options(page)).to_have_text([found])
    repository.fill("")
    repository.press_sequentially("cluster")
    expect(page.get_by_text("No repository matches.")).to_be_visible()
    expect(options(page)).to_have_count(0)
    expect(repository).to_have_attribute("aria-expanded", "false")


@pytest.mark.usefixtures("several")
def test_disabled_repositories_are_not_offered_and_empty_ones_say_so(admin_page: Page) -> None:
    page = admin_page
    refresh(page)
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    repository.click()
    expect(options(page)).to_have_count(4)
    expect(options(page).filter(has_text="closed")).to_have_count(0)
    expect(options(page).filter(has_text="nothing yet")).to_have_text("Data/nothing yet empty")
    options(page).filter(has_text="nothing yet").click()
    expect(repository).to_have_value("Data/nothing yet")
    page.get_by_role("button", name="Continue").click()
    expect(branch).to_have_accessible_description(re.compile("Data/nothing yet is empty. Push"))


@pytest.mark.usefixtures("several")
def test_branches_are_searched_too_with_the_default_one_first(admin_page: Page) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    branch.click()
    expect(page.get_by_text("Choose a repository first.")).to_be_visible()
    repository.press_sequentially("infra")
    options(page).first.click()
    branch.click()
    expect(options(page)).to_have_text(
        ["main default", "feature/größer", "feature/kleiner", "release-1"]
    )
    branch.fill("")
    branch.press_sequentially("FEATURE GRÖ")
    expect(options(page)).to_have_text(["feature/größer"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(branch).to_have_value("feature/größer")
    branch.fill("no-such-branch")
    expect(page.get_by_text("No branch matches.")).to_be_visible()


@pytest.mark.usefixtures("several")
def test_enter_before_the_list_is_there_sends_nothing_and_keeps_the_text(
    admin_page: Page,
) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, _ = fields(page)
    with held(page, "**/stacks/new/repositories/**"):
        repository.press_sequentially("infra")
        page.keyboard.press("Enter")  # before it is even asked for
        page.wait_for_timeout(300)
        page.keyboard.press("Enter")  # while it is on its way
        page.wait_for_timeout(200)
        expect(repository).to_have_value("infra")
        expect(page.get_by_text("has no repository")).to_have_count(0)
    expect(options(page)).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(repository).to_have_value("Platform Team/infrastructure")
    with held(page, "**/stacks/new/repositories/**"):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_timeout(200)
        expect(repository).to_have_value("Platform Team/infrastructure")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Project root")).to_be_visible()


@pytest.mark.usefixtures("several")
def test_the_list_of_branches_says_that_it_is_being_read(admin_page: Page) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    repository.fill("Platform Team/infrastructure")
    expect(options(page)).to_have_count(1)
    with held(page, "**/stacks/new/branches/**"):
        branch.click()
        expect(page.get_by_text("Reading branches…")).to_be_visible()
        expect(branch).to_have_attribute("aria-expanded", "false")
    expect(options(page)).to_have_count(4)
    expect(page.get_by_text("Reading branches…")).to_have_count(0)


@pytest.mark.usefixtures("several")
def test_a_list_that_can_not_be_read_does_not_wait_for_ever(admin_page: Page, watch: Watch) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    _, branch = fields(page)
    page.route("**/stacks/new/branches/**", lambda route: route.fulfill(status=500, body=""))
    branch.click()
    expect(page.get_by_role("alert")).to_contain_text("HTTP 500")
    expect(page.get_by_text("Reading branches…")).to_be_hidden()
    watch.complaints.clear()  # browser and htmx name the failure, too


def test_a_pasted_page_of_a_branch_chooses_the_branch_too(
    admin_page: Page, organization: Organization, several: Integration
) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    clone_url = organization.projects[0].repositories[0].clone_url
    repository.fill(f"{clone_url}?version=GBrelease-1")
    expect(options(page)).to_have_text(["Platform Team/infrastructure"])
    options(page).first.click()
    expect(branch).to_have_value("release-1")


def test_ten_thousand_repositories_are_searched_quickly_and_the_list_stays_short(
    admin_page: Page, organization: Organization, token: str
) -> None:
    page = admin_page
    organization.add_project("Services").add_repositories(10_000)
    integration = make_integration(organization.url, token)
    assert integration.repositories.count() == 10_001
    page.goto(NEW_STACK)
    repository, branch = fields(page)
    repository.click()
    expect(options(page)).to_have_count(50)
    expect(page.get_by_text("More than 50 match: type more to narrow them down.")).to_be_visible()
    repository.fill("services 777")
    start = time.monotonic()
    expect(options(page)).to_have_count(19)
    assert time.monotonic() - start < 2
    repository.fill("service-07777")
    expect(options(page)).to_have_text(["Services/service-07777"])
    options(page).first.click()
    expect(repository).to_have_value("Services/service-07777")
    expect(branch).to_have_value("main")
    branch.click()
    expect(options(page)).to_have_text(["main default"])


def test_a_pasted_clone_url_finds_its_repository(
    admin_page: Page, organization: Organization, integration: Integration
) -> None:
    page = admin_page
    page.goto(NEW_STACK)
    repository, _ = fields(page)
    clone_url = organization.projects[0].repositories[0].clone_url
    repository.fill(clone_url.replace("http://", "http://fabrikam@"))
    expect(options(page)).to_have_text(["Platform Team/infrastructure"])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("From Platform Team/infrastructure, branch main")).to_be_visible()
