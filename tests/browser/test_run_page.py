"""The page of a run while it goes: its log grows, its state changes, a person confirms."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from stacks.models import LogChunk, Run
from stacks.rules.states import State
from tests.builders import make_plan, make_run, make_stack, write_log
from vcs_integrations.models import Integration


@pytest.fixture
def run(integration: Integration) -> Run:
    repository = integration.repositories.get()
    stack = make_stack(repository)
    return make_run(stack, 1, state=State.PLANNING)


def test_the_log_grows_without_a_reload_and_a_person_confirms(member_page: Page, run: Run) -> None:
    page = member_page
    page.goto(run.get_absolute_url())
    page.evaluate("window.wasHere = true")
    log = page.get_by_role("region", name="Lines of the log")
    expect(log).to_contain_text("Nothing was logged yet.")
    write_log(run, "\x1b[32mInitializing\x1b[0m\n")
    expect(log.locator(".log-green")).to_have_text("Initializing")
    expect(log).not_to_contain_text("Nothing was logged yet.")

    # Who reads at the end stays there; who reads above is left alone.
    write_log(run, "one line\n" * 400)
    expect(log).to_contain_text("one line")
    at_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    expect(log.locator("#L401")).to_be_visible()
    assert log.evaluate(at_end) < 5
    log.evaluate("log => log.scrollTop = 0")
    write_log(run, "the last line\n")
    expect(log).to_contain_text("the last line")
    assert log.evaluate("log => log.scrollTop") == 0

    change = {"actions": ["create"], "after": {"size": "large"}}
    make_plan(run, {"resource_changes": [{"address": "a.b", "change": change}]})
    run.move_to(State.UNCONFIRMED)
    plan = page.get_by_role("region", name="Plan")
    plan.locator("summary").click()
    expect(plan.get_by_role("row", name="size")).to_contain_text('"large"')
    page.get_by_label("Note").fill("Looks right")
    page.get_by_role("button", name="Apply: 1 add, 0 change, 0 destroy").click()
    expect(page.get_by_text("Run 1 was confirmed")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Looks right")).to_contain_text(
        "Confirmed by bob"
    )


def test_a_long_log_leaves_the_page_light(member_page: Page, run: Run) -> None:
    page = member_page
    line = "0123456789abcdef" * 6 + "\n"
    write_log(run, *[line * 330] * 320)
    page.goto(run.get_absolute_url())
    log = page.get_by_role("region", name="Lines of the log")
    assert log.evaluate("log => log.innerHTML.length") < 300_000
    write_log(run, *[line * 330] * 39)
    write_log(run, "the last line\n")
    expect(log).to_contain_text("the last line")
    assert log.evaluate("log => log.textContent.length") < 1_100_000


def test_on_paper_the_log_is_whole_and_there_is_nothing_to_press(
    member_page: Page, run: Run
) -> None:
    page = member_page
    write_log(run, "one line\n" * 400)
    page.goto(run.get_absolute_url())
    log = page.get_by_role("region", name="Lines of the log")
    cut = "log => log.scrollHeight - log.clientHeight"
    assert log.evaluate(cut) > 1000
    page.emulate_media(media="print")
    assert log.evaluate(cut) == 0
    expect(log.locator("#L400")).to_be_visible()
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    expect(page.get_by_role("button").filter(visible=True)).to_have_count(0)


def test_long_lines_are_wrapped_unless_a_reader_switches_that_off(
    member_page: Page, run: Run
) -> None:
    page = member_page
    page.set_viewport_size({"width": 390, "height": 844})
    write_log(run, "no-space-" * 99 + "\n")
    page.goto(run.get_absolute_url())
    log = page.get_by_role("region", name="Lines of the log")
    beyond = "log => log.scrollWidth - log.clientWidth"
    assert log.evaluate(beyond) == 0
    page.get_by_label("Wrap lines").uncheck()
    assert log.evaluate(beyond) > 1000


IS_ON_TOP = """line => {
  const box = line.getBoundingClientRect();
  return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === line;
}"""


def test_links_lead_to_phases_lines_and_what_is_found(member_page: Page, run: Run) -> None:
    page = member_page
    page.set_viewport_size({"width": 390, "height": 844})
    phase = LogChunk.Phase
    write_log(run, "Fetching\n" * 99, phase=phase.FETCHING)
    write_log(run, "Initializing <b>it</b>\n" * 99, phase=phase.INITIALIZING)
    page.goto(run.get_absolute_url())
    write_log(run, "Planning\n" * 99)
    page.get_by_role("link", name="Plan", exact=True).click()
    log = page.get_by_role("region", name="Lines of the log")
    expect(log.locator("#L199")).to_be_in_viewport()
    expect(log.get_by_role("heading", name="Plan")).to_be_in_viewport()
    expect(log.locator("#L1")).not_to_be_in_viewport()

    page.get_by_role("searchbox", name="Search the log").fill("ING <B>IT")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("99 lines with “ING <B>IT”.")).to_be_visible()
    page.get_by_role("link", name="Line 150").click()
    expect(log.locator("#L150")).to_be_in_viewport()
    assert log.locator("#L150").evaluate(IS_ON_TOP)  # of the bar and the heading that stay
    expect(log.locator("#L199")).not_to_be_in_viewport()
    log.locator("#L151").click()
    expect(log.locator("#L151")).to_be_in_viewport()
    assert page.url.endswith("?line=151#L151")
    # What is added does not move who reads a line.
    write_log(run, "more\n" * 9)
    expect(log.locator("#L306")).to_have_count(1)
    expect(log.locator("#L151")).to_be_in_viewport()


def test_the_times_of_a_growing_log_are_those_of_the_readers_clock(
    member_page: Page, run: Run
) -> None:
    page = member_page
    clock = page.context.new_cdp_session(page)
    clock.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    write_log(run, "first\n")
    LogChunk.objects.update(written_at=datetime(2026, 11, 30, 12, 3, 44, tzinfo=UTC))
    page.goto(run.get_absolute_url())
    page.get_by_role("link", name="Show times").click()
    times = page.get_by_role("region", name="Lines of the log").locator("time")
    expect(times).to_have_text(["21:03:44"])
    write_log(run, "second\n")
    expect(times).to_have_count(2)
    expect(times.last).not_to_contain_text("UTC")
    page.get_by_role("link", name="Hide times").click()
    expect(page.get_by_role("link", name="Show times")).to_be_visible()
    expect(times).to_have_count(0)
