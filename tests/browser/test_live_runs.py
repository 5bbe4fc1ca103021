"""A stack's page shows what happens without being reloaded; the ledger filters as one types."""

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from stacks.models import Run, Stack
from stacks.rules.states import State
from tests.browser.conftest import WAIT_AT_MOST, Watch
from tests.builders import make_run, make_stack
from vcs_integrations.models import Delivery, Integration


@pytest.fixture
def stack(integration: Integration) -> Stack:
    repository = integration.repositories.get()
    return make_stack(repository)


def requests(page: Page) -> list[str]:
    """Return a list that grows with each address that is asked for."""
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    return asked


def test_a_run_appears_and_changes_its_state_on_an_open_page(
    member_page: Page, stack: Stack
) -> None:
    page = member_page
    page.goto(stack.get_absolute_url())
    expect(page.get_by_text("No run yet.")).to_be_visible()
    page.evaluate("window.wasHere = true")
    run = make_run(stack, 1, message="Widen the subnet")
    row = page.get_by_role("row", name="Widen the subnet")
    expect(row).to_contain_text("Queued")

    row.get_by_role("link", name="1", exact=True).focus()
    run.move_to(State.SUPERSEDED)
    expect(row).to_contain_text("Superseded")
    assert page.evaluate("document.activeElement.id") == "run-1"
    assert page.evaluate("window.wasHere")

    row.get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run 1")


def test_copy_puts_the_name_for_a_branch_policy_on_the_clipboard(
    member_page: Page, context: BrowserContext, stack: Stack
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = member_page
    page.goto(stack.get_absolute_url())
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "stackhook/network"
    make_run(stack, 1, message="Widen the subnet")
    expect(page.get_by_role("row", name="Widen the subnet")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_be_visible()


def test_a_page_that_nobody_sees_does_not_ask(member_page: Page, stack: Stack) -> None:
    page = member_page
    page.goto(stack.get_absolute_url())
    asked = requests(page)
    with page.expect_request("**version=**"):
        pass
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    before = len(asked)
    page.wait_for_timeout(5_000)
    assert len(asked) == before
    page.evaluate("delete document.hidden")
    with page.expect_request("**version=**"):
        pass


def test_a_page_that_can_not_ask_says_so_until_it_can(
    member_page: Page, stack: Stack, watch: Watch
) -> None:
    page = member_page
    page.goto(stack.get_absolute_url())
    watch.expected_refusals.add(503)

    def refuse(route: Route) -> None:
        route.fulfill(status=503)

    page.route("**version=**", refuse)
    note = page.get_by_text("Stackhook can't be reached")
    expect(note).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)  # it would come again and again
    page.unroute("**version=**", refuse)
    expect(note).to_have_count(0, timeout=WAIT_AT_MOST)
    watch.complaints = [one for one in watch.complaints if "Response Status Error" not in one]


def test_a_page_of_what_was_deleted_says_so(member_page: Page, stack: Stack, watch: Watch) -> None:
    page = member_page
    page.goto(stack.get_absolute_url())
    watch.expected_refusals.add(404)
    stack.delete()
    expect(page.get_by_text("This is no longer there. Reload the page.")).to_be_visible()
    watch.complaints = [one for one in watch.complaints if "Response Status Error" not in one]


def test_the_ledger_filters_as_one_types_and_replays_what_is_selected(
    admin_page: Page, integration: Integration
) -> None:
    page = admin_page
    for name in ("Web/shop", "Platform Team/infrastructure"):
        Delivery.objects.create(
            integration=integration,
            outcome="no_run",
            event_type="git.push",
            repository_name=name,
            body=b"{}",
        )
    address = f"/settings/vcs-providers/{integration.pk}/deliveries/"
    page.goto(address)
    rows = page.get_by_role("row", name="Code pushed")
    expect(rows).to_have_count(2)
    page.get_by_label("Repository").press_sequentially("shop")
    expect(rows).to_have_count(1)
    page.get_by_label("Outcome").select_option("Run")
    expect(page.get_by_text("No delivery matches.")).to_be_visible()
    page.get_by_label("Outcome").select_option("No run")
    expect(rows).to_have_count(1)
    assert "repository=shop" in page.url and "outcome=no_run" in page.url

    page.reload()
    page.get_by_role("checkbox", name="Select delivery").check()
    page.get_by_role("button", name="Replay selected").click()
    expect(page.get_by_text("1 delivery will be processed again")).to_be_visible()
    assert "repository=shop" in page.url
    assert Delivery.objects.waiting().get().repository_name == "Web/shop"
    assert not Run.objects.exists()


def test_a_replayed_delivery_turns_to_its_result(
    admin_page: Page, integration: Integration
) -> None:
    page = admin_page
    delivery = Delivery.objects.create(
        integration=integration, outcome="no_run", event_type="git.push", body=b"{}"
    )
    page.goto(delivery.get_absolute_url())
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("The worker takes it up within seconds.")).to_be_visible()
    page.get_by_role("button", name="Replay").focus()
    Delivery.objects.update(outcome="no_run", reason="The branch was deleted", due_at=None)
    expect(page.get_by_text("The branch was deleted")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "replay"


def test_what_is_selected_stays_selected_while_deliveries_arrive(
    admin_page: Page, integration: Integration
) -> None:
    page = admin_page
    first = Delivery.objects.create(
        integration=integration, outcome="no_run", event_type="git.push", body=b"{}"
    )
    page.goto(f"{integration.get_absolute_url()}deliveries/")
    page.get_by_label(f"Select delivery {first.pk}").check()
    Delivery.objects.create(
        integration=integration, outcome="no_run", event_type="git.push", body=b"{}"
    )
    expect(page.get_by_role("row", name="Code pushed")).to_have_count(2)
    expect(page.get_by_label(f"Select delivery {first.pk}")).to_be_checked()
