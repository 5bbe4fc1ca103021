"""Azure DevOps is told what becomes of runs: commit statuses, pull request statuses, comments."""

import pytest

from stacks.heads import follow_from_now
from stacks.models import Run, Stack
from stacks.reconciliation import reconcile
from stacks.sending import send_next
from stacks.states import State
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest
from tests.emulator.statuses import Status
from vcs_integrations.models import Repository as OurRepository

TO_PLAN = (State.PREPARING, State.PLANNING)


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on, whatever files change."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    return stack


@pytest.fixture
def opened(following: Stack, repository: Repository) -> PullRequest:
    """A pull request to the stack's branch, which has a run."""
    repository.push({"topic.tf": "1"}, "topic", "A topic")
    one = repository.open_pull_request("topic")
    look(following)
    return one


def look(stack: Stack) -> None:
    """Read what happened in the stack's repository."""
    reconcile(OurRepository.objects.select_related("integration").get(stacks=stack))


def send_all() -> None:
    """Send what is due until nothing is."""
    for _ in range(200):
        if not send_next():
            return
    raise AssertionError("it never ends")


def newest(stack: Stack) -> Run:
    found = stack.runs.order_by("-number").first()
    assert found
    return found


def move(run: Run, *states: State) -> None:
    for state in states:
        run.move_to(state)


def told(statuses: list[Status]) -> list[tuple[str, str]]:
    return [(one.state, one.description) for one in statuses]


def test_a_run_that_moves_is_reported_on_its_commit(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"main.tf": "2"})
    look(following)
    send_all()
    [posted] = repository.statuses[sha]
    assert str(posted.context) == "stackhook/network"
    assert (posted.state, posted.description) == ("pending", "Run 1 waits for its turn")
    assert posted.target_url == "https://stackhook.example.com/stacks/network/runs/1/"
    run = newest(following)
    for states in (TO_PLAN, [State.UNCONFIRMED], [State.CONFIRMED], [State.APPLYING]):
        move(run, *states)
        send_all()
    move(run, State.FINISHED)
    send_all()
    assert told(repository.statuses[sha])[1:] == [
        ("pending", "Run 1 is planning"),
        ("pending", "Run 1 waits for confirmation"),
        ("pending", "Run 1 is confirmed and will be applied"),
        ("pending", "Run 1 is being applied"),
        ("succeeded", "Run 1 finished"),
    ]


def test_a_pull_request_has_the_status_on_its_iteration(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    send_all()
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert told(opened.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]
    [thread] = opened.threads
    assert "Run 1 finished" in thread.comments[0].content
