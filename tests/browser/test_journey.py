"""The main job from beginning to end, as an admin does it."""

import os
import subprocess
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from tests.conftest import PASSWORD
from tests.emulator import Emulator
from tests.emulator.model import Organization

EVENTS = [
    "Code pushed",
    "Pull request created",
    "Pull request merge attempted",
    "Pull request updated",
]


def test_an_admin_links_receives_a_push_creates_a_stack_unlinks_and_links_again(
    page: Page,
    azure_devops: Page,
    alice: User,
    emulator: Emulator,
    organization: Organization,
    token: str,
    tmp_path: Path,
) -> None:
    sign_in_with_the_form(page)
    link(page, organization.url, token)
    endpoint = fact(page, "Webhook endpoint")
    password = reveal(page)

    add_the_four_hooks(azure_devops, organization, endpoint, password)
    azure_devops.get_by_role("button", name="Test Code pushed").click()
    emulator.wait_for_deliveries()
    page.get_by_role("link", name="Deliveries").first.click()
    row = page.get_by_role("row", name="Code pushed").first
    expect(row).to_contain_text("Test received")

    sha = push_with_git(organization, token, tmp_path)
    emulator.wait_for_deliveries()
    page.reload()
    row = page.get_by_role("row", name="Code pushed").first
    expect(row).to_contain_text("Waiting")
    expect(row).to_contain_text("Platform Team/infrastructure")
    row.get_by_role("link", name="Code pushed").click()
    expect(page.get_by_role("region", name="Body")).to_contain_text(sha)

    create_a_stack(page)
    expect(page.get_by_role("heading", name="Network", level=1)).to_be_visible()
    expect(fact_locator(page, "Head commit")).to_contain_text(sha[:8])
    expect(fact_locator(page, "Head commit")).to_contain_text("Add a variable")
    repository = page.get_by_role("link", name="Platform Team/infrastructure")
    expect(repository).to_have_attribute(
        "href", f"{organization.url}/Platform%20Team/_git/infrastructure"
    )
    branch = page.get_by_role("link", name="main", exact=True)
    expect(branch).to_have_attribute(
        "href", f"{organization.url}/Platform%20Team/_git/infrastructure?version=GBmain"
    )
    stack_address = page.url

    unlink(page)
    expect(page.get_by_text("Integration was unlinked")).to_be_visible()
    assert organization.subscriptions == []
    page.goto(stack_address)
    expect(page.get_by_text("This stack is detached.")).to_be_visible()
    expect(page.get_by_role("link", name="Choose another integration")).to_be_visible()
    page.get_by_role("link", name="Stacks", exact=True).first.click()
    expect(page.get_by_role("row", name="Network")).to_contain_text("Detached")

    link(page, organization.url, token)
    expect(page.get_by_text("Create these service hooks again.")).to_be_visible()
    assert fact(page, "Webhook endpoint") == endpoint
    assert reveal(page) != password
    page.goto(stack_address)
    expect(page.get_by_role("button", name="Refresh")).to_be_visible()
    expect(page.get_by_text("This stack is detached.")).to_have_count(0)


def sign_in_with_the_form(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def link(page: Page, url: str, token: str) -> None:
    page.get_by_label("Main").get_by_role("link", name="VCS providers").click()
    expect(page.get_by_role("heading", name="VCS providers", level=1)).to_be_visible()
    card = page.get_by_role("article", name="Azure DevOps")
    card.get_by_role("link", name="Set up").click()
    save = page.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    page.get_by_label("Organization URL").fill(url)
    expect(save).to_be_disabled()
    page.get_by_label("Personal access token").fill(token)
    expect(save).to_be_enabled()
    save.click()
    expect(page.get_by_text("New integration was created", exact=True)).to_be_visible()
    expect(page.get_by_text("Connecting to Azure DevOps succeeded", exact=True)).to_be_visible()
    expect(page.get_by_role("article", name="fabrikam")).to_contain_text("Connected")


def fact_locator(page: Page, name: str) -> Locator:
    term = page.get_by_role("term").filter(has_text=name)
    return page.locator("dl > div").filter(has=term).get_by_role("definition")


def fact(page: Page, name: str) -> str:
    return fact_locator(page, name).inner_text()


def reveal(page: Page) -> str:
    shown = page.get_by_label("Webhook password")
    expect(shown).to_contain_text("•")
    page.get_by_role("button", name="Reveal").click()
    expect(shown).not_to_contain_text("•")
    return shown.inner_text()


def add_the_four_hooks(
    azure_devops: Page, organization: Organization, endpoint: str, password: str
) -> None:
    azure_devops.goto(f"{organization.url}/Platform%20Team/_settings/serviceHooks")
    for event in EVENTS:
        azure_devops.get_by_label("Webhook URL").fill(endpoint)
        azure_devops.get_by_label("Basic authentication password").fill(password)
        azure_devops.get_by_label("Event").select_option(event)
        azure_devops.get_by_role("button", name="Add subscriptions").click()
        expect(azure_devops.get_by_role("status")).to_contain_text(event)
    assert len(organization.subscriptions) == len(EVENTS)


def push_with_git(organization: Organization, token: str, tmp_path: Path) -> str:
    """Clone, commit and push as a person does; return the commit's sha."""
    address = urlsplit(organization.url)
    clone_url = (
        f"{address.scheme}://any:{quote(token)}@{address.netloc}{address.path}"
        f"/Platform%20Team/_git/infrastructure"
    )
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", clone_url, str(clone))
    (clone / "variables.tf").write_text('variable "region" {}\n', encoding="utf-8")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "Add a variable")
    git(clone, "push", "--quiet")
    return git(clone, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    nobody_asks = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    person = ["-c", "user.name=Ann Admin", "-c", "user.email=ann@fabrikam.example"]
    done = subprocess.run(
        ["git", *person, *arguments],
        cwd=folder,
        env=os.environ | nobody_asks,
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.stdout


def create_a_stack(page: Page) -> None:
    page.get_by_label("Main").get_by_role("link", name="Stacks", exact=True).click()
    page.get_by_role("link", name="Create stack", exact=True).click()
    provider = page.get_by_label("Provider")
    expect(provider.get_by_role("option", name="Azure DevOps · fabrikam")).to_have_count(1)
    page.get_by_role("combobox", name="Repository").press_sequentially("infra")
    page.get_by_role("option", name="Platform Team/infrastructure").click()
    expect(page.get_by_role("combobox", name="Branch")).to_have_value("main")
    page.get_by_role("button", name="Continue").click()

    # The keyboard goes on where the form does: at the heading, or at what is wrong.
    expect(page.get_by_role("heading", name="Create stack")).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value("infrastructure")
    page.get_by_label("Name", exact=True).fill("")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.get_by_label("Name", exact=True).fill("Network")
    page.get_by_label("Description").fill("VNets and peerings")
    page.get_by_label("Project root").fill("infra/network")
    page.get_by_label("Labels").fill("azure, prod")
    page.get_by_role("button", name="Continue").click()

    drafts = page.get_by_label("Draft pull requests")
    expect(drafts).to_be_checked()
    expect(page.get_by_label("Pull requests from forks")).not_to_be_checked()
    drafts.uncheck()
    page.get_by_label("Also run on these paths").fill("modules/*")
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Back").click()
    repository = page.get_by_role("combobox", name="Repository")
    expect(repository).to_have_value("Platform Team/infrastructure")
    expect(page.get_by_role("combobox", name="Branch")).to_have_value("main")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Network")
    expect(page.get_by_label("Description")).to_have_value("VNets and peerings")
    expect(page.get_by_label("Project root")).to_have_value("infra/network")
    expect(page.get_by_label("Labels")).to_have_value("azure, prod")
    page.get_by_role("button", name="Continue").click()
    expect(drafts).not_to_be_checked()
    expect(page.get_by_label("Run only when files")).to_be_checked()
    expect(page.get_by_label("Also run on these paths")).to_have_value("modules/*")
    expect(page.get_by_label("Autodeploy")).not_to_be_checked()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Tool")).to_have_value("terraform")
    page.get_by_role("button", name="Create stack").click()


def unlink(page: Page) -> None:
    page.get_by_label("Main").get_by_role("link", name="VCS providers").click()
    page.get_by_role("link", name="Unlink").click()
    main = page.get_by_role("main")
    expect(main.get_by_role("link", name="Network")).to_be_visible()
    for event in EVENTS:
        expect(main.get_by_text(f"{event} in Platform Team", exact=True)).to_be_visible()
    expect(main.get_by_role("link", name="Cancel")).to_be_visible()
    main.get_by_role("button", name="Unlink").click()
