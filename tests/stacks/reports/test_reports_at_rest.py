"""Whatever fails and whatever people do meanwhile, what is reported at rest is what there is.

Stacks follow a repository of the emulator in which things happen at random, while three of ten
calls about statuses and comments fail, some of them after they were done.
"""

import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from stacks.models import Report, Run, Stack
from stacks.rules.states import ENDED, MOVES, TRACKED_ONLY, Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.faults import Fault
from tests.emulator.git import GitError
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest, PullRequestError
from tests.emulator.statuses import Status
from tests.repetitions import repeated
from tests.stacks.reports.sender import look, make_reports_due, send_all
from vcs_integrations.models import Integration

STEPS = 60
HISTORIES = repeated(3)
BRANCHES = ("topic", "fix", "feature")
PATHS = ("infra/main.tf", "docs/read.md")
FAULTS = (
    "server-error",
    "unavailable",
    "bad-gateway",
    "throttled",
    "reset",
    "cut",
    "not-json",
    "credentials-203",
    "permission-denied",
    "repository-missing",
)
# What is reported to Azure DevOps of the states in which a run counts.
WORDS = {
    State.FINISHED: "succeeded",
    State.FAILED: "failed",
}


class Unreliable:
    """Has three of ten calls about statuses and comments fail."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.is_on = True

    def take(self, path: str, *, is_done: bool = False) -> Fault | None:
        if not self.is_on or not re.search(r"statuses|threads|pullRequests/\d+$", path):
            return None
        if is_done:
            return Fault("lost-answer") if self.chance.random() < 0.1 else None
        return Fault(self.chance.choice(FAULTS)) if self.chance.random() < 0.2 else None


class World:
    """A repository, the stacks that follow it, and what happens there."""

    def __init__(self, stack: Stack, remote: Repository, chance: random.Random) -> None:
        self.stack = stack
        self.remote = remote
        self.chance = chance

    def happen(self) -> None:
        """Let something happen, if it can at its place."""
        step = self.chance.choice(
            [self.push, self.push, self.open, self.end, self.reactivate, self.run, self.run]
        )
        try:
            step()
        except (PullRequestError, GitError):
            return

    def push(self) -> None:
        branch = self.chance.choice(("main", *BRANCHES))
        path = self.chance.choice(PATHS)
        self.remote.push({path: str(self.chance.random())}, branch)

    def open(self) -> None:
        self.remote.open_pull_request(self.chance.choice(BRANCHES))

    def end(self) -> None:
        one = self.chance.choice(self.active or [None])
        if one and self.chance.random() < 0.5:
            one.complete()
        elif one:
            one.abandon()

    def reactivate(self) -> None:
        abandoned = [one for one in self.remote.pull_requests if one.status == "abandoned"]
        if abandoned:
            self.chance.choice(abandoned).reactivate()

    def run(self) -> None:
        """Move some runs on."""
        unfinished = list(Run.objects.exclude(state__in=ENDED).order_by("pk"))
        for run in self.chance.sample(unfinished, min(3, len(unfinished))):
            states = sorted(MOVES[State(run.state)] - {State.SUPERSEDED})
            if run.kind == Kind.PROPOSED:
                states = [state for state in states if state not in TRACKED_ONLY]
            run.move_to(self.chance.choice(states))

    @property
    def active(self) -> list[PullRequest]:
        return [one for one in self.remote.pull_requests if one.is_active]

    def expected(self, one: PullRequest, stack: Stack) -> set[str]:
        """Return the words of which a stack's status of a pull request has to be one."""
        runs = stack.runs.filter(kind=Kind.PROPOSED, sha=one.source_commit).order_by("-number")
        counts = runs.that_count().first()
        if counts:
            return {WORDS.get(State(counts.state), "pending")}
        given_up = {"error"} if runs.exists() else set()
        return given_up if self.is_affected(one, stack) else given_up | {"notApplicable"}

    def is_affected(self, one: PullRequest, stack: Stack) -> bool:
        """Say whether a pull request changes what a stack is about."""
        changes = self.remote.git.changes(one.iterations[-1].common or "", one.source_commit)
        return not stack.path_rule or any(one.path.startswith("infra/") for one in changes)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)  # noqa: S311


@pytest.fixture
def unreliable(
    emulator: Emulator, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Unreliable]:
    found = Unreliable(chance)
    monkeypatch.setattr(emulator.faults, "take", found.take)
    yield found


@pytest.mark.parametrize("chance", range(HISTORIES), indirect=True)
def test_at_rest_every_active_pull_request_shows_what_there_is(
    stack: Stack, repository: Repository, unreliable: Unreliable, chance: random.Random
) -> None:
    settings: list[dict[str, Any]] = [{"project_root": "infra"}, {"path_rule": False}]
    for number, own in enumerate(settings):
        made = make_stack(stack.repository, f"Stack {number}", **own)
        assert follow_from_now(made) is None
    stack.delete()
    stacks = list(Stack.objects.order_by("name"))
    world = World(stacks[0], repository, chance)
    for _ in range(STEPS):
        world.happen()
        if chance.random() < 0.7:
            look(stacks[0])
        if chance.random() < 0.8:
            send_all()
        if chance.random() < 0.5:
            make_reports_due()
    look(stacks[0])
    for _ in range(200):
        make_reports_due()
        send_all()
        if not Report.objects.waiting().exists():
            break
    assert not Report.objects.waiting().exists()
    assert Integration.objects.get().reports_held_until is None
    compared = 0
    for one in world.active:
        for each in stacks:
            newest = of_stack(one.latest_statuses(one.iterations[-1].id), each)
            assert len(newest) == 1
            assert newest[0].state in world.expected(one, each)
            # Also where a policy checks the last one of all
            assert of_stack(one.statuses, each)[-1:] == newest
            compared += 1
    check_commits(repository, stacks)
    for one in repository.pull_requests:
        for each in stacks:
            check_no_doubles(of_stack(one.statuses, each))
            begun = [
                thread
                for thread in one.threads
                if f"/stacks/{each.slug}/)" in thread.comments[0].content
            ]
            assert len(begun) <= 1
    assert compared or not world.active


def check_commits(repository: Repository, stacks: list[Stack]) -> None:
    """Check that no commit is pending without a run that is under way, and each has a status."""
    for each in stacks:
        for sha in set(each.runs.values_list("sha", flat=True)):
            runs = each.runs.filter(sha=sha).order_by("-number")
            decides = runs.that_count().first() or runs[0]
            last = of_stack(repository.statuses[sha], each)[-1]
            assert (last.state == "pending") == (not decides.has_ended)
            check_no_doubles(of_stack(repository.statuses[sha], each))


def check_no_doubles(statuses: list[Status]) -> None:
    """Check that none is posted that is the last one already."""
    for before, after in pairwise(statuses):
        assert summaries(before) != summaries(after)


def summaries(status: Status) -> tuple[object, ...]:
    return (status.iteration_id, status.state, status.description, status.target_url)


def of_stack(statuses: list[Status], stack: Stack) -> list[Status]:
    return [one for one in statuses if str(one.context) == f"stackhook/{stack.slug}"]
