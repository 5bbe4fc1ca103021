"""Whatever happens to deliveries and workers, the same versions come of a history of tags.

Two worlds follow one repository of the emulator. In the one every delivery arrives at once and is
processed at once. In the other deliveries are lost, doubled, late and shuffled, others are forged,
the provider is away, for more than an hour perhaps, workers are killed, and reading repairs it in
the end. Both publish what they have, again and again. `make proof` runs more histories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pytest_django import Settings

from modules.deciding.importing import import_next, import_versions
from modules.models import (
    Archive,
    Check,
    Module,
    ModuleDecision,
    ModuleVersion,
    Tag,
    VersionsFrom,
    VersionState,
)
from stacks.deciding.reconciliation import reconcile
from stacks.models import PullRequest
from tests.builders import make_module, make_repository, store_integration
from tests.emulator import Emulator
from tests.emulator.delivery import WebhookRequest
from tests.emulator.model import Repository as Remote
from tests.endpoint import Endpoint
from tests.killing import away, killed_at
from tests.modules.deciding.hearing import publish
from tests.repetitions import repeated
from tests.stacks.deciding.forgeries import NOTHING, made_up_push
from vcs_integrations.models import Delivery, Integration, Notice, Repository
from vcs_integrations.providers.base import ProviderError
from vcs_integrations.webhooks import processing

HISTORIES = repeated(4)
PARTS = 2
# Some name the same version, some are of another module, and one names none.
TAGS = ("v1.0.0", "1.0.0", "v1.0.0+b", "v1.1.0-rc.1", "vpc/v1.0.0", "nightly")
FILE = "vpc/.stackhook/module.yml"
MODULES: dict[str, dict[str, Any]] = {
    "top": {},
    "vpc": {"folder": "vpc", "tag_prefix": "vpc"},
    "file": {"folder": "vpc", "versions_from": VersionsFrom.FILE},
}


@dataclass(frozen=True)
class Step:
    """What people do: push to main, or move, delete or annotate tags, all by one push."""

    files: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, int | None] = field(default_factory=dict)
    is_annotated: bool = False

    def take(self, remote: Remote) -> None:
        if self.files:
            remote.push(dict(self.files))
            return
        commits = [push.commits[0] for push in remote.pushes if push.commits]
        values: dict[str, str | None] = {}
        there = remote.ref_values()
        for name, number in self.tags.items():
            sha = None if number is None else commits[-1 - number % len(commits)]
            if sha and self.is_annotated:
                now = remote.organization.now()
                sha = remote.git.write_tag(name, sha, f"About {name}", "Ann <a@x.example>", now)
            if sha or f"refs/tags/{name}" in there:
                values[f"refs/tags/{name}"] = sha
        if values:
            remote.push_refs(values)


@dataclass(frozen=True)
class Fate:
    """The fate of one delivery: how often it comes, how many steps late, and before which."""

    times: int = 1
    late: int = 0
    rank: int = 0


@dataclass(frozen=True)
class Work:
    """What a worker does after a step; it may be killed at a query or call to the provider."""

    what: str = "process"
    killed_at: int | None = None
    provider: str = "there"


@dataclass(frozen=True)
class Moment:
    """A step, the fate of its delivery, what is forged, what a worker does, who publishes then."""

    step: Step
    fate: Fate = field(default_factory=Fate)
    work: Work = field(default_factory=Work)
    forged: str = ""
    publishes: bool = False


contents = st.sampled_from(("version: 1.0.0", "version: 1.1.0\n", "nothing", "version: 1.0.0 "))
changes = st.dictionaries(st.just(FILE), contents, min_size=1) | st.dictionaries(
    st.sampled_from(("main.tf", "vpc/main.tf")), st.sampled_from("abc"), min_size=1
)
moves = st.dictionaries(
    st.sampled_from(TAGS), st.none() | st.integers(0, 3), min_size=1, max_size=2
)
steps = (
    st.builds(Step, changes)
    | st.builds(Step, tags=moves, is_annotated=st.booleans())
    | st.builds(Step, tags=moves, is_annotated=st.booleans())
)
fates = st.builds(
    Fate,
    times=st.sampled_from((1, 0, 2)),
    late=st.sampled_from((0, 1, 2, 4, 99)),
    rank=st.integers(0, 3),
)
works = st.builds(
    Work,
    st.sampled_from(("process", "nothing", "hang", "reconcile", "list")),
    st.none() | st.integers(0, 60),
    st.sampled_from(("there", "there", "away", "away for an hour")),
)
moments = st.builds(
    Moment,
    steps,
    fates,
    works,
    st.sampled_from(("", "", "moves", "deletes", "borrows a push")),
    st.sampled_from((False, False, False, True)),
)


class World:
    """Modules of a repository, and what arrives of it."""

    def __init__(self, name: str, remote: Remote, token: str) -> None:
        self.integration = store_integration(name, token, organization_url=remote.organization.url)
        self.endpoint = Endpoint(self.integration)
        self.repository = make_repository(self.integration, remote.id, name=remote.name)
        self.modules = {
            key: make_module(self.repository, f"{key}-{name}", **own)
            for key, own in MODULES.items()
        }
        self.reconcile()
        for module in self.modules.values():
            self.list_tags(module)

    def receive(self, body: bytes) -> None:
        assert self.endpoint.post(body).status_code == 200

    def reconcile(self) -> None:
        self.repository.refresh_from_db()
        reconcile(self.repository)

    def list_tags(self, module: Module) -> None:
        """List the tags of a module as a worker that claimed it."""
        Module.objects.filter(pk=module.pk).update(lease_token="test", due_at=timezone.now())
        import_versions(Module.objects.with_repository().get(pk=module.pk))

    def publish(self) -> None:
        for module in self.modules.values():
            publish(module)

    @property
    def versions(self) -> set[tuple[Any, ...]]:
        """All that matters of each version."""
        return {
            (
                key,
                one.number,
                one.tag,
                one.sha,
                one.state,
                one.moved_to,
                bool(one.tag_gone_at),
                one.title,
                one.changelog,
            )
            for key, module in self.modules.items()
            for one in module.versions.all()
        }

    @property
    def decided_tags(self) -> set[tuple[str, str]]:
        """The pushes of tags that were decided, for each module: a constraint keeps each once."""
        return {
            (key, one.subject)
            for key, module in self.modules.items()
            for one in module.decisions.filter(subject__startswith="Push")
            if " to tag " in one.subject and one.rule != "decided"
        }

    @property
    def notices(self) -> int:
        return (
            Notice.objects.unfixed().filter(integration=self.integration, kind="tag_moved").count()
        )

    def check(self) -> None:
        """Check that whatever waits to be published is due to be checked."""
        for module in self.modules.values():
            for one in module.versions.filter(state=VersionState.WAITING):
                assert module.checks.get(sha=one.sha).due_at


class BrokenWorld(World):
    """One where things go wrong: its fate says what happens to each delivery."""

    def __init__(self, name: str, remote: Remote, token: str) -> None:
        super().__init__(name, remote, token)
        self.waiting: list[tuple[int, int, WebhookRequest]] = []
        self.step = 0

    def expect(self, request: WebhookRequest, fate: Fate) -> None:
        """Let a request arrive as its fate says."""
        self.waiting += [(self.step + fate.late, fate.rank, request)] * fate.times

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
            elif work.what == "list":
                Module.objects.filter(repository=self.repository).update(due_at=timezone.now())
                import_next()
            elif work.what == "hang":
                self.hang()
        # Not due while the other world works.
        self.deliveries.waiting().update(due_at=timezone.now() + processing.LEASE)
        Module.objects.filter(repository=self.repository).update(due_at=None, lease_until=None)

    def expire_leases(self) -> None:
        """Let time pass: what waits is due, and what dead workers had claimed is free."""
        self.deliveries.waiting().update(due_at=timezone.now(), lease_until=timezone.now())

    @contextmanager
    def without_provider(self) -> Iterator[None]:
        """Let calls fail, with nothing remembered; the next reading waits as long as ever."""
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
        self.reconcile()
        for module in self.modules.values():
            self.list_tags(module)

    @property
    def deliveries(self) -> Any:
        return Delivery.objects.filter(integration=self.integration)


def forged(kind: str, remote: Remote, step: int) -> bytes:
    """Return a false claim about a tag."""
    is_real = kind == "borrows a push"
    position = remote.pushes[-1].id if is_real else 1_000_000 + step
    new = NOTHING if kind == "deletes" else remote.sha("main")
    ref = f"refs/tags/v9.0.{step}" if is_real else "refs/tags/v1.0.0"
    return made_up_push(remote.id, 1_000 + step, position, ref, "1" * 40, new)


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
def fresh_repository(emulator: Emulator) -> Iterator[Remote]:
    """Give a repository that sends its pushes, and forget it and all that came of it."""
    organization = emulator.add_organization("fabrikam")
    project = organization.add_project("Platform")
    remote = project.add_repository("modules", {"main.tf": ""})
    organization.add_subscription(project, "git.push", "http://127.0.0.1/", password="x")
    try:
        yield remote
    finally:
        emulator.state.organizations.clear()
        emulator.deliveries.drop()
        cache.clear()
        of_modules = (ModuleDecision, Check, ModuleVersion, Archive, Tag, Module)
        for model in (*of_modules, PullRequest, Notice, Delivery, Repository, Integration):
            model.objects.all().delete()


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
        before=st.lists(steps, max_size=3),
        history=st.lists(moments, min_size=6, max_size=14),
    )
    def test(allowed: Emulator, before: list[Step], history: list[Moment]) -> None:
        check(allowed, before, history)

    found: Callable[..., None] = test
    return found


test_no_tag_is_lost_1 = part(1)
test_no_tag_is_lost_2 = part(2)


def check(allowed: Emulator, before: list[Step], history: list[Moment]) -> None:
    """Let a history happen in both worlds, and compare what comes of it."""
    with fresh_repository(allowed) as remote:
        for step in before:
            step.take(remote)
        allowed.deliveries.take()
        token = remote.organization.add_token({"vso.code"})
        perfect = World("perfect", remote, token)
        broken = BrokenWorld("broken", remote, token)
        for moment in history:
            broken.step += 1
            moment.step.take(remote)
            for request in allowed.deliveries.take():
                perfect.receive(request.body)
                processing.process_due()
                broken.expect(request, moment.fate)
            broken.arrive(broken.step)
            if moment.forged:
                broken.receive(forged(moment.forged, remote, broken.step))
            broken.work(moment.work)
            if moment.publishes:
                compare(perfect, broken)
                perfect.publish()
                broken.publish()
        compare(perfect, broken)
        broken.arrive(1000)
        compare(perfect, broken)
        found = perfect.versions
        perfect.reconcile()
        for module in perfect.modules.values():
            perfect.list_tags(module)
        assert perfect.versions == found


def compare(perfect: World, broken: BrokenWorld) -> None:
    broken.settle()
    assert broken.versions == perfect.versions
    assert broken.decided_tags == perfect.decided_tags
    assert broken.notices == perfect.notices
    for world in (perfect, broken):
        world.check()
