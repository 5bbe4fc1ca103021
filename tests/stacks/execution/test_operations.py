"""What triggered runs plan otherwise than usual, with a real Terraform."""

import pytest

from accounts.models import User
from stacks.lifecycle.actions import Action, act
from stacks.lifecycle.starting import repeat
from stacks.lifecycle.triggering import trigger
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Operation, Origin, State
from stacks.sources.heads import read_head
from stacks.tfstate.resources import addresses_in_state
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import THREE, log_of, pushed, work
from vcs_integrations.providers.events import RemoteCommit

KEYED = """
resource "terraform_data" "keyed" {
  for_each = toset(["plain", "a\\"b\\\\c", "$${x} %%{y}", "dots.and[0]"])
  input    = each.key
}
"""
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def applied(kept: Stack, repository: Repository, bob: User) -> Stack:
    """A stack with three resources, and four whose keys have to be quoted."""
    pushed(kept, repository, {"main.tf": THREE, "keyed.tf": KEYED})
    (run,) = work()
    act(run, Action.CONFIRM, bob, "")
    assert work()[0].state == State.FINISHED
    assert read_head(kept) is None
    kept.refresh_from_db()
    return kept


def start(stack: Stack, **about: object) -> Run:
    commit = RemoteCommit(stack.head_sha, stack.head_message, stack.head_author, None)
    return trigger(stack, Kind.TRACKED, commit, origin=Origin.PERSON, **about)  # type: ignore[arg-type]


def planned(run: Run) -> Run:
    (done,) = work()
    assert done.pk == run.pk
    assert done.state == State.UNCONFIRMED, (done.failure, done.errors)
    return done


def listed(run: Run) -> list[tuple[str, str]]:
    assert run.plan is not None
    return [(one["action"], one["address"]) for one in run.plan["resources"]]


def test_a_destroy_run_waits_even_with_autodeploy_and_then_destroys(
    applied: Stack, bob: User
) -> None:
    Stack.objects.update(autodeploy=True)
    run = planned(start(applied, operation=Operation.DESTROY))
    assert (run.added, run.changed, run.destroyed) == (0, 0, 7)
    act(run, Action.CONFIRM, bob, "")
    (done,) = work()
    assert done.state == State.FINISHED, done.failure
    assert "Resources: 0 added, 0 changed, 7 destroyed." in log_of(run)
    assert addresses_in_state(applied) == []


def test_a_destroy_run_of_one_target_waits_with_autodeploy_too(applied: Stack) -> None:
    Stack.objects.update(autodeploy=True)
    target = "terraform_data.network[1]"
    run = planned(start(applied, operation=Operation.DESTROY, targets=[target]))
    assert listed(run) == [("destroy", target)]
    assert not run.destroys_everything


def test_targets_limit_a_plan_and_a_retry_repeats_them(
    applied: Stack, repository: Repository, bob: User
) -> None:
    run = planned(
        start(
            applied,
            targets=["terraform_data.network[0]"],
            replacements=["terraform_data.network[0]"],
        )
    )
    assert listed(run) == [("replace", "terraform_data.network[0]")]
    act(run, Action.DISCARD, bob, "")
    again = act(run, Action.RETRY, bob, "")
    assert (again.operation, again.targets) == (run.operation, run.targets)
    assert (again.origin, again.started_by) == (Origin.PERSON, "Retried by bob")
    assert listed(planned(again)) == listed(run)


def test_every_address_in_a_state_is_one_that_terraform_takes(applied: Stack) -> None:
    found = addresses_in_state(applied)
    assert found is not None and len(found) == 7
    assert found[-3:] == [f"terraform_data.network[{number}]" for number in range(3)]
    run = planned(start(applied, replacements=found))
    assert sorted(listed(run)) == sorted(("replace", address) for address in found)


def test_refresh_only_finds_nothing_to_do_where_all_is_as_stored(applied: Stack) -> None:
    run = start(applied, operation=Operation.REFRESH_ONLY)
    (done,) = work()
    assert (done.pk, done.state) == (run.pk, State.FINISHED), done.failure
    assert listed(done) == []


def test_refresh_only_creates_nothing_that_the_code_adds(
    applied: Stack, repository: Repository, bob: User
) -> None:
    repository.push({"more.tf": 'resource "terraform_data" "more" {}\n'})
    assert read_head(applied) is None
    applied.refresh_from_db()
    start(applied, operation=Operation.REFRESH_ONLY)
    (done,) = work()
    assert done.state == State.FINISHED, done.failure
    found = addresses_in_state(applied)
    assert found is not None and "terraform_data.more" not in found


def test_a_destroy_run_is_repeated_as_one(applied: Stack) -> None:
    run = start(applied, operation=Operation.DESTROY)
    Run.objects.filter(pk=run.pk).move_to(State.CANCELED)
    assert repeat(run).destroys
