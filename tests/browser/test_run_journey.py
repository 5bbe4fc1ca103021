"""From a push to what Azure DevOps shows of its run, and from a confirmation to the state."""

from pathlib import Path

from playwright.sync_api import Page, expect

from accounts.models import User
from stacks.sources.heads import follow_from_now
from tests.browser.test_journey import (
    add_the_four_hooks,
    fact,
    git,
    link,
    push_with_git,
    reveal,
    sign_in_with_the_form,
)
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.emulator.model import Repository as Remote
from tests.stacks.execution.conftest import THREE, runs_folder, terraform, work
from tests.stacks.reports.sender import send_all
from vcs_integrations.models import Repository
from vcs_integrations.webhooks.processing import process_due

__all__ = ["runs_folder", "terraform"]


def test_a_push_is_planned_reported_confirmed_and_applied(
    page: Page,
    azure_devops: Page,
    alice: User,
    emulator: Emulator,
    organization: Organization,
    repository: Remote,
    token: str,
    tmp_path: Path,
) -> None:
    sign_in_with_the_form(page)
    link(page, organization.url, token)
    add_the_four_hooks(azure_devops, organization, fact(page, "Webhook endpoint"), reveal(page))
    push_with_git(organization, token, tmp_path)
    stack = make_stack(Repository.objects.get(name="infrastructure"))
    assert follow_from_now(stack) is None
    page.goto(stack.get_absolute_url())
    expect(page.get_by_text("No run yet")).to_be_visible()
    page.get_by_role("link", name="Environment", exact=True).click()
    page.get_by_label("Name").fill("TF_VAR_region")
    page.get_by_label("Value").fill("westeurope")
    page.get_by_role("button", name="Add variable").click()
    expect(page.get_by_role("row", name="TF_VAR_region")).to_contain_text("westeurope")
    page.goto(stack.get_absolute_url())

    # A pull request is planned, and says so where it is reviewed.
    clone = tmp_path / "clone"
    git(clone, "checkout", "--quiet", "-b", "topic")
    (clone / "main.tf").write_text(THREE, encoding="utf-8")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "Add a network")
    git(clone, "push", "--quiet", "origin", "topic")
    proposed = repository.open_pull_request("topic")
    settle(emulator)
    run = page.get_by_role("row", name="Add a network")
    expect(run).to_contain_text("Planned")
    azure_devops.goto(proposed.url)
    listed = azure_devops.get_by_role("listitem").filter(has_text="stackhook/network")
    expect(listed).to_contain_text("planned: 3 to add, 0 to change, 0 to destroy, 2 outputs")
    [status] = proposed.latest_statuses(1)
    assert (str(status.context), status.state) == ("stackhook/network", "succeeded")
    [thread] = proposed.threads
    [comment] = thread.comments
    assert "terraform_data.network[0]" in comment.content

    # It is merged, planned on the tracked branch, confirmed by a person, and applied.
    proposed.complete()
    settle(emulator)
    page.get_by_role("row", name="Merged PR 1").get_by_role("link", name="2", exact=True).click()
    expect(page.get_by_text("Waiting for confirmation.")).to_be_visible()
    plan = page.get_by_role("region", name="Plan")
    expect(plan).to_contain_text("terraform_data.network[2]")
    assert not stack.state_versions.exists()
    page.get_by_label("Note").fill("Go")
    page.get_by_role("button", name="Apply: 3 add, 0 change, 0 destroy, 2 outputs").click()
    expect(page.get_by_text("Run 2 was confirmed")).to_be_visible()
    settle(emulator)
    log = page.get_by_role("region", name="Lines of the log")
    expect(log).to_contain_text("Apply complete! Resources: 3 added")
    assert stack.state_versions.get().resources == 3

    # What changes nothing says so.
    git(clone, "checkout", "--quiet", "main")
    git(clone, "pull", "--quiet")
    (clone / "notes.md").write_text("Nothing for Terraform\n", encoding="utf-8")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "Write notes")
    git(clone, "push", "--quiet")
    settle(emulator)
    page.goto(stack.get_absolute_url())
    page.get_by_role("row", name="Write notes").get_by_role("link", name="3", exact=True).click()
    expect(page.get_by_text("No changes: what there is matches the code.")).to_be_visible()


def settle(emulator: Emulator) -> None:
    """Let everything arrive, and workers do all there is to do."""
    emulator.wait_for_deliveries()
    while process_due():
        pass
    work()
    send_all()
