"""The environment of a stack in a real browser, which has its own ways with line breaks."""

from playwright.sync_api import Page

from stacks.environment.variables import environment_of
from stacks.rules.states import Kind
from tests.builders import make_stack
from vcs_integrations.models import Integration


def test_a_value_is_kept_as_it_was_pasted_also_when_it_is_opened_and_saved_again(
    member_page: Page, integration: Integration
) -> None:
    key = "\n\n-----BEGIN KEY-----\n  a\tb  \n-----END KEY-----\n\n"
    page, repository = member_page, integration.repositories.get()
    stack = make_stack(repository)
    for name, value in (("TF_VAR_key", key), ("TF_VAR_empty", "")):
        page.goto("/stacks/network/environment/")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Value").fill(value)
        page.get_by_role("button", name="Add variable").click()
        page.get_by_role("link", name=f"Change {name}").click()
        page.get_by_role("button", name="Save").click()
        page.get_by_text(f"{name} was changed").wait_for()
    assert environment_of(stack, Kind.TRACKED) == ({"TF_VAR_key": key, "TF_VAR_empty": ""}, [])
