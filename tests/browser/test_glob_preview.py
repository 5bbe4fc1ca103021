"""The list of files that match the globs follows what is typed."""

import pytest
from playwright.sync_api import Page, expect

from stacks.models import Stack
from tests.builders import make_stack
from tests.emulator.model import Repository
from vcs_integrations.models import Integration


@pytest.fixture
def behavior(integration: Integration, repository: Repository) -> str:
    """The address of a stack's behavior; its repository has three files on main."""
    repository.push({"modules/vpc.tf": "1", "docs/a.md": "1"})
    row = integration.repositories.get(name="infrastructure")
    stack = make_stack(row, extra_globs=["modules/**/*.tf"])
    return f"{stack.get_absolute_url()}behavior/"


def test_the_matching_files_follow_what_is_typed(member_page: Page, behavior: str) -> None:
    page = member_page
    page.goto(behavior)
    matches = page.get_by_role("list", name="Matching files").get_by_role("listitem")
    expect(matches).to_have_text(["modules/vpc.tf"])
    globs = page.get_by_label("Also run on these paths")
    globs.press("Control+End")
    globs.press_sequentially("\n**/*.md")
    expect(matches).to_have_text(["docs/a.md", "modules/vpc.tf"])
    globs.press_sequentially("\n!docs/**")
    expect(matches).to_have_text(["modules/vpc.tf"])
    globs.fill("modules/*.md")
    expect(page.get_by_text("Matching files on main: none of 3")).to_be_visible()
    globs.fill("modules/{a,b}.tf")
    expect(page.get_by_text("has braces, which are not supported")).to_be_visible()
    globs.fill("/main.tf")
    page.get_by_role("button", name="Show matching files").click()
    expect(matches).to_have_text(["main.tf"])
    expect(globs).to_have_value("/main.tf")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Stack Network was changed")).to_be_visible()
    assert Stack.objects.get().extra_globs == ["/main.tf"]
