"""Pull requests that were open before their stack: a few are planned, many wait for a person."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.audit.records import entries
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile_next
from stacks.models import Stack
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest
from tests.killing import killed_at
from tests.stacks.conftest import create, source
from tests.stacks.reports.sender import TO_PLAN, look, make_reports_due, move, send_all, summaries
from vcs_integrations.models import Integration
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.providers.azure_devops import client as azure_devops

STACK = "/stacks/network/"
WAITS = "Not planned yet: it is older than the stack. A member can plan it on the stack's page."


def opened(repository: Repository, number: int, path: str = "", **options: Any) -> PullRequest:
    """Open a pull request of a branch of its own."""
    repository.push({path or f"{number}.tf": str(number)}, f"topic/{number}", f"Change {number}")
    return repository.open_pull_request(f"topic/{number}", **options)


def work() -> None:
    """Let the background worker do what is due, also what waits for its next look."""
    while reconcile_next():
        pass
    Stack.objects.exclude(plan_older_at=None).update(plan_older_at=timezone.now())
    while plan_next():
        pass


def follow(repository: Repository, **settings: Any) -> Stack:
    """Make a stack as the form does."""
    ours = OurRepository.objects.get(external_id=repository.id)
    stack = make_stack(ours, **settings)
    assert follow_from_now(stack) is None
    return stack


def messages(stack: Stack) -> list[str]:
    return sorted(stack.runs.values_list("message", flat=True))


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_pull_request_that_is_older_than_its_stack_is_planned_and_passes_the_policy(
    member: Client, integration: Integration, repository: Repository
) -> None:
    one = opened(repository, 1)
    one.push({"1.tf": "2"}, "Newest")
    create(member, integration)
    stack = Stack.objects.get()
    repository.require_status("stackhook/network")
    work()
    # Its newest revision alone
    [run] = stack.runs.all()
    assert (run.kind, run.message, run.proposals[0].revision) == ("proposed", "Newest", 2)
    assert run.note == f"Pull request {one.id} was open before the stack followed main."
    [decision] = stack.decisions.all()
    assert (decision.rule, decision.sentence, decision.run) == ("proposed", run.note, run)
    move(run, *TO_PLAN, State.FINISHED)
    send_all()
    assert summaries(one.latest_statuses(iteration=2)) == [("succeeded", "Run 1 finished")]
    assert one.complete()


def test_older_pull_requests_meet_the_same_rules(
    integration: Integration, repository: Repository
) -> None:
    repository.push_refs({"refs/heads/release": "main"})
    elsewhere = opened(repository, 1, "docs/read.md")
    draft = opened(repository, 2, "infra/2.tf", is_draft=True)
    opened(repository, 3, "infra/3.tf", target="release")
    opened(repository, 4, "infra/4.tf").abandon()
    twin = opened(repository, 5, "infra/5.tf")
    repository.push_refs({"refs/heads/twin": twin.source_commit})
    other = repository.open_pull_request("twin")
    stack = follow(repository, project_root="infra", runs_drafts=False)
    work()
    send_all()
    assert messages(stack) == ["Change 5"]
    assert [one.state for one in elsewhere.statuses] == ["notApplicable"]
    assert [one.state for one in draft.statuses] == ["error"]
    assert [one.state for one in twin.statuses + other.statuses] == ["pending", "pending"]


def test_a_stack_beside_another_plans_what_is_known_already(
    stack: Stack, repository: Repository
) -> None:
    assert follow_from_now(stack) is None
    opened(repository, 1)
    look(stack)
    other = make_stack(stack.repository, "Other")
    assert follow_from_now(other) is None
    work()
    assert messages(other) == ["Change 1"]
    assert stack.runs.get(message="Change 1").pull_request


def test_a_stack_that_follows_a_branch_again_plans_what_is_open_to_it(
    member: Client, integration: Integration, repository: Repository
) -> None:
    one = opened(repository, 1)
    repository.push_refs({"refs/heads/release": "main"})
    stack = follow(repository)
    work()
    for branch in ("release", "main"):
        typed = source(integration, branch=branch)
        assert member.post(f"{STACK}source/", typed).status_code == 302
        work()
    assert [run.state for run in stack.runs.order_by("number")] == ["canceled", "queued"]
    send_all()
    assert summaries(one.latest_statuses(iteration=1)) == [("pending", "Run 2 waits for its turn")]


def test_it_is_planned_once_whatever_announces_it_meanwhile(
    integration: Integration, repository: Repository
) -> None:
    one = opened(repository, 1)
    stack = follow(repository)
    for _ in range(2):
        one.vote("Bo Builder", 10)
        look(stack)
        work()
    assert messages(stack) == ["Change 1"]
    stack.runs.move_to(State.CANCELED)
    one.vote("Bo Builder", 5)
    look(stack)
    work()
    assert messages(stack) == ["Change 1"]  # a person canceled it


def test_azure_devops_that_is_away_when_the_stack_is_made_is_asked_again(
    integration: Integration, repository: Repository, emulator: Emulator
) -> None:
    opened(repository, 1)
    stack = follow(repository)
    emulator.faults.add("unavailable")
    assert reconcile_next()
    assert not plan_next()
    emulator.faults.clear()
    azure_devops.resume_times.clear()  # the time is over
    OurRepository.objects.make_due()
    assert reconcile_next()
    emulator.faults.add("unavailable")
    assert plan_next()
    assert not plan_next()
    emulator.faults.clear()
    azure_devops.resume_times.clear()
    work()
    assert messages(stack) == ["Change 1"]


@pytest.mark.parametrize("number", range(0, 60, 7))
def test_a_killed_worker_neither_loses_nor_doubles_one(
    integration: Integration, repository: Repository, number: int
) -> None:
    for each in range(3):
        opened(repository, each)
    stack = follow(repository)
    assert reconcile_next()
    with killed_at(number):
        plan_next()
    work()
    assert messages(stack) == ["Change 0", "Change 1", "Change 2"]
    stack.refresh_from_db()
    assert stack.plan_older_at is None


# More than a few


@pytest.fixture
def many(integration: Integration, repository: Repository) -> list[PullRequest]:
    """Twelve pull requests, and a stack that is made after them."""
    found = [opened(repository, number) for number in range(12)]
    follow(repository)
    work()
    return found


def test_many_wait_for_a_person_and_say_so(member: Client, many: list[PullRequest]) -> None:
    stack = Stack.objects.get()
    assert not stack.runs.exists()
    send_all()
    for one in many:
        assert summaries(one.statuses) == [("pending", WAITS)]
        assert one.statuses[0].target_url.endswith(STACK)
    many[0].vote("Bo Builder", 10)
    look(stack)
    work()
    assert not stack.runs.exists()
    assert "Plan 12 open pull requests" in text(member.get(STACK))


def test_with_a_click_they_are_planned_ten_at_a_time(
    member: Client, many: list[PullRequest]
) -> None:
    stack = Stack.objects.get()
    assert member.get(f"{STACK}plan-older/").status_code == 302
    response = member.post(f"{STACK}plan-older/", follow=True)
    assert [str(one) for one in response.context["messages"]] == [
        "12 open pull requests will be planned"
    ]
    member.post(f"{STACK}plan-older/")  # twice is once
    [entry] = entries().filter(verb="pull_requests_planned")
    assert (entry.thing, entry.note) == ("Network", "12 pull requests")
    work()
    assert stack.runs.count() == 10
    page = text(member.get(STACK))
    assert "2 open pull requests are older than this stack and wait to be planned" in page
    # What announces one that waits does not jump the queue.
    many[0].vote("Bo Builder", 10)
    look(stack)
    work()
    assert stack.runs.count() == 10
    first = stack.runs.get(number=1)
    move(first, *TO_PLAN, State.FINISHED)
    work()
    assert stack.runs.count() == 11
    stack.runs.move_to(State.CANCELED)
    work()
    assert messages(stack) == sorted(f"Change {number}" for number in range(12))
    assert "older than this stack" not in text(member.get(STACK))
    make_reports_due()
    send_all()
    assert all(one.statuses[-1].description.startswith("Run ") for one in many)


def test_one_that_ended_or_moved_on_is_not_planned_as_it_was(
    member: Client, many: list[PullRequest]
) -> None:
    stack = Stack.objects.get()
    many[0].abandon()
    many[1].push({"1.tf": "2"}, "Newest")
    member.post(f"{STACK}plan-older/")
    look(stack)
    work()
    stack.runs.move_to(State.CANCELED)
    work()
    expected = ["Newest", *(f"Change {number}" for number in range(2, 12))]
    assert messages(stack) == sorted(expected)


def test_what_waits_does_not_stay_pending_when_the_stack_follows_another_branch(
    integration: Integration, repository: Repository, many: list[PullRequest]
) -> None:
    send_all()
    repository.push_refs({"refs/heads/release": "main"})
    stack = Stack.objects.get()
    stack.follow(stack.repository, "release")
    send_all()
    moved = ("error", "The stack has followed another branch since then")
    assert summaries(many[0].statuses) == [("pending", WAITS), moved]
    stack.follow(stack.repository, "main")
    work()
    send_all()
    assert summaries(many[0].statuses)[-1] == ("pending", WAITS)


def test_a_stack_from_before_this_offers_what_has_no_answer(
    member: Client, integration: Integration, repository: Repository
) -> None:
    opened(repository, 1)
    stack = follow(repository)
    Stack.objects.update(plans_older=False)
    work()
    assert not stack.runs.exists()
    assert "Plan 1 open pull request<" in text(member.get(STACK))
    member.post(f"{STACK}plan-older/")
    work()
    assert messages(stack) == ["Change 1"]


def test_who_has_no_role_plans_nothing(charlie: Any, many: list[PullRequest]) -> None:
    client = Client(headers={"X-Forwarded-Proto": "https"})
    client.force_login(charlie)
    assert client.post(f"{STACK}plan-older/").status_code == 403
    work()
    assert not Stack.objects.get().runs.exists()
