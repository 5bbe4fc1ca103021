"""A stack's open pull requests and runs, live, and the page of one run."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stacks.models import Decision, PullRequest, Run, RunAction, RunSource, Stack
from stacks.overview.all_runs import RUNS_ON_A_PAGE
from stacks.overview.views import DECISIONS_ON_A_PAGE, PULL_REQUESTS_SHOWN
from stacks.rules.states import Kind, State
from stacks.runs.waiting import Waiting, why_waiting
from tests.builders import make_run, make_stack, new_run, propose
from vcs_integrations.models import Delivery, Integration

STACK = "/stacks/network/"
LIVE = {"HX-Request": "true"}


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


def pull_request(stack: Stack, number: int, **changes: Any) -> PullRequest:
    values = {
        "title": f"Change {number}",
        "author": "Ann Admin",
        "status": "open",
        "source_branch": f"feature/{number}",
        "target_branch": stack.branch,
        "revision": 1,
    }
    return PullRequest.objects.create(
        repository=stack.repository, number=number, **values | changes
    )


def proposed(stack: Stack, number: int, one: PullRequest, revision: int = 1, **changes: Any) -> Run:
    values = {"kind": Kind.PROPOSED, "branch": one.source_branch, "position": None}
    run = make_run(stack, number, **values | changes)
    propose(run, one, revision)
    return run


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def rows(page: str, table: str) -> list[str]:
    """Return the text of each row of a table."""
    found = re.search(rf'<table class="{table}">(.*?)</table>', page, re.DOTALL)
    body = found[1].partition("<tbody>")[2] if found else ""
    return [
        " ".join(re.sub(r"<[^>]+>", " ", row).split())
        for row in re.findall(r"(?s)<tr>.*?</tr>", body)
    ]


def runs(response: Any) -> list[int]:
    return [run.number for run in response.context["page"].rows]


# The list


def test_the_newest_run_is_first_with_all_that_matters(member: Client, stack: Stack) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        one = pull_request(stack, 7)
        make_run(stack, 1, state=State.FINISHED, sha="a" * 40, message="Add <b> & more")
        proposed(stack, 2, one, sha="b" * 40, state=State.SUPERSEDED)
        page = text(member.get(STACK))
    assert rows(page, "run-table") == [
        "2 proposed Superseded bbbbbbbb Add a subnet Pull request 7 just now",
        "1 tracked Applied aaaaaaaa Add &lt;b&gt; &amp; more main just now",
    ]
    web = "https://dev.azure.com/fabrikam/Web/_git/tools"
    for address in (
        f"{STACK}runs/1/",
        f"{STACK}runs/2/",
        f"{web}/commit/{'a' * 40}",
        f"{web}?version=GBmain",
        f"{web}/pullrequest/7",
    ):
        assert f'href="{address}"' in page, address


def waits(client: Client, number: int) -> str:
    """Return why a run's page says that it doesn't go on, without tags; empty if it doesn't."""
    page = text(client.get(f"{STACK}runs/{number}/"))
    found = re.search(r"<strong>(?:Queued|Confirmed|Applying)\.</strong> (.*?)</p>", page)
    return re.sub(r"<[^>]+>", "", found[1]) if found else ""


HOLDERS = [
    (State.PREPARING, "is being prepared"),
    (State.PLANNING, "is being planned"),
    (State.UNCONFIRMED, "is waiting for confirmation"),
    (State.APPLYING, "is being applied"),
]


@pytest.mark.parametrize(("state", "words"), HOLDERS)
def test_a_queued_run_names_the_run_before_it_if_there_is_one(
    member: Client, stack: Stack, state: State, words: str
) -> None:
    make_run(stack, 1, state=State.FINISHED)
    make_run(stack, 2)
    make_run(stack, 3)
    assert waits(member, 1) == ""
    assert waits(member, 2) == "The next free run worker starts it."
    assert waits(member, 3) == "Run 2 is queued before it."
    Run.objects.filter(number=2).update(state=state)
    assert waits(member, 3) == f"Run 2 {words}, and has to end first."
    make_run(stack, 4, kind=Kind.PROPOSED)
    assert waits(member, 4) == "The next free run worker starts it."


def test_a_queued_run_says_that_workers_are_busy_absent_or_that_it_is_detached(
    member: Client, stack: Stack
) -> None:
    make_run(stack, 1)
    other = make_run(make_stack(stack.repository, "Other"), 7, state=State.PLANNING)
    held = Run.objects.filter(pk=other.pk)
    now = timezone.now()
    held.update(lease_until=now + timedelta(minutes=1))
    Run.objects.filter(number=1).update(moved_at=now - timedelta(minutes=3))
    busy = "Run 7 of Other keeps a run worker busy. It starts as soon as one is free."
    assert waits(member, 1) == busy
    held.update(lease_until=now - timedelta(minutes=1))
    assert "the run worker doesn&#x27;t appear to be running" in waits(member, 1)
    # A run that could not start before is not a sign of that.
    make_run(stack, 2, state=State.FINISHED)
    assert waits(member, 1) == "The next free run worker starts it."
    Integration.objects.update(unlinked_at=now)
    assert waits(member, 1) == "It waits until the stack is attached again."


@pytest.mark.parametrize("kind", [Kind.TRACKED, Kind.PROPOSED])
def test_a_run_that_is_claimed_while_its_page_is_made_waits_for_no_run_but_itself(
    stack: Stack, kind: Kind
) -> None:
    read = make_run(stack, 1, kind=kind)
    lease_until = timezone.now() + timedelta(minutes=1)
    Run.objects.update(state=State.PLANNING, lease_until=lease_until)
    assert why_waiting(read) == Waiting("The next free run worker starts it.")


def test_a_run_whose_worker_is_silent_says_so(member: Client, stack: Stack) -> None:
    make_run(stack, 1, state=State.APPLYING)
    assert waits(member, 1) == ""
    Run.objects.update(lease_until=timezone.now() + timedelta(minutes=1))
    assert waits(member, 1) == ""
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert waits(member, 1).startswith("Its worker is not responding.")


def test_without_runs_it_says_what_starts_one(member: Client, stack: Stack) -> None:
    page = text(member.get(STACK))
    assert "No run yet." in page
    assert f'href="{STACK}activity/"' in page
    assert "Open pull requests" not in page


def test_a_forks_branch_is_not_linked_in_the_repository_it_is_not_in(
    member: Client, stack: Stack
) -> None:
    proposed(stack, 1, pull_request(stack, 7, is_from_fork=True))
    page = text(member.get(f"{STACK}runs/1/"))
    assert "version=GBfeature" not in page
    assert 'feature/7 <span class="quiet">in a fork</span>' in page


def test_a_branch_that_is_not_known_is_not_linked(member: Client, stack: Stack) -> None:
    make_run(stack, 1, kind=Kind.PROPOSED, branch="")
    for path in (STACK, f"{STACK}runs/1/"):
        page = text(member.get(path))
        assert 'version=GB"' not in page
        assert "in a fork" not in page


def test_every_run_is_on_one_page_also_when_new_ones_come(member: Client, stack: Stack) -> None:
    count = 2 * RUNS_ON_A_PAGE + 3
    Run.objects.bulk_create(new_run(stack, number) for number in range(1, count + 1))
    seen: list[int] = []
    query = ""
    while True:
        response = member.get(f"{STACK}{query}")
        seen += runs(response)
        make_run(stack, count + 1 + len(seen))
        older = re.search(r'href="(\?before=\d+)">Older', response.content.decode())
        if older is None:
            break
        query = older[1]
    assert seen == list(range(count, 0, -1))
    assert f'href="{STACK}">Newest</a>' in response.content.decode()


def test_a_full_page_that_is_the_last_has_no_older_one(member: Client, stack: Stack) -> None:
    Run.objects.bulk_create(new_run(stack, number) for number in range(1, RUNS_ON_A_PAGE + 1))
    response = member.get(STACK)
    assert len(runs(response)) == RUNS_ON_A_PAGE
    assert "Older" not in response.content.decode()
    assert "There are no older runs." in text(member.get(f"{STACK}?before=1"))


@pytest.mark.parametrize("before", ["0", "-1", "x", "", "²", "9" * 18, "9" * 30, "1 OR 1=1", "%00"])
def test_a_page_that_makes_no_sense_is_a_page(member: Client, stack: Stack, before: str) -> None:
    make_run(stack, 1)
    for headers in ({}, LIVE):
        answer = member.get(STACK, {"before": before, "version": before}, headers=headers)
        assert answer.status_code == 200


# Open pull requests


def test_open_pull_requests_to_the_tracked_branch_are_listed_with_their_newest_run(
    member: Client, stack: Stack, linked: Integration
) -> None:
    first = pull_request(stack, 7, is_draft=True)
    pull_request(stack, 8, is_from_fork=True, trial_merge="conflicts", author="")
    pull_request(stack, 9, status="merged")
    pull_request(stack, 10, target_branch="release")
    proposed(stack, 1, first, state=State.SUPERSEDED)
    proposed(stack, 2, first, state=State.FAILED, revision=2)
    other = make_stack(stack.repository, "Other")
    proposed(other, 3, first)
    page = text(member.get(STACK))
    assert rows(page, "pull-request-table") == [
        "8 Change 8 Fork Conflicts from feature/8 – No run, why?",
        "7 Change 7 Draft from feature/7 Ann Admin Run 2 Failed",
    ]
    assert 'href="https://dev.azure.com/fabrikam/Web/_git/tools/pullrequest/7"' in page
    assert f'href="{STACK}runs/2/"' in page
    assert f'href="{STACK}activity/?show=no_run"' in page


def test_many_pull_requests_are_cut_and_that_is_said(member: Client, stack: Stack) -> None:
    for number in range(1, PULL_REQUESTS_SHOWN + 1):
        pull_request(stack, number)
    assert "Only the newest" not in text(member.get(STACK))
    pull_request(stack, 99)
    page = text(member.get(STACK))
    assert f"Only the newest {PULL_REQUESTS_SHOWN} are shown." in page
    assert len(rows(page, "pull-request-table")) == PULL_REQUESTS_SHOWN


# Live


def version(response: Any) -> str:
    found: str = response.context["live_version"]
    assert f"version={found}" in response.content.decode()
    return found


MORNING = datetime.fromisoformat("2026-11-21T09:00:00Z")


@time_machine.travel(MORNING, tick=False)
def test_the_page_asks_again_and_gets_nothing_while_nothing_changed(
    member: Client, stack: Stack
) -> None:
    make_run(stack, 1)
    known = version(member.get(STACK))
    answer = member.get(STACK, {"version": known}, headers=LIVE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "HX-Request" in answer["Vary"]
    assert member.get(STACK, {"version": known}).status_code == 200  # who opens it sees a page


def start(stack: Stack) -> None:
    make_run(stack, 2)


def move(stack: Stack) -> None:
    Run.objects.update(state=State.SUPERSEDED)


def enrich(stack: Stack) -> None:
    propose(stack.runs.get(), pull_request(stack, 8, status="merged"))


def open_one(stack: Stack) -> None:
    pull_request(stack, 8)


def retitle(stack: Stack) -> None:
    PullRequest.objects.update(title="Other words", version=2)


def move_head(stack: Stack) -> None:
    Stack.objects.update(head_sha="f" * 40)


def lose_branch(stack: Stack) -> None:
    Stack.objects.update(branch_gone_at=timezone.now())


def detach(stack: Stack) -> None:
    Integration.objects.update(unlinked_at=timezone.now())


CHANGES = [start, move, enrich, open_one, retitle, move_head, lose_branch, detach]


@time_machine.travel(MORNING, tick=False)
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_comes_to_the_open_page(member: Client, stack: Stack, change: Any) -> None:
    make_run(stack, 1)
    pull_request(stack, 7)
    known = version(member.get(STACK))
    change(stack)
    part = member.get(STACK, {"version": known}, headers=LIVE)
    assert "<html" not in text(part)
    assert 'id="live"' in text(part)
    again = member.get(STACK, {"version": version(part)}, headers=LIVE)
    assert again.status_code == 204


def test_an_open_page_of_a_run_reads_what_changed_and_not_all_that_is_shown(
    member: Client, stack: Stack
) -> None:
    run = make_run(stack, 1, state=State.UNCONFIRMED, added=1, changed=0, destroyed=0)
    Decision.objects.create(
        stack=stack, run=run, subject="Push 1", rule="tracked", sentence="Begun."
    )
    path = run.get_absolute_url()
    known = member.get(path).context["version"]
    with CaptureQueriesContext(connection) as asked:
        assert member.get(path, {"version": known}, headers=LIVE).status_code == 204
    statements = " ".join(one["sql"] for one in asked)
    for left in ("sentence", "stacks_planfile", "stacks_planchange"):
        assert left not in statements
    Run.objects.update(state=State.DISCARDED)
    assert "Begun." in text(member.get(path, {"version": known}, headers=LIVE))


def test_a_decision_comes_to_the_open_page_of_its_run(member: Client, stack: Stack) -> None:
    run = make_run(stack, 1)
    path = run.get_absolute_url()
    known = member.get(path).context["version"]
    Decision.objects.create(
        stack=stack, run=run, subject="Push 2", rule="same_commit", sentence="It is there."
    )
    assert "It is there." in text(member.get(path, {"version": known}, headers=LIVE))


def test_ages_stay_true_on_an_open_page(member: Client, stack: Stack) -> None:
    with time_machine.travel(MORNING, tick=False) as clock:
        make_run(stack, 1)
        known = version(member.get(STACK))
        clock.shift(timedelta(minutes=2))
        part = member.get(STACK, {"version": known}, headers=LIVE)
        assert "2 min ago" in text(part)


def test_an_older_page_stays_on_its_runs(member: Client, stack: Stack) -> None:
    for number in range(1, 4):
        make_run(stack, number)
    page = member.get(f"{STACK}?before=3")
    assert f"{STACK}?before=3&amp;version=" in page.content.decode()
    assert runs(member.get(f"{STACK}?before=3&version=old", headers=LIVE)) == [2, 1]


def test_the_live_part_does_not_have_the_head_read_again(member: Client, stack: Stack) -> None:
    due = 'hx-trigger="load"'
    assert due in text(member.get(STACK))
    assert due not in text(member.get(STACK, headers=LIVE))


# One run


def test_a_run_shows_all_that_is_known_of_it(member: Client, stack: Stack) -> None:
    one = pull_request(stack, 7, title="Widen <it>")
    proposed(
        stack, 5, one, position=41, revision=3, note="The changed files are not known.",
        author="Zoë", is_reconciled=True, sha="abcdef12" * 5,
    )  # fmt: skip
    page = text(member.get(f"{STACK}runs/5/"))
    for shown in (
        "<h1>Run 5</h1>",
        "</svg> Queued</span>",
        "Proposed: code that is not on the tracked branch",
        f'commit/{"abcdef12" * 5}"',
        "Zoë",
        "feature/7",
        "<dd>41</dd>",
        "7 Widen &lt;it&gt;</a>, revision 3",
        "The changed files are not known.",
        "Reconciliation: no webhook reported it",
        " UTC, ",
    ):
        assert shown in page, shown
    assert f'href="{STACK}">Network</a>' in page


def test_a_run_of_several_pull_requests_names_each_once_the_open_ones_first(
    member: Client, stack: Stack
) -> None:
    sha = "abcdef12" * 5
    first = pull_request(stack, 7, source_sha=sha)
    run = proposed(stack, 5, first, sha=sha)
    propose(run, first, revision=3)
    propose(run, pull_request(stack, 8, source_sha=sha, status="closed"))
    page = text(member.get(f"{STACK}runs/5/"))
    assert page.count("<dt>Pull request</dt>") == 2
    assert page.index("7 Change 7</a>, revision 3") < page.index("8 Change 8</a>, revision 1")
    assert ">Pull request 7</a>" in text(member.get(STACK))


def test_a_superseded_run_links_the_run_that_replaced_it(member: Client, stack: Stack) -> None:
    make_run(stack, 1, state=State.SUPERSEDED)
    assert "A newer push took its place." in text(member.get(f"{STACK}runs/1/"))
    make_run(stack, 3, state=State.SUPERSEDED, position=2)
    make_run(stack, 2, position=3)
    assert f'Superseded by <a href="{STACK}runs/3/">Run 3</a>' in text(
        member.get(f"{STACK}runs/1/")
    )
    assert f'Superseded by <a href="{STACK}runs/2/">Run 2</a>' in text(
        member.get(f"{STACK}runs/3/")
    )
    assert "Superseded by" not in text(member.get(f"{STACK}runs/2/"))
    one = pull_request(stack, 7)
    proposed(stack, 4, one, state=State.SUPERSEDED)
    proposed(stack, 5, pull_request(stack, 8))
    assert "A newer push took its place." in text(member.get(f"{STACK}runs/4/"))
    proposed(stack, 6, one, revision=2)
    assert f'Superseded by <a href="{STACK}runs/6/">Run 6</a>' in text(
        member.get(f"{STACK}runs/4/")
    )


def steps(client: Client, number: int = 1) -> list[str]:
    """Return the steps of a run as its page lists them."""
    page = text(client.get(f"{STACK}runs/{number}/"))
    found = re.search(r'<ol class="run-steps".*?</ol>', page)
    assert found
    items = re.findall(r"<li.*?</li>", found[0])
    return [" ".join(re.sub(r"<[^>]+>", "", one).split()) for one in items]


@time_machine.travel("2026-11-21T09:00:00Z", tick=False)
def test_steps_name_durations_and_persons_as_far_as_the_kind_goes(
    member: Client, stack: Stack
) -> None:
    now = timezone.now()
    run = make_run(stack, 1)
    assert steps(member) == [
        "Queued (now) since just now", "Planned (ahead)", "Confirmed (ahead)", "Applied (ahead)",
    ]  # fmt: skip
    Run.objects.update(
        created_at=now - timedelta(minutes=9),
        plan_started_at=now - timedelta(minutes=8),
        plan_ended_at=now - timedelta(minutes=6),
        state=State.UNCONFIRMED,
    )
    planned = ["Queued (done) 1 min 0 s", "Planned (done) 2 min 0 s"]
    assert steps(member) == [*planned, "Confirmed (now) since just now", "Applied (ahead)"]
    RunAction.objects.create(run=run, action="confirm", username="ann")
    Run.objects.update(state=State.APPLYING, apply_started_at=now)
    confirmed = "Confirmed (done) by ann, 6 min 0 s"
    assert steps(member) == [*planned, confirmed, "Applied (now) since just now"]
    Run.objects.update(state=State.FAILED, apply_ended_at=now)
    assert steps(member) == [*planned, confirmed, "Applied (failed) less than 1 s"]
    RunAction.objects.all().delete()
    assert steps(member)[2] == "Confirmed (done) by autodeploy"
    Run.objects.update(state=State.FINISHED, apply_started_at=None)
    assert steps(member) == [*planned, "Confirmed (skipped)", "Applied (skipped) No changes"]
    Run.objects.update(state=State.DISCARDED)
    RunAction.objects.create(run=run, action="discard", username="ann")
    stopped = "Confirmed (stopped) Discarded by ann"
    assert steps(member) == [*planned, stopped, "Applied (skipped)"]
    Run.objects.update(state=State.FAILED)
    assert steps(member)[1] == "Planned (failed) 2 min 0 s"
    make_run(stack, 2, kind=Kind.DRIFT, state=State.PLANNING, plan_started_at=now)
    assert steps(member, 2) == ["Queued (done) less than 1 s", "Compared (now) since just now"]
    make_run(stack, 3, kind=Kind.PROPOSED, state=State.CANCELED)
    assert steps(member, 3) == ["Queued (stopped) Canceled", "Planned (skipped)"]


def test_a_repeated_run_names_the_one_it_repeats(member: Client, stack: Stack) -> None:
    first = make_run(stack, 1)
    make_run(stack, 2, repeats=first, position=1)
    page = text(member.get(f"{STACK}runs/2/"))
    assert f'<a href="{STACK}runs/1/">Run 1</a>' in page


def test_the_decisions_about_a_run_lead_an_admin_to_the_deliveries(
    admin: Client, member: Client, stack: Stack, linked: Integration
) -> None:
    run = make_run(stack, 1)
    delivery = Delivery.objects.create(integration=linked, outcome="run", body=b"{}")
    for subject, sent_by in (("Push 1 to main", delivery), ("Push 2 to main", None)):
        Decision.objects.create(
            stack=stack,
            run=run,
            delivery=sent_by,
            subject=subject,
            rule="same_commit",
            sentence="Run 1 has the same commit.",
        )
    link = f'<a href="{delivery.get_absolute_url()}">'
    for client, sees_link in ((admin, True), (member, False)):
        page = text(client.get(f"{STACK}runs/1/"))
        assert "Same commit</span> Run 1 has the same commit." in page
        assert "Push 1 to main" in page and "found by reconciliation" in page
        assert (link in page) == sees_link
    assert member.get(delivery.get_absolute_url()).status_code == 403


@pytest.mark.parametrize("number", ["0", "2", "9" * 12, "9" * 40, "x", "-1"])
def test_a_run_that_is_not_there_is_not_found(member: Client, stack: Stack, number: str) -> None:
    make_run(stack, 1)
    assert member.get(f"{STACK}runs/{number}/").status_code == 404
    assert member.get("/stacks/nothing/runs/1/").status_code == 404


# What pages cost


def test_ten_thousand_runs_cost_as_many_queries_as_ten(
    member: Client, stack: Stack, linked: Integration
) -> None:
    pages = (
        STACK,
        f"{STACK}?before=9",
        f"{STACK}?person=ann",
        f"{STACK}activity/",
        f"{STACK}runs/5/",
    )
    grow(stack, linked, 1, 10)
    few = [queries(member, page) for page in pages]
    grow(stack, linked, 11, 10_000)
    assert stack.runs.count() == 10_000
    pages = (
        STACK,
        f"{STACK}?before=9000",
        f"{STACK}?person=ann",
        f"{STACK}activity/",
        f"{STACK}runs/5/",
    )
    assert [queries(member, page) for page in pages] == few
    assert max(few) <= 12


def grow(stack: Stack, linked: Integration, first: int, last: int) -> None:
    """Add runs, each with a pull request, and decisions about one run."""
    delivery = Delivery.objects.create(integration=linked, outcome="run", body=b"{}")
    numbers = range(first, last + 1)
    requests = PullRequest.objects.bulk_create(
        PullRequest(repository=stack.repository, number=number, status="open", target_branch="main")
        for number in numbers
    )
    made = Run.objects.bulk_create(new_run(stack, number, kind=Kind.PROPOSED) for number in numbers)
    RunSource.objects.bulk_create(
        RunSource(
            run=run,
            stack=stack,
            repository=stack.repository,
            branch="topic",
            pull_request=one,
            revision=1,
        )
        for run, one in zip(made, requests, strict=True)
    )
    run = stack.runs.get(number=5)
    Decision.objects.bulk_create(
        Decision(stack=stack, run=run, delivery=delivery, subject=f"Push {n}", rule="same_commit")
        for n in numbers
    )


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    assert not any('"body"' in query["sql"] for query in captured)  # they may be megabytes
    return len(captured)


def test_a_run_with_many_decisions_shows_the_newest_and_leads_to_the_rest(
    member: Client, stack: Stack, linked: Integration
) -> None:
    grow(stack, linked, 1, DECISIONS_ON_A_PAGE)
    assert "Only the newest" not in text(member.get(f"{STACK}runs/5/"))
    grow(stack, linked, DECISIONS_ON_A_PAGE + 1, DECISIONS_ON_A_PAGE + 9)
    page = text(member.get(f"{STACK}runs/5/"))
    assert f"Only the newest {DECISIONS_ON_A_PAGE} are shown" in page
    assert "<div>Push 59<" in page and "<div>Push 9<" not in page
