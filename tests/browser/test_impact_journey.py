"""What a pull request of a module would break is shown in it, before it is merged."""

from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from accounts.models import User
from modules.impact.planning import plan_next_impact, want
from stacks.models import PullRequest, Stack
from stacks.sources.heads import follow_from_now
from tests.browser.conftest import sign_in
from tests.builders import make_integration, make_module, make_run, make_stack
from tests.emulator.model import Organization, Project, Repository
from tests.stacks.execution.conftest import runs_folder, terraform, work
from tests.stacks.reports.sender import send_all

__all__ = ["runs_folder", "terraform"]

RELEASED = """
variable "size" {
  default = 1
}
resource "terraform_data" "network" {
  input = var.size
}
resource "terraform_data" "gateway" {}
"""
# It needs a region, and has no gateway any more.
PROPOSED = """
variable "size" {
  type = number
}
resource "terraform_data" "network" {
  input = var.size
}
"""
OUTPUT = 'output "size" {\n  value = var.size\n}\n'


def calling(modules: Repository, arguments: str) -> str:
    return f'module "network" {{\n  source = "git::{modules.clone_url}//network"\n{arguments}}}\n'


def plan_all() -> None:
    """Let workers do all there is to do."""
    plan_next_impact()
    work()
    send_all()


def test_a_breaking_change_of_a_module_is_shown_before_it_is_merged(
    page: Page,
    azure_devops: Page,
    site: str,
    bob: User,
    organization: Organization,
    project: Project,
    repository: Repository,
    token: str,
) -> None:
    modules = project.add_repository("modules", {"network/main.tf": RELEASED})
    repository.push(
        {
            "shop/main.tf": calling(modules, "  size = 2\n"),
            "office/main.tf": calling(modules, ""),
        }
    )
    integration = make_integration(organization.url, token)
    module = make_module(integration.repositories.get(name="modules"), folder="network")
    for name in ("Shop", "Office"):
        known = integration.repositories.get(name="infrastructure")
        stack = make_stack(known, name, project_root=name.lower(), autodeploy=True)
        assert follow_from_now(stack) is None
        stack.refresh_from_db()
        make_run(stack, sha=stack.head_sha)
    work()
    assert {run.state for stack in Stack.objects.all() for run in stack.runs.all()} == {"finished"}

    # The module's page names who uses it; a pull request is planned there, with the proposed code.
    sign_in(page, site, bob)
    page.goto(f"/modules/{module.address}/stacks/")
    expect(page.get_by_role("row", name="Office")).to_contain_text("by git, the default branch")
    modules.push({"network/main.tf": PROPOSED}, branch="better", message="Ask for a size")
    proposed = modules.open_pull_request("better", title="Ask for a size")
    row = PullRequest.objects.create(
        repository=module.repository,
        number=proposed.id,
        title=proposed.title,
        status="open",
        source_branch="better",
        target_branch="main",
        source_sha=modules.tip("better") or "",
        revision=1,
    )
    assert want(module, row, 1, row.source_sha)
    send_all()
    [status] = proposed.latest_statuses(1)
    assert (status.state, status.description) == ("pending", "2 stacks: 2 not done yet")
    plan_all()

    # One table: what it destroys in one stack, and what it breaks in the other one.
    azure_devops.goto(proposed.url)
    body = azure_devops.locator("body")
    expect(body).to_contain_text("2 stacks: 1 destroying, 1 failed")
    [thread] = proposed.threads
    [comment] = thread.comments
    lines = [line for line in comment.content.splitlines() if line.startswith("| [")]
    assert "[Shop](" in lines[0]
    assert "| 0 | 0 | 1 | **0 to add, 0 to change, 1 to destroy** |" in lines[0]
    assert "[Office](" in lines[1]
    assert "**failed: Missing required argument" in lines[1]
    [status] = proposed.latest_statuses(1)
    assert (str(status.context), status.state) == (
        "stackhook/impact.fabrikam.network.azurerm",
        "failed",
    )
    # The status leads to the page of the impact, and that to the runs.
    page.goto(urlsplit(status.target_url).path)
    expect(page.get_by_role("row", name="Shop")).to_contain_text("Destroys")
    expect(page.get_by_role("row", name="Office")).to_contain_text("Missing required argument")
    page.get_by_role("row", name="Shop").get_by_role("link", name="Run 2").click()
    expect(page.get_by_text("Started by a pull request of a module", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Plan")).to_contain_text("terraform_data.gateway")
    shop = Stack.objects.get(name="Shop")
    assert shop.state_versions.count() == 1  # nothing was applied, and nothing written

    # The next revision repairs it, and the same comment says so.
    modules.push({"network/main.tf": RELEASED + OUTPUT}, branch="better")
    PullRequest.objects.filter(pk=row.pk).update(revision=2, source_sha=modules.tip("better"))
    row.refresh_from_db()
    assert want(module, row, 2, row.source_sha)
    plan_all()
    [comment] = thread.comments
    assert "2 stacks: 2 without changes" in comment.content
    [status] = proposed.latest_statuses(2)
    assert (status.state, status.description) == ("succeeded", "2 stacks: 2 without changes")
