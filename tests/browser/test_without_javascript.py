"""Everything works in a browser that runs no scripts."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile_next
from stacks.models import Stack
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.conftest import PASSWORD
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.stacks.reports.sender import look, send_all
from vcs_integrations.models import Integration

PROVIDERS = "/settings/vcs-providers/"


@pytest.fixture
def has_javascript() -> bool:
    return False


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_an_admin_signs_in_and_links_and_sees_what_is_missing(
    page: Page, alice: User, organization: Organization, token: str
) -> None:
    page.goto(PROVIDERS)
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    card = page.get_by_role("article", name="Azure DevOps")
    card.get_by_role("link", name="Set up").click()
    press(page, "Save")
    for label in ("Organization URL", "Personal access token"):
        field = page.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Fill this in.")).to_have_count(2)

    page.get_by_label("Organization URL").fill(organization.url)
    page.get_by_label("Personal access token").fill("wrong-token")
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Connecting to Azure DevOps failed: ")
    expect(page.get_by_label("Organization URL")).to_have_value(organization.url)
    expect(page.get_by_label("Personal access token")).to_have_value("")

    page.get_by_label("Personal access token").fill(token)
    press(page, "Save")
    expect(page.get_by_text("New integration was created", exact=True)).to_be_visible()
    expect(page.get_by_text("Connecting to Azure DevOps succeeded", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Close notification")).to_have_count(0)
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)


def test_an_admin_reveals_tests_edits_and_unlinks(
    admin_page: Page, integration: Integration, emulator: Emulator
) -> None:
    page = admin_page
    password = integration.read_webhook_secret().value
    page.goto(PROVIDERS)
    press(page, "Reveal")
    expect(page.get_by_label("Webhook password")).to_have_text(password)
    press(page, "Test")
    expect(page.get_by_text("Connecting to Azure DevOps succeeded", exact=True)).to_be_visible()
    emulator.faults.add("token-expired")
    press(page, "Test")
    expect(page.get_by_role("alert")).to_contain_text("The token has expired.")
    expect(page.get_by_text("Not connected")).to_be_visible()
    emulator.faults.clear()

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Fabrikam")
    press(page, "Save")
    expect(page.get_by_role("article", name="Fabrikam")).to_be_visible()
    page.get_by_role("link", name="Unlink").click()
    press(page, "Unlink")
    expect(page.get_by_text("Integration was unlinked", exact=True)).to_be_visible()
    expect(page.get_by_role("article", name="Fabrikam")).to_have_count(0)


def test_a_member_creates_changes_and_deletes_a_stack(
    member_page: Page, integration: Integration, organization: Organization
) -> None:
    page = member_page
    page.goto("/stacks/")
    page.get_by_role("link", name="Create stack", exact=True).click()
    press(page, "Continue")
    expect(page.get_by_text("Choose a repository.")).to_have_count(1)
    page.get_by_label("Repository").fill(organization.projects[0].repositories[0].clone_url)
    press(page, "Continue")
    summary = page.get_by_text("From Platform Team/infrastructure, branch main")
    expect(summary).to_be_visible()
    page.get_by_label("Labels").fill("azure")
    page.get_by_label("Name", exact=True).fill("")
    press(page, "Continue")
    expect(page.get_by_text("Give the stack a name.")).to_have_count(1)
    press(page, "Back")
    expect(page.get_by_label("Branch")).to_have_value("main")
    press(page, "Continue")
    expect(page.get_by_label("Labels")).to_have_value("azure")
    page.get_by_label("Name").fill("Network")
    press(page, "Continue")
    page.get_by_label("Run only when files").uncheck()
    page.get_by_label("Pull requests only").check()
    page.get_by_label("Also run on these paths").fill("*.tf")
    press(page, "Show matching files")
    expect(page.get_by_role("list", name="Matching files")).to_have_text("main.tf")
    expect(page.get_by_label("Pull requests only")).to_be_checked()
    press(page, "Back")
    press(page, "Continue")
    expect(page.get_by_label("Run only when files")).not_to_be_checked()
    expect(page.get_by_label("Draft pull requests")).to_be_checked()
    expect(page.get_by_label("Pull requests only")).to_be_checked()
    press(page, "Continue")
    page.get_by_label("Tool").select_option("OpenTofu")
    press(page, "Create stack")
    expect(page.get_by_text("Stack Network was created")).to_be_visible()
    expect(page.get_by_text("Initial commit")).to_be_visible()
    press(page, "Refresh")
    expect(page.get_by_text("Initial commit")).to_be_visible()

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Network of Europe")
    press(page, "Save")
    expect(page.get_by_role("heading", level=1)).to_have_text("Network of Europe")
    page.get_by_role("link", name="Stacks").first.click()
    page.get_by_label("Search stacks").fill("nothing")
    press(page, "Search")
    expect(page.get_by_text("No stack matches “nothing”.")).to_be_visible()
    page.get_by_label("Search stacks").fill("europe")
    press(page, "Search")
    page.get_by_role("link", name="Network of Europe").click()
    page.get_by_role("link", name="Delete").click()
    press(page, "Delete")
    expect(page.get_by_text("To confirm, type the stack's name")).to_be_visible()
    assert Stack.objects.count() == 1
    page.get_by_label("Stack to delete").fill("Network of Europe")
    press(page, "Delete")
    expect(page.get_by_text("Stack Network of Europe was deleted")).to_be_visible()
    assert not Stack.objects.exists()


def test_a_member_plans_what_is_older_than_a_stack_and_allows_a_commit_of_a_fork(
    member_page: Page, integration: Integration, repository: Repository
) -> None:
    page = member_page
    fork = repository.fork("fork")
    for number in range(11):
        repository.push({f"{number}.tf": "1"}, f"topic/{number}", f"Change {number}")
        repository.open_pull_request(f"topic/{number}")
    stack = make_stack(integration.repositories.get())
    assert follow_from_now(stack) is None
    assert reconcile_next()
    page.goto(stack.get_absolute_url())
    press(page, "Plan 11 open pull requests")
    expect(page.get_by_text("11 open pull requests will be planned")).to_be_visible()
    assert plan_next()
    page.reload()
    expect(page.get_by_text("1 open pull request is older than this stack")).to_be_visible()

    fork.push({"fork.tf": "1"}, "idea", "An idea", start="main")
    one = repository.open_pull_request("idea", fork=fork)
    look(stack)
    send_all()
    [status] = one.statuses
    page.goto(status.target_url)
    expect(page.get_by_text("An idea")).to_have_count(1)
    press(page, "Allow once")
    expect(page.get_by_text("Allowed by bob")).to_be_visible()
    assert stack.runs.filter(sha=one.source_commit).count() == 1


def test_a_member_confirms_where_a_first_secret_is_sent(
    member_page: Page, integration: Integration
) -> None:
    page, repository = member_page, integration.repositories.get()
    stack = make_stack(repository)
    stack.variables.create(name="VAULT_ADDR", value="https://vault.example")
    page.goto("/stacks/network/environment/")
    page.get_by_label("Name", exact=True).fill("TF_VAR_password")
    page.get_by_label("Secret", exact=True).check()
    for is_confirmed in (False, True):
        page.get_by_label("Value").fill("a-secret")
        confirmed = page.get_by_label("I checked where these variables send the secret")
        confirmed.set_checked(is_confirmed)
        press(page, "Add variable")
        said = "TF_VAR_password was added" if is_confirmed else "The secret was not stored"
        expect(page.get_by_text(said)).to_be_visible()
    assert stack.variables.get(name="TF_VAR_password").is_secret
