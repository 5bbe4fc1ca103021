"""Whatever happens to deliveries and workers, the same runs come of a history.

Two worlds follow one repository of the emulator. In the one every delivery arrives at once and
is processed at once. In the other deliveries are lost, doubled, late and shuffled, others are
forged, the provider is away, for more than an hour perhaps, workers are killed or hang, and
reconciliation repairs it in the end. `make proof` runs more histories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import Count
from django.utils import timezone
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pytest_django import Settings

from stacks.deciding.older_pull_requests import waiting
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile
from stacks.lifecycle.basis import basis_now, moved_since
from stacks.lifecycle.planning_again import may_be_planned_again, plan_again_next
from stacks.models import Decision, PullRequest, Run, Stack
from stacks.rules.states import DOES_NOT_COUNT, ENDED, Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_repository, make_stack, store_integration
from tests.emulator import Emulator
from tests.emulator.delivery import WebhookRequest
from tests.emulator.model import Organization, Project
from tests.emulator.model import Repository as Remote
from tests.endpoint import Endpoint
from tests.killing import away, killed_at
from tests.repetitions import repeated
from tests.stacks.deciding.forgeries import NOTHING, made_up, made_up_push
from tests.stacks.deciding.histories import BRANCHES, History, Step, chosen, openings, steps
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import ProviderError
from vcs_integrations.webhooks import processing

HISTORIES = repeated(6)
PARTS = 2
EVENTS = (
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.updated",
    "git.pullrequest.merged",
)
# Different enough that they decide differently.
STACKS: dict[str, dict[str, Any]] = {
    "path": {"project_root": "infra", "extra_globs": ["modules/*"]},
    "plain": {"path_rule": False, "runs_forks": True},
    "pull requests": {"project_root": "infra", "pull_requests_only": True, "runs_drafts": False},
    "release": {"branch": "release", "project_root": "docs", "runs_forks": True},
}


TO_THE_END = (
    State.PREPARING,
    State.PLANNING,
    State.UNCONFIRMED,
    State.CONFIRMED,
    State.APPLYING,
    State.FINISHED,
)


@dataclass(frozen=True)
class Fate:
    """The fate of one delivery: how often it comes, how many steps late, and before which."""

    times: int = 1
    late: int = 0
    comes_by_another_subscription: bool = False
    rank: int = 0


@dataclass(frozen=True)
class Work:
    """What a worker does after a step; it may be killed at a query or call to the provider."""

    what: str = "process"
    killed_at: int | None = None
    provider: str = "there"


@dataclass(frozen=True)
class Forgery:
    """A false claim: of which kind, about which branch, and with which commit or push."""

    kind: str
    branch: str
    number: int

    def body(self, history: History, notification: int) -> bytes:
        """Return what is sent; what is claimed of a pull request may turn out true later."""
        remote, sha = history.repository, chosen(history.commits, self.number)
        if self.kind == "completes":
            return made_up(
                "git_pullrequest_updated__completed",
                remote.id,
                notification,
                pullRequestId=1 + self.number,
            )
        is_real = self.kind == "borrows a push"
        position = chosen(remote.pushes, self.number).id if is_real else 1_000_000 + notification
        new = NOTHING if self.kind == "deletes" else sha
        ref = f"refs/heads/{self.branch}"
        return made_up_push(remote.id, notification, position, ref, "1" * 40, new)


@dataclass(frozen=True)
class Moment:
    """A step of a history, the fate of its deliveries, and what a worker does then."""

    step: Step
    fates: list[Fate] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    forgery: Forgery | None = None


fates = st.builds(
    Fate,
    times=st.sampled_from((1, 0, 2)),
    late=st.sampled_from((0, 1, 2, 4, 99)),
    comes_by_another_subscription=st.booleans(),
    rank=st.integers(0, 3),
)
kills = st.none() | st.integers(0, 60)
works = st.builds(
    Work,
    st.sampled_from(("process", "nothing", "hang", "reconcile", "plan")),
    kills,
    st.sampled_from(("there", "there", "away", "away for an hour")),
)
forgeries = st.builds(
    Forgery,
    st.sampled_from(("moves", "deletes", "borrows a push", "completes")),
    st.sampled_from(BRANCHES),
    st.integers(0, 5),
)
moments = st.builds(Moment, steps, st.lists(fates, max_size=6), works, st.none() | forgeries)


class World:
    """Stacks that follow a repository, and what arrives of it."""

    def __init__(self, name: str, remote: Remote, token: str) -> None:
        self.integration = store_integration(name, token, organization_url=remote.organization.url)
        self.endpoint = Endpoint(self.integration)
        self.repository = make_repository(self.integration, remote.id, name=remote.name)
        for key, own in STACKS.items():
            stack = make_stack(self.repository, f"{key} ({name})", **own)
            assert follow_from_now(stack) is None
        # Commits of pull requests that are older than the stacks
        self.older = {one.source_commit for one in remote.pull_requests if one.is_active}
        self.remote = remote

    def receive(self, body: bytes) -> None:
        """Have a webhook request arrive."""
        assert self.endpoint.post(body).status_code == 200

    @property
    def stacks(self) -> dict[str, Stack]:
        return dict(zip(STACKS, self.repository.stacks.order_by("pk"), strict=True))

    @property
    def runs(self) -> set[tuple[str, str, str]]:
        """Stack, commit and kind of every run.

        Of what was proposed before the stacks, only that counts which is proposed now.
        """
        return {
            (key, run.sha, run.kind)
            for key, stack in self.stacks.items()
            for run in stack.runs.all()
            if run.kind == Kind.TRACKED
            or run.sha not in self.older
            or (run.state not in DOES_NOT_COUNT and run.sha in self.proposed_to(stack))
        }

    def proposed_to(self, stack: Stack) -> set[str]:
        """Return the commits that open pull requests propose to a stack's branch."""
        return {
            one.source_commit
            for one in self.remote.pull_requests
            if one.is_active and one.target_ref == f"refs/heads/{stack.branch}"
        }

    @property
    def heads(self) -> dict[str, tuple[str, bool]]:
        """The head of every stack, and whether its branch is gone."""
        return {
            key: (stack.head_sha, bool(stack.branch_gone_at)) for key, stack in self.stacks.items()
        }

    def reconcile(self) -> list[Decision]:
        self.repository.refresh_from_db()
        return reconcile(self.repository)

    def plan(self) -> None:
        """Have older pull requests planned as far as there is room, as if its time had come."""
        for stack in self.repository.stacks.exclude(plan_older_at=None):
            self.repository.stacks.filter(pk=stack.pk).update(plan_older_at=timezone.now())
            plan_next()
            # Not due while the other world works.
            soon = timezone.now() + processing.LEASE
            self.repository.stacks.exclude(plan_older_at=None).update(plan_older_at=soon)

    def check(self) -> None:
        """Check that no run is there twice, and that every open pull request was decided about."""
        for stack in self.stacks.values():
            assert not waiting(stack).exists()
        runs = Run.objects.filter(stack__repository=self.repository)
        proposed = runs.filter(kind=Kind.PROPOSED).exclude(state__in=DOES_NOT_COUNT)
        assert not doubles(proposed, "stack", "sha")
        assert not doubles(runs.filter(kind=Kind.TRACKED), "stack", "position")
        assert not doubles(runs.filter(kind=Kind.TRACKED, state=State.QUEUED), "stack")
        self.rest()
        for run in self.deciding:
            is_left_alone = run.pull_request and not may_be_planned_again(run, run.pull_request)
            assert run.state == State.FINISHED
            assert is_left_alone or not moved_since(run)

    def rest(self) -> None:
        """Let run workers do all there is, and have planned again what is out of date then."""
        unfinished = Run.objects.filter(stack__repository=self.repository)
        unfinished = unfinished.exclude(state__in=ENDED)
        for _ in range(20):  # more than ever takes
            for stack in self.stacks.values():
                unfinished.filter(stack=stack).update(**basis_now(stack))
            for state in TO_THE_END:
                unfinished.filter(kind=Kind.TRACKED).move_to(state)
            for state in (State.PREPARING, State.PLANNING, State.FINISHED):
                unfinished.filter(kind=Kind.PROPOSED).move_to(state)
            if not self.repository.stacks.exclude(plan_again_at=None).exists():
                return
            due = self.repository.stacks.exclude(plan_again_at=None)
            due.update(plan_again_at=timezone.now())
            while plan_again_next():
                pass
        raise AssertionError("it never rests")

    @property
    def deciding(self) -> list[Run]:
        """The runs that count for what is proposed now."""
        return [
            run
            for stack in self.stacks.values()
            for sha in self.proposed_to(stack)
            if (run := stack.runs.filter(kind=Kind.PROPOSED, sha=sha).that_count().first())
        ]


def doubles(runs: Any, *fields: str) -> list[Any]:
    counted = runs.order_by().values(*fields).annotate(count=Count("pk"))
    return list(counted.filter(count__gt=1))


class BrokenWorld(World):
    """One where things go wrong: its fate says what happens to each delivery."""

    def __init__(self, name: str, remote: Remote, token: str) -> None:
        super().__init__(name, remote, token)
        self.waiting: list[tuple[int, int, WebhookRequest]] = []
        self.step = 0

    def expect(self, request: WebhookRequest, other: WebhookRequest, fate: Fate) -> None:
        """Let a request arrive as its fate says; the other is that of a second subscription."""
        arrivals = [request] * fate.times
        if fate.comes_by_another_subscription:
            arrivals.append(other)
        self.waiting += [(self.step + fate.late, fate.rank, each) for each in arrivals]

    def arrive(self, until: int) -> None:
        """Have those arrive whose time has come."""
        coming = [one for one in self.waiting if one[0] <= until]
        self.waiting = [one for one in self.waiting if one[0] > until]
        for _, _, request in sorted(coming, key=lambda one: one[:2]):
            self.receive(request.body)

    def work(self, work: Work) -> None:
        """Let a worker do something; another one finds free what a dead one had claimed."""
        self.expire_leases()
        if work.provider == "away for an hour":
            self.deliveries.waiting().update(failures=processing.WAITING_ATTEMPTS)
        around = nullcontext() if work.provider == "there" else self.without_provider()
        with killed_at(work.killed_at), around:
            if work.what == "process":
                processing.process_due()
            elif work.what == "reconcile":
                self.reconcile()
            elif work.what == "plan":
                self.plan()
            elif work.what == "hang":
                self.hang()
        # Not due while the other world works.
        self.deliveries.waiting().update(due_at=timezone.now() + processing.LEASE)

    def expire_leases(self) -> None:
        """Let time pass: what waits is due, and what dead workers had claimed is free."""
        self.deliveries.waiting().update(due_at=timezone.now(), lease_until=timezone.now())

    @contextmanager
    def without_provider(self) -> Iterator[None]:
        """Let calls fail; the next reading waits as long as ever.

        Nothing is remembered: for a push that was read before, a worker that gives up makes a run,
        as its changed files can't be read.
        """
        cache.clear()
        with away(), suppress(ProviderError):
            yield
        Repository.objects.filter(pk=self.repository.pk).update(failures=0)

    def hang(self) -> None:
        """Claim deliveries, fall asleep, and go on once another worker was through with them."""
        asleep = Delivery.objects.claim_together(processing.LEASE, processing.CLAIMED_AT_ONCE)
        self.expire_leases()
        processing.process_due()
        processing.process(asleep)

    def settle(self) -> None:
        """Let everything come to rest: what arrived is processed and what was missed found."""
        while self.deliveries.waiting().exists():
            self.work(Work())
        while self.reconcile():
            pass
        for _ in range(5):  # more than ever takes; a stack that is not done fails the check
            if not any(stack.plan_older_at for stack in self.stacks.values()):
                break
            # Run workers make room.
            proposed = Run.objects.filter(stack__repository=self.repository, kind=Kind.PROPOSED)
            for state in (State.PREPARING, State.PLANNING, State.FINISHED):
                proposed.exclude(state=state).move_to(state)
            self.plan()

    @property
    def deliveries(self) -> Any:
        return Delivery.objects.filter(integration=self.integration)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that serves for all histories."""
    with Emulator(Path(tmp_path_factory.mktemp("emulator")), allow_local_hooks=True) as emulator:
        emulator.deliveries.hold()
        yield emulator


@pytest.fixture
def allowed(running: Emulator, settings: Settings) -> Emulator:
    settings.AZURE_DEVOPS_SERVERS = [running.url]
    return running


@contextmanager
def fresh_project(emulator: Emulator) -> Iterator[Project]:
    """Give a project that sends everything twice, and forget it and all that came of it."""
    organization = emulator.add_organization("fabrikam")
    project = organization.add_project("Platform")
    try:
        yield project
    finally:
        emulator.state.organizations.clear()
        emulator.deliveries.drop()
        cache.clear()
        for model in (Decision, Run, Stack, PullRequest, Delivery, Repository, Integration):
            model.objects.all().delete()


def subscribe(organization: Organization, project: Project) -> None:
    """Subscribe twice to all events, with all details."""
    for _ in range(2):
        for event in EVENTS:
            organization.add_subscription(project, event, "http://127.0.0.1/", password="x")


def part(number: int) -> Callable[..., None]:
    """Return a test of some of the histories, so that processes can share them."""

    @pytest.mark.django_db(transaction=True)
    @seed(number)
    @settings(
        max_examples=HISTORIES // PARTS,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        before=st.lists(steps | openings, max_size=3),
        history=st.lists(moments, min_size=4, max_size=12),
        usual=fates,
    )
    def test(allowed: Emulator, before: list[Step], history: list[Moment], usual: Fate) -> None:
        check(allowed, before, history, usual)

    found: Callable[..., None] = test
    return found


test_no_commit_is_lost_1 = part(1)
test_no_commit_is_lost_2 = part(2)


def check(allowed: Emulator, before: list[Step], history: list[Moment], usual: Fate) -> None:
    """Let a history happen in both worlds, and compare what comes of it."""
    with fresh_project(allowed) as project:
        past = History(project.add_repository("infrastructure"))
        for step in before:
            past.take(step)
        subscribe(project.organization, project)
        token = project.organization.add_token({"vso.code"})
        perfect = World("perfect", past.repository, token)
        broken = BrokenWorld("broken", past.repository, token)
        perfect.reconcile()
        perfect.plan()
        for moment in history:
            broken.step += 1
            past.take(moment.step)
            fates = iter(moment.fates)
            sent = allowed.deliveries.take()
            for request, other in zip(sent[::2], sent[1::2], strict=True):
                perfect.receive(request.body)
                processing.process_due()
                broken.expect(request, other, next(fates, usual))
            broken.arrive(broken.step)
            if moment.forgery:
                broken.receive(moment.forgery.body(past, broken.step))
            broken.work(moment.work)
        broken.settle()
        broken.arrive(1000)
        broken.settle()
        assert broken.runs == perfect.runs
        assert broken.heads == perfect.heads
        found = perfect.runs, perfect.heads
        perfect.reconcile()
        assert (perfect.runs, perfect.heads) == found
        perfect.check()
        broken.check()
