"""The page of a run: its plan, its log in parts, and the buttons."""

import html
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from core.transactions import DELETED_AT_ONCE
from stacks.models import LogChunk, PlanFile, Run, RunAction, Stack, prune_runs
from stacks.rules.states import Kind, State
from stacks.runs.log import LOG_SHOWN, MATCHES_SHOWN
from tests.builders import make_plan, make_run, make_stack, write_log
from vcs_integrations.models import Integration

PAGE = "/stacks/network/runs/1/"
Phase = LogChunk.Phase
LIVE = {"HX-Request": "true"}
MEGABYTE = 1024 * 1024
ONE_TO_ADD = {"added": 1, "changed": 0, "destroyed": 0}


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def run(stack: Stack) -> Run:
    return make_run(stack, 1, state=State.PLANNING)


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def next_part(page: str) -> str:
    found = re.search(r'hx-get="([^"]*/log/\?[^"]*after=\d+)"', page)
    assert found
    return found[1]


# The log


def test_a_log_comes_part_by_part_and_ends_with_its_run(member: Client, run: Run) -> None:
    page = text(member.get(PAGE))
    assert "Nothing was logged yet." in page
    assert member.get(next_part(page), headers=LIVE).status_code == 204
    write_log(run, "first\n", "\x1b[32msecond\x1b[0m <b>\n")
    part = text(member.get(next_part(page), headers=LIVE))
    assert "first" in part
    assert '<span class="log-green">second</span> &lt;b&gt;' in part
    assert member.get(next_part(part), headers=LIVE).status_code == 204
    Run.objects.update(state=State.FINISHED)
    write_log(run, "last\n")
    end = text(member.get(next_part(part), headers=LIVE))
    assert "last" in end and "first" not in end and "hx-get" not in end
    assert text(member.get(next_part(part).replace("=2", "=3"), headers=LIVE)) == ""
    assert "hx-get" not in text(member.get(PAGE))


def test_a_log_of_ten_megabytes_is_shown_by_its_end_and_downloaded_whole(
    member: Client, run: Run
) -> None:
    line = "x" * 63 + "\n"
    write_log(run, *(f"part {number}\n" + line * 512 for number in range(1, 321)))
    page = member.get(PAGE)
    assert len(page.content) < LOG_SHOWN + 50_000
    assert "part 320\n" in page.content.decode()
    earlier = re.search(r"\?before=(\d+)#log", text(page))
    assert earlier
    before = member.get(PAGE, {"before": earlier[1]})
    assert f"part {int(earlier[1]) - 1}\n" in before.content.decode()
    assert "part 320\n" not in before.content.decode()
    assert "after=" not in before.content.decode()  # the past does not grow

    behind = member.get(f"{PAGE}log/?after=1", headers=LIVE)
    assert len(behind.content) < LOG_SHOWN + 50_000
    assert "Lines are left out here" in text(behind) and "part 320 " in text(behind)

    whole = member.get(f"{PAGE}log.txt")
    assert whole["Content-Disposition"] == 'attachment; filename="network-run-1.log"'
    assert len(whole.content) > 10 * MEGABYTE
    assert whole.content.count(b"part ") == 320


def test_a_log_is_removed_long_after_its_run_ended_and_the_page_says_so(
    member: Client, stack: Stack, run: Run
) -> None:
    newer = make_run(stack, 2, state=State.FINISHED)
    for one in (run, newer):
        write_log(one, *["a line of the log"] * (DELETED_AT_ONCE + 1))
    long_ago = timezone.now() - timedelta(days=91)
    Run.objects.filter(pk=run.pk).update(moved_at=long_ago)
    prune_runs()
    assert "a line of the log" in text(member.get(PAGE))
    Run.objects.filter(pk=run.pk).update(state=State.FAILED)
    prune_runs()
    page = text(member.get(PAGE))
    assert "Its log is not kept any more." in page and "a line of the log" not in page
    assert newer.log.count() == DELETED_AT_ONCE + 1
    assert member.get(f"{PAGE}log.txt").getvalue() == b""
    Run.objects.filter(pk=run.pk).update(moved_at=timezone.now())
    assert "Nothing was logged." in text(member.get(PAGE))


def test_the_download_has_no_colors(member: Client, run: Run) -> None:
    write_log(run, "\x1b[1;31mred\x1b[0m\n")
    response = member.get(f"{PAGE}log.txt")
    assert response.content == b"red\n"
    assert response["Content-Type"] == "text/plain; charset=utf-8"


def line(number: int) -> str:
    """Return how the line with a number begins on a page."""
    return f'<a id="L{number}" href="?line={number}#L{number}" tabindex="-1">{number}</a>'


def test_lines_are_numbered_below_their_phases_and_colors_go_on(member: Client, run: Run) -> None:
    write_log(run, "Fetching <b>it</b>\n", phase=Phase.FETCHING)
    write_log(run, "\x1b[31mred\nstill\x1b[0m\n\x1b[1m", "cut", phase=Phase.INITIALIZING)
    page = text(member.get(PAGE))
    live = next_part(page)
    for shown in (
        '<h3 class="log-phase">Fetch</h3>', f"{line(1)}Fetching &lt;b&gt;it&lt;/b&gt; </span>",
        '<h3 class="log-phase">Init</h3>', f'{line(2)}<span class="log-red">red</span>',
        f'{line(3)}<span class="log-red">still</span>', f"{line(4)}cut ",
        '<a href="?line=1#L1">Fetch</a> · <a href="?line=2#L2">Init</a></p>',
    ):  # fmt: skip
        assert shown in page, shown
    assert "<b>it" not in page and page.count('id="L4"') == 1
    write_log(run, " off\n", phase=Phase.INITIALIZING)
    write_log(run, "Planning\n")
    part = text(member.get(live, headers=LIVE))
    assert '<span class="log-line"> off </span>' in part and 'id="L4"' not in part
    assert '<h3 class="log-phase">Plan</h3>' in part and f"{line(5)}Planning" in part
    assert ">Init</h3>" not in part
    assert 'hx-swap-oob="true"' in part and '<a href="?line=5#L5">Plan</a></p>' in part
    write_log(run, "more\n")
    assert "oob" not in text(member.get(next_part(part), headers=LIVE))


def test_a_link_to_a_line_shows_the_part_with_it(member: Client, run: Run) -> None:
    write_log(run, *("x" * 63 + "\n" for _ in range(200)))
    page = member.get(PAGE, {"line": "7"}).content.decode()
    assert line(7) in page and line(200) in page and "after=200" in page
    write_log(run, *(("x" * 63 + "\n") * 500 for _ in range(40)))
    write_log(run, "y" * 30_000 + "\n" * 2000)
    for number in (1, 200, 201, 9000, 20_200):
        response = member.get(PAGE, {"line": number})
        page = response.content.decode()
        assert line(number) in page, number
        assert len(page) < LOG_SHOWN + 50_000
        assert ("Later lines are left out here" in page) == ("after=" not in page)
        assert '">Plan</a></p>' in page
    for number in (0, 22_000, 999_999_999):
        assert "Lines of the log" in text(member.get(PAGE, {"line": number}))


def test_a_log_is_searched_without_its_colors(member: Client, run: Run) -> None:
    write_log(run, "Reading <one>\n", phase=Phase.INITIALIZING)
    write_log(run, "nothing\nrea\x1b[31mding <two>\x1b[0m it\n")
    page = text(member.get(PAGE, {"find": "READING <"}))
    assert "2 lines with “READING &lt;”." in page
    assert (
        'href="?find=READING+%3C&amp;line=1#L1">Line 1</a> <span class="quiet">Init</span> '
        "<code><mark>Reading &lt;</mark>one&gt;</code>"
    ) in page
    assert (
        '#L3">Line 3</a> <span class="quiet">Plan</span> '
        "<code><mark>reading &lt;</mark>two&gt; it</code>"
    ) in page
    page = text(member.get(PAGE, {"find": ".*"}))
    assert "No line of the log has “.*”." in page and "<mark>" not in page
    for nothing in ("\0", "a\nb", "\ud800".encode("utf-8", "surrogatepass"), "x" * 5000):
        assert "No line of the log has" in text(member.get(PAGE, {"find": nothing}))
    assert "of the log has" not in text(member.get(PAGE, {"find": ""}))
    write_log(run, "many\n" * (MATCHES_SHOWN + 1))
    page = text(member.get(PAGE, {"find": "many"}))
    assert f"The first {MATCHES_SHOWN} lines with" in page
    assert page.count("<mark>") == MATCHES_SHOWN


def test_the_times_of_a_log_are_shown_where_they_are_asked_for(member: Client, run: Run) -> None:
    written = datetime(2026, 11, 30, 12, 3, 44, tzinfo=UTC)
    write_log(run, "first\nsecond\n", "third\n")
    LogChunk.objects.update(written_at=written)
    page = text(member.get(PAGE))
    assert "12:03:44" not in page
    assert f'href="{PAGE}?times=1#log">Show times' in page

    page = text(member.get(f"{PAGE}?times=1&find=third"))
    clock = (
        '<time class="log-time" datetime="2026-11-30T12:03:44+00:00" data-clock>12:03:44 UTC</time>'
    )
    assert page.count(clock) == 2
    assert f'href="{PAGE}?find=third#log">Hide times' in page
    assert 'href="?times&amp;line=2#L2"' in page
    assert f'href="{PAGE}?times=1#log">End search' in page
    assert '<input type="hidden" name="times" value="1">' in page
    write_log(run, "fourth\n")
    part = text(member.get(html.unescape(next_part(page)), headers=LIVE))
    assert part.count("data-clock") == 1
    assert "times&amp;after=3" in part


def test_a_failed_run_leads_to_its_first_error(member: Client, run: Run) -> None:
    jump = f'href="{PAGE}log/first-error/">Jump to the first error</a>'
    assert jump not in text(member.get(PAGE))
    assert member.get(f"{PAGE}log/first-error/")["Location"] == f"{PAGE}#log"
    write_log(run, "Initializing\nthe word Error: in a line\n", phase=Phase.INITIALIZING)
    box = "\x1b[31m│\x1b[0m \x1b[0m\x1b[1m"
    write_log(run, f"╷\n{box}Warning: old\n╵\n╷\n{box}\x1b[31mError: \x1b[0mno such\n╵\n")
    write_log(run, "Error: another\n")
    Run.objects.update(state=State.FAILED, failure="The plan failed.", errors="Error: no such")
    assert jump in text(member.get(PAGE))
    answer = member.get(f"{PAGE}log/first-error/")
    assert answer["Location"] == f"{PAGE}?line=7#L7"
    assert f"{line(7)}" in text(member.get(answer["Location"]))
    assert member.get("/stacks/network/runs/9/log/first-error/").status_code == 404


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 30, "²"])
def test_a_part_that_makes_no_sense_is_a_part(member: Client, run: Run, number: str) -> None:
    write_log(run, "first\n")
    assert "first" in text(member.get(f"{PAGE}log/?after={number}", headers=LIVE))
    assert "first" in text(member.get(f"{PAGE}?before={number}"))


# The plan


def test_a_plan_is_shown_as_counts_and_as_a_list(member: Client, run: Run) -> None:
    changes = [
        {"address": "a.new", "change": {"actions": ["create"]}},
        {"address": "a.<b>", "change": {"actions": ["delete", "create"]}},
    ]
    outputs = {"url": {"actions": ["update"]}, "old": {"actions": ["delete"]}}
    make_plan(run, {"resource_changes": changes, "output_changes": outputs})
    page = text(member.get(PAGE))
    for shown in (
        'badge-good">2 to add', 'badge-plain">0 to change', 'badge-error">1 to destroy',
        "<code>a.new</code>", "<code>a.&lt;b&gt;</code>", "output <code>url</code>",
        f'href="{PAGE}plan/">Search and filter<',
    ):  # fmt: skip
        assert shown in page, shown
    make_plan(run, {})
    assert "No changes: what there is matches the code." in text(member.get(PAGE))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "less than 1 s"), (12.9, "12 s"), (125, "2 min 5 s"), (7384, "123 min 4 s")],
)
def test_a_page_says_how_long_planning_and_applying_took(
    member: Client, run: Run, seconds: float, shown: str
) -> None:
    start = timezone.now() - timedelta(hours=5)
    Run.objects.update(plan_started_at=start, apply_started_at=start)
    assert "took" not in text(member.get(PAGE))
    end = start + timedelta(seconds=seconds)
    Run.objects.update(plan_ended_at=end, apply_ended_at=end)
    assert text(member.get(PAGE)).count(f"took {shown}<") == 2


def test_a_failure_says_why(member: Client, run: Run) -> None:
    Run.objects.update(state=State.FAILED, failure="The <plan> failed.")
    assert "<strong>Failed.</strong> The &lt;plan&gt; failed." in text(member.get(PAGE))


def test_a_plan_that_destroys_everything_or_is_unread_says_so_where_it_is_confirmed(
    member: Client, run: Run
) -> None:
    everything = "<strong>This plan destroys every resource in the state.</strong>"
    unread = "<strong>Stackhook could not read this plan,</strong>"
    Run.objects.update(state=State.UNCONFIRMED)
    page = text(member.get(PAGE))
    assert unread in page and everything not in page
    Run.objects.update(added=0, changed=0, destroyed=1, destroys_everything=True)
    page = text(member.get(PAGE))
    assert everything in page and unread not in page
    assert page.index(everything) < page.index("Plan</h2>")
    Run.objects.update(destroys_everything=False)
    page = text(member.get(PAGE))
    assert everything not in page and unread not in page


# The buttons


def buttons(page: str) -> list[str]:
    return re.findall(r'name="action" value="(\w+)"', page)


def test_a_member_confirms_with_a_note_and_everybody_sees_it(
    member: Client, admin: Client, run: Run
) -> None:
    Run.objects.update(state=State.UNCONFIRMED, **ONE_TO_ADD)
    assert buttons(text(member.get(PAGE))) == ["confirm", "discard", "cancel"]
    form = {"action": "confirm", "note": "  Looks <b>right</b>\0 "}
    answer = member.post(f"{PAGE}act/", form, follow=True)
    run.refresh_from_db()
    assert run.state == State.CONFIRMED
    assert "Run 1 was confirmed" in text(answer)
    page = text(admin.get(PAGE))
    assert "<strong>Confirmed</strong> by bob, " in page
    assert "<br>Looks &lt;b&gt;right&lt;/b&gt;" in page


def test_only_the_plan_that_was_shown_is_confirmed(member: Client, run: Run) -> None:
    Run.objects.update(state=State.UNCONFIRMED, **ONE_TO_ADD)
    digest = sha256(b"the plan").hexdigest()
    plan = PlanFile.objects.create(run=run, content=b"the plan", digest=digest)
    page = text(member.get(PAGE))
    assert f'exactly this plan (<code title="SHA-256 {digest}">{digest[:12]}</code>)' in page
    for seen in ("", digest[:12], sha256(b"another").hexdigest()):
        form = {"action": "confirm", "plan": seen}
        answer = member.post(f"{PAGE}act/", form, follow=True)
        assert "Nothing was done. The plan is not the one that was shown." in text(answer)
        run.refresh_from_db()
        assert run.state == State.UNCONFIRMED
    form = {"action": "confirm", "plan": digest, "note": "Go"}
    page = text(member.post(f"{PAGE}act/", form, follow=True))
    run.refresh_from_db()
    assert run.state == State.CONFIRMED
    assert f"<br>Plan {digest[:12]}. Go" in page
    assert plan.digest not in page


def disabled(page: str) -> dict[str, str]:
    """Return the buttons that can't be pressed, and the reasons that describe them."""
    found = re.findall(r'disabled aria-describedby="([\w-]+)">([^<]+)</button>', page)
    reasons = dict(re.findall(r'id="(why-not-\w+)"><strong>[^<]+</strong> ([^<]+)</p>', page))
    return {label: reasons[described_by] for described_by, label in found}


NO_PLAN = {"Apply": "There is no plan yet.", "Retry": "The run has not ended yet."}
RUNS_ON = {"Retry": "The run has not ended yet."}
ONLY_PLANNED = "Proposed code is only planned. Merge it to apply it."
OFFERED: list[tuple[Kind, State, list[str], dict[str, str]]] = [
    (Kind.TRACKED, State.QUEUED, ["cancel"], NO_PLAN),
    (Kind.TRACKED, State.PLANNING, ["cancel"], NO_PLAN),
    (Kind.TRACKED, State.UNCONFIRMED, ["confirm", "discard", "cancel"], RUNS_ON),
    (Kind.TRACKED, State.CONFIRMED, ["cancel"], RUNS_ON),
    (
        Kind.TRACKED, State.APPLYING, [],
        {"Cancel": "An apply is never interrupted.", **RUNS_ON},
    ),
    (Kind.TRACKED, State.FAILED, ["retry"], {}),
    (Kind.TRACKED, State.SUPERSEDED, [], {"Retry": "A newer run took its place."}),
    (Kind.PROPOSED, State.PLANNING, ["cancel"], RUNS_ON),
    (
        Kind.PROPOSED, State.FINISHED, ["retry"],
        {"Apply: 1 add, 0 change, 0 destroy": ONLY_PLANNED},
    ),
    (
        Kind.DRIFT, State.FINISHED, [],
        {"Retry": "Other code was applied since: trigger drift detection."},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "state", "possible", "impossible"), OFFERED)
def test_buttons_that_can_not_be_pressed_say_why(
    member: Client,
    stack: Stack,
    kind: Kind,
    state: State,
    possible: list[str],
    impossible: dict[str, str],
) -> None:
    plan = {} if state in {State.QUEUED, State.PLANNING} else ONE_TO_ADD
    make_run(stack, 1, kind=kind, state=state, **plan)
    page = text(member.get(PAGE))
    assert (buttons(page), disabled(page)) == (possible, impossible)


def test_a_plan_that_destroys_is_applied_only_by_who_is_asked_once_more(
    member: Client, run: Run
) -> None:
    changes = [
        {"address": "a.new", "change": {"actions": ["create"]}},
        {"address": "a.<b>", "change": {"actions": ["delete", "create"]}},
        {"address": "a.kept", "change": {"actions": ["no-op"]}},
    ]
    make_plan(run, {"resource_changes": changes})
    Run.objects.update(state=State.UNCONFIRMED)
    digest = sha256(b"the plan").hexdigest()
    PlanFile.objects.create(run=run, content=b"the plan", digest=digest)
    ask = f"{PAGE}confirm/?plan={digest}"
    page = text(member.get(PAGE))
    assert f'href="{ask}">Apply: 2 add, 0 change, 1 destroy</a>' in page
    assert "confirm" not in buttons(page)
    form = {"action": "confirm", "plan": digest}
    answer = member.post(f"{PAGE}act/", form)
    assert answer["Location"] == ask
    page = text(member.get(ask))
    assert "<strong>This plan destroys 1 resource.</strong>" in page
    assert "<code>a.&lt;b&gt;</code>" in page and "a.new" not in page
    assert buttons(page) == ["confirm"]
    run.refresh_from_db()
    assert run.state == State.UNCONFIRMED
    for other in ("", "?plan=", f"?plan={digest[:12]}"):
        answer = member.get(f"{PAGE}confirm/{other}", follow=True)
        assert "Nothing was done. The plan is not the one that was shown." in text(answer)
    stale = form | {"sure": "yes", "plan": "other"}
    assert "not the one that was shown" in text(member.post(f"{PAGE}act/", stale, follow=True))
    member.post(f"{PAGE}act/", form | {"sure": "yes"})
    run.refresh_from_db()
    assert run.state == State.CONFIRMED
    answer = member.get(ask, follow=True)
    assert "Nothing was done. Run 1 is confirmed." in text(answer)


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCONFIRMED, State.FAILED])
def test_a_page_of_a_run_asks_few_queries(
    member: Client, stack: Stack, run: Run, state: State
) -> None:
    if state != State.QUEUED:
        changes = [{"address": "a.b", "change": {"actions": ["delete"]}}]
        make_plan(run, {"resource_changes": changes})
    write_log(run, "a line\n" * 9)
    Run.objects.update(state=state)
    with CaptureQueriesContext(connection) as captured:
        member.get(PAGE)
    assert len(captured) <= 12, [query["sql"][:90] for query in captured]


def test_what_is_not_possible_any_more_is_said(member: Client, run: Run) -> None:
    Run.objects.update(state=State.APPLYING)
    answer = member.post(f"{PAGE}act/", {"action": "cancel"}, follow=True)
    assert "Nothing was done. Run 1 is applying, so that is not possible any more." in text(answer)
    run.refresh_from_db()
    assert run.state == State.APPLYING
    assert not RunAction.objects.exists()
    assert member.post(f"{PAGE}act/", {"action": "explode"}).status_code == 302


def test_a_retry_leads_to_the_run_that_repeats(member: Client, run: Run) -> None:
    Run.objects.update(state=State.FAILED)
    answer = member.post(f"{PAGE}act/", {"action": "retry"})
    assert answer["Location"] == PAGE.replace("/1/", "/2/")
    assert 'Repeated by <a href="/stacks/network/runs/2/">Run 2</a>' in text(member.get(PAGE))
    page = text(member.get(answer["Location"]))
    assert 'Repeats</dt><dd><a href="/stacks/network/runs/1/">' in page
    assert 'Somebody retried <a href="/stacks/network/runs/1/">Run 1</a>.' in page


def test_a_name_stays_when_its_person_is_removed(
    member: Client, admin: Client, run: Run, bob: User
) -> None:
    member.post(f"{PAGE}act/", {"action": "cancel", "note": "Too late"})
    bob.delete()
    assert "<strong>Canceled</strong> by bob" in text(admin.get(PAGE))


# Live


def test_the_page_asks_again_and_gets_nothing_while_nothing_changed(
    member: Client, run: Run
) -> None:
    found = re.search(r"version=(\w+)", text(member.get(PAGE)))
    assert found
    live = f"{PAGE}?version={found[1]}"
    assert member.get(live, headers=LIVE).status_code == 204
    Run.objects.update(state=State.FAILED, failure="It broke.")
    part = text(member.get(live, headers=LIVE))
    assert "It broke." in part and "<html" not in part and "hx-get" not in part
