"""A push to a repository that a stack uses as a module starts a run, once, if that is wanted."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from stacks.deciding.reconciliation import reconcile_next
from stacks.models import ModulePush, ModuleSource, Run, Stack
from stacks.rules.states import Kind, Origin, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_run
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from tests.stacks.conftest import CHECKED
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.models import Repository as KnownRepository
from vcs_integrations.webhooks.processing import process_due, replay


@pytest.fixture
def module(project: Project) -> Repository:
    return project.add_repository("module", {"main.tf": "# one\n"})


@pytest.fixture
def integration(module: Repository, integration: Integration) -> Integration:
    """Linked when the module was there."""
    return integration


@pytest.fixture
def stack(
    stack: Stack, module: Repository, organization: Organization, emulator: Emulator
) -> Iterator[Stack]:
    """A stack whose last tracked run used the module's default branch; webhooks are held back."""
    emulator.deliveries.hold()
    linked = stack.integration
    organization.add_subscription(
        module.project,
        "git.push",
        linked.endpoint_url,
        linked.read_webhook_secret().value,
        resourceDetailsToSend="all",
    )
    follow_from_now(stack)
    Stack.objects.update(runs_on_modules=True)
    stack.refresh_from_db()
    used(stack, module, ref="", sha=module.tip() or "")
    yield stack
    emulator.deliveries.drop()


def used(stack: Stack, module: Repository, **source: str) -> Run:
    """Store a finished tracked run that used a module, as a worker does."""
    begun = timezone.now() - timedelta(minutes=1)
    run = make_run(stack, state=State.FINISHED, sha=stack.head_sha, plan_started_at=begun)
    known = KnownRepository.objects.get(name=module.name)
    ModuleSource.objects.create(run=run, repository=known, **source)
    ModuleSource.objects.filter(run=run).have_read()
    return run


def deliver(emulator: Emulator) -> list[Delivery]:
    """Hand over what the hooks sent, and process it; return the deliveries."""
    before = Delivery.objects.count()
    for request in emulator.deliveries.take():
        path = re.sub(r"^https?://[^/]+", "", request.url)
        headers = {**request.headers, "X-Forwarded-Proto": "https"}
        Client().post(path, request.body, content_type="application/json", headers=headers)
    while process_due():
        pass
    return list(Delivery.objects.order_by("pk")[before:])


def started(stack: Stack) -> list[Run]:
    return list(stack.runs.filter(origin=Origin.MODULE).order_by("number"))


@pytest.mark.on_postgresql
def test_a_push_to_a_module_starts_one_tracked_run_of_the_head(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    module.push({"main.tf": "# two\n"})
    (delivery,) = deliver(emulator)
    (run,) = started(stack)
    assert (run.kind, run.sha, run.state) == (Kind.TRACKED, stack.head_sha, State.QUEUED)
    position = module.pushes[-1].id
    name = "Platform Team/module"
    assert run.note == (
        f"Push {position} to main of {name}: Run 1 used the default branch of {name}."
    )
    assert (delivery.outcome, delivery.reason) == ("run", "Run 2 of Network")
    (decision,) = stack.decisions.all()
    assert (decision.rule, decision.run) == ("module", run)
    # However often it is heard of, it is one run, also once that has ended.
    source = stack.runs.get(number=1).module_sources.get()
    ModuleSource.objects.create(run=run, repository=source.repository, sha=source.sha)
    Run.objects.filter(pk=run.pk).update(state=State.FINISHED)
    replay(Delivery.objects.all())
    while process_due():
        pass
    KnownRepository.objects.make_due()
    while reconcile_next():
        pass
    assert started(stack) == [run]
    with pytest.raises(IntegrityError):
        ModulePush.objects.create(stack=stack, repository=delivery_of(module), position=position)


def delivery_of(module: Repository) -> KnownRepository:
    return KnownRepository.objects.get(name=module.name)


@pytest.mark.parametrize(
    ("ref", "moved", "starts"),
    [
        ("", "refs/heads/main", True),
        ("HEAD", "refs/heads/main", True),
        ("", "refs/heads/other", False),
        ("", "refs/tags/main", False),
        ("main", "refs/heads/main", True),
        ("other", "refs/heads/main", False),
        ("v1.0", "refs/tags/v1.0", True),
        ("v1.0", "refs/tags/v1.1", False),
        ("refs/heads/main", "refs/heads/main", True),
        ("sha", "refs/heads/main", False),
        ("short sha", "refs/heads/main", False),
    ],
)
def test_the_branch_or_tag_that_the_source_names_is_followed(
    stack: Stack, module: Repository, emulator: Emulator, ref: str, moved: str, starts: bool
) -> None:
    sha = module.tip() or ""
    ref = {"sha": sha, "short sha": sha[:8]}.get(ref, ref)
    used(stack, module, ref=ref, sha=sha)
    newer = module.push({"main.tf": "# two\n"}, branch="scratch")
    deliver(emulator)
    module.push_refs({moved: newer})
    (delivery,) = deliver(emulator)
    assert bool(started(stack)) == starts
    if not starts:
        assert delivery.reason == "Stacks use it as a module, and nothing that they follow moved"


@pytest.mark.on_postgresql
def test_what_is_not_wanted_starts_nothing(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(runs_on_modules=False)
    module.push({"main.tf": "# two\n"})
    (delivery,) = deliver(emulator)
    assert delivery.reason == "No stack uses this repository"
    Stack.objects.update(runs_on_modules=True)
    # The newest tracked run used it no longer; a proposed one says nothing.
    make_run(stack, state=State.FINISHED)
    proposed = make_run(stack, kind=Kind.PROPOSED, sha="9" * 40, state=State.FINISHED)
    ModuleSource.objects.create(run=proposed, repository=delivery_of(module), sha="1" * 40)
    module.push({"main.tf": "# three\n"})
    deliver(emulator)
    # A deleted branch brings no code, and what was fetched already is no news.
    used(stack, module, ref="old", sha="1" * 40)
    module.push_refs({"refs/heads/old": module.tip()})
    Run.objects.filter(module_sources__ref="old").update(state=State.CANCELED)
    used(stack, module, ref="main", sha=module.push({"main.tf": "# four\n"}))
    deliver(emulator)
    assert started(stack) == []


def test_a_failed_run_that_fetched_the_module_follows_it_too(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    run = used(stack, module, ref="main", sha="1" * 40)
    Run.objects.filter(pk=run.pk).update(state=State.FAILED)
    module.push({"main.tf": "# repaired\n"})
    deliver(emulator)
    assert len(started(stack)) == 1


@pytest.mark.on_postgresql
def test_pushes_that_come_together_start_one_run_that_waits(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    for number in range(3):
        module.push({"main.tf": f"# {number}\n"})
    deliver(emulator)
    assert len(started(stack)) == 1
    assert ModulePush.objects.count() == 3
    assert {one.run for one in ModulePush.objects.all()} == set(started(stack))


@pytest.mark.on_postgresql
def test_a_push_that_no_webhook_reported_is_found(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    KnownRepository.objects.update(seen_position=None)
    module.push({"main.tf": "# two\n"})
    emulator.deliveries.drop()
    KnownRepository.objects.make_due()
    while reconcile_next():
        pass
    (run,) = started(stack)
    assert run.sha == stack.head_sha
    # Once nothing follows it, it is not read any more.
    Stack.objects.update(runs_on_modules=False)
    KnownRepository.objects.make_due()
    while reconcile_next():
        pass
    assert KnownRepository.objects.get(name="module").due_at is None
    assert KnownRepository.objects.get(name="infrastructure").due_at


@pytest.mark.on_postgresql
def test_a_push_long_before_the_run_starts_nothing_when_it_is_read_late(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    module.push({"main.tf": "# two\n"})
    module.push({"main.tf": "# three\n"})
    later = timezone.now() + timedelta(hours=1)
    Run.objects.update(plan_started_at=later)
    KnownRepository.objects.filter(name="module").update(seen_position=1)
    deliver(emulator)
    KnownRepository.objects.make_due()
    while reconcile_next():
        pass
    assert started(stack) == []


@pytest.mark.on_postgresql
def test_the_switch_is_in_the_behavior_of_a_stack(
    stack: Stack, member: Client, module: Repository
) -> None:
    Stack.objects.update(runs_on_modules=False)
    KnownRepository.objects.filter(name="module").update(due_at=None)
    member.post("/stacks/network/behavior/", CHECKED | {"runs_on_modules": "on"})
    stack.refresh_from_db()
    assert stack.runs_on_modules
    assert KnownRepository.objects.get(name="module").due_at


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_false_claim_of_a_push_starts_nothing(
    stack: Stack, module: Repository, emulator: Emulator
) -> None:
    module.push({"main.tf": "# two\n"})
    (request,) = emulator.deliveries.take()
    path = re.sub(r"^https?://[^/]+", "", request.url)
    forged = request.body.replace(f'"pushId": {module.pushes[-1].id}'.encode(), b'"pushId": 99')
    headers = {**request.headers, "X-Forwarded-Proto": "https"}
    for _ in range(2):
        Client().post(path, forged, content_type="application/json", headers=headers)
        Delivery.objects.update(due_at=timezone.now())
        process_due()
    assert started(stack) == []
