"""A hook that failed for long: what it lost is made up for once it is repaired."""

import pytest
import time_machine

from stacks.deciding.reconciliation import reconcile_next
from stacks.models import Stack
from stacks.sources.heads import follow_from_now
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from vcs_integrations.hooks.watching import watch, watch_next
from vcs_integrations.models import HookAction, Integration, WebhookSecret
from vcs_integrations.webhooks.processing import process_due

PUSHES = 50


@pytest.fixture
def kept(site: str, stack: Stack, integration: Integration, emulator: Emulator) -> Integration:
    """A stack that runs for every push, of a project whose hooks Stackhook keeps."""
    Stack.objects.update(path_rule=False)
    assert follow_from_now(stack) is None
    integration.projects.update(keeps_hooks=True)
    watch(integration.hook_watch)
    emulator.wait_for_deliveries()
    return integration


def work() -> None:
    """Do what the background worker does, until nothing is due."""
    while watch_next() or process_due() or reconcile_next():
        pass


def runs_by_push(stack: Stack) -> list[int]:
    return sorted(run.position for run in stack.runs.all() if run.position is not None)


@pytest.mark.parametrize(("hours", "status"), [(36, "disabledBySystem"), (30, "onProbation")])
def test_after_a_probation_no_run_is_missing_and_none_is_double(
    kept: Integration,
    stack: Stack,
    organization: Organization,
    repository: Repository,
    emulator: Emulator,
    hours: int,
    status: str,
) -> None:
    work()
    before = len(repository.pushes)
    hook = next(one for one in organization.subscriptions if one.event_type == "git.push")
    right = WebhookSecret.objects.get().digest
    WebhookSecret.objects.update(digest="out of order")
    for number in range(PUSHES):
        branch = "main" if number % 3 else f"topic-{number}"
        repository.push({f"file-{number}.tf": str(number)}, branch, message=f"Push {number}")
        emulator.wait_for_deliveries()
        emulator.clock.move(hours=hours / PUSHES)
    assert hook.status == status
    delivered = kept.deliveries.count()
    WebhookSecret.objects.update(digest=right)

    with time_machine.travel(emulator.clock.now()):
        work()
        emulator.wait_for_deliveries()
        work()
    assert kept.deliveries.count() == delivered == 0
    pushed = sorted(push.id for push in repository.pushes[before:])
    assert len(pushed) == PUSHES
    assert runs_by_push(stack) == pushed
    action = kept.hook_actions.filter(event_type="git.push").first()
    assert action
    assert action.kind == HookAction.Kind.RECREATED
    assert all(one.status == "enabled" for one in organization.subscriptions)

    # From now on webhooks come again, and what they announce is not found a second time.
    repository.push({"after.tf": "1"}, message="After")
    emulator.wait_for_deliveries()
    with time_machine.travel(emulator.clock.now()):
        work()
        kept.repositories.make_due()
        work()
    assert kept.deliveries.count() == 1
    assert runs_by_push(stack) == [*pushed, repository.pushes[-1].id]
