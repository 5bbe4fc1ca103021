"""Drift detection, with a real Terraform: from a schedule or a person to what pages show."""

from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from django.test import Client
from django.utils import timezone

from accounts.models import User
from stacks.execution.progress import end
from stacks.execution.tools import terraform
from stacks.lifecycle import drift
from stacks.lifecycle.actions import Action, act, refuses_retry
from stacks.lifecycle.drift import CHANGED_MEANWHILE, applied_run
from stacks.lifecycle.triggering import NotTriggered, commit_of, trigger
from stacks.models import Run, Stack, StackVariable
from stacks.models.schedule import Starts
from stacks.rules.states import Kind, Operation, Origin, State
from stacks.schedules.queue import start_scheduled_next
from tests.builders import make_run, make_schedule, make_stack
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import log_of, pushed, work
from tests.stacks.execution.state_server import StateServer
from vcs_integrations.models import Integration

# What is outside is a state that somebody else writes, and whose output the code reads.
CODE = """
variable "password" {}
data "terraform_remote_state" "outside" {
  backend = "http"
  config  = { address = "%s" }
}
resource "terraform_data" "network" {
  input = 1
}
output "seen" {
  value = data.terraform_remote_state.outside.outputs.size
}
"""
DRIFTED = (
    '"resource_drift":['
    '{"address":"terraform_data.network","mode":"managed","change":{"actions":["update"]}},'
    '{"address":"terraform_data.moved","mode":"managed","change":{"actions":["no-op"]}},'
    '{"address":"data.a.b","mode":"data","change":{"actions":["update"]}},'
    '{"address":"terraform_data.gone","mode":"managed","change":{"actions":["delete"]}}],'
)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def outside(own_backend: StateServer) -> str:
    """The address of a state that others write."""
    address = own_backend.address(uuid4().hex)
    write(address, "small")
    return address


@pytest.fixture
def applied(kept: Stack, repository: Repository, outside: str, bob: User) -> Stack:
    """A stack that was applied, whose code needs a secret of tracked runs."""
    StackVariable.objects.create(
        stack=kept, name="TF_VAR_password", value="correct-horse", is_secret=True
    )
    pushed(kept, repository, {"main.tf": CODE % outside})
    (run,) = work()
    act(run, Action.CONFIRM, bob, "")
    assert work()[0].state == State.FINISHED
    return kept


def write(address: str, size: str) -> None:
    outputs = {"size": {"value": size, "type": "string"}}
    state = {"version": 4, "serial": 1, "lineage": "a", "outputs": outputs, "resources": []}
    requests.post(address, json=state, timeout=30).raise_for_status()


def compare(stack: Stack) -> Run:
    make_schedule(stack)
    assert start_scheduled_next()
    (run,) = work()
    return run


def shown(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_without_drift_every_page_says_so(applied: Stack, member: Client) -> None:
    run = compare(applied)
    assert (run.kind, run.state) == (Kind.DRIFT, State.FINISHED), (run.failure, run.errors)
    assert (run.drifted, run.changed_outputs, run.has_drift) == (0, 0, False)
    assert "No drift." in shown(member, run.get_absolute_url())
    assert "No drift, <a" in shown(member, applied.get_absolute_url())
    assert "drift-heading" not in shown(member, "/")


def test_drift_is_found_against_what_was_applied_and_changes_nothing(
    applied: Stack, repository: Repository, outside: str, member: Client
) -> None:
    repository.push({"more.tf": 'resource "terraform_data" "more" {}\n'})  # not applied yet
    before = applied.state_versions.count()
    write(outside, "large")
    run = compare(applied)
    assert (run.state, run.drifted, run.changed_outputs) == (State.FINISHED, 0, 1), run.failure
    assert run.drift_text == "1 output changed outside"
    assert "terraform_data.more" not in log_of(run)
    assert (applied.state_versions.count(), hasattr(applied, "state_lock")) == (before, False)
    assert "Drift found: 1 output changed outside." in shown(member, run.get_absolute_url())
    assert "1 output changed outside, <a" in shown(member, applied.get_absolute_url())
    overview = shown(member, "/")
    assert "1 output changed outside" in overview[overview.index("drift-heading") :]


def test_resources_that_were_changed_or_deleted_outside_are_listed(
    applied: Stack, member: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Terraform's built-in resources can't drift: what it prints of others is put in its place.
    real = terraform.show_command

    def with_drift(program: str, plan: str) -> list[str]:
        show = " ".join(real(program, plan))
        return ["sh", "-c", f'{show} | sed \'s/"prior_state"/{DRIFTED}"prior_state"/\'']

    monkeypatch.setattr(terraform, "show_command", with_drift)
    run = compare(applied)
    assert (run.state, run.drifted) == (State.FINISHED, 2), run.failure
    page = shown(member, run.get_absolute_url())
    assert "Drift found: 2 resources changed outside." in page
    listed = f"{run.get_absolute_url()}plan/?show=drift"
    assert f'href="{listed}">Show what was changed<' in page
    page = shown(member, listed)
    assert "terraform_data.network" in page and "terraform_data.gone" in page


def test_a_tracked_run_because_of_drift_puts_it_right_and_the_drift_is_forgotten(
    applied: Stack, outside: str, bob: User, member: Client
) -> None:
    make_schedule(applied, runs_on_drift=True)
    write(outside, "large")
    assert start_scheduled_next()
    (found,) = work()
    assert found.has_drift
    assert start_scheduled_next()
    (run,) = work()
    assert (run.origin, run.state, run.changed_outputs) == (Origin.DRIFT, State.UNCONFIRMED, 1)
    act(run, Action.CONFIRM, bob, "")
    assert work()[0].state == State.FINISHED
    applied.refresh_from_db()
    assert applied.drift_run is None
    assert "drift-heading" not in shown(member, "/")
    assert refuses_retry(found) == ""
    make_run(applied, 9, state=State.FINISHED)
    assert refuses_retry(found) == "Other code was applied since: trigger drift detection."


def test_what_is_found_while_a_run_is_applied_does_not_count(applied: Stack) -> None:
    make_schedule(applied)
    assert start_scheduled_next()
    later = timezone.now() + timedelta(minutes=5)
    about = {"apply_started_at": timezone.now(), "apply_ended_at": later}
    make_run(applied, 9, state=State.FAILED, **about)
    (run,) = work()
    assert (run.state, run.failure) == (State.FAILED, CHANGED_MEANWHILE)
    applied.refresh_from_db()
    assert applied.drift_run is None


def test_a_drift_run_ends_with_its_result_or_not_at_all(
    linked: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_stack(linked)
    run = make_run(stack, kind=Kind.DRIFT, state=State.PLANNING, plan_started_at=timezone.now())

    def dies(run: Run) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(drift, "overlaps_apply", dies)
        with pytest.raises(KeyboardInterrupt):
            end(run, State.FINISHED, drifted=2)
    stack.refresh_from_db()
    stored = Run.objects.get()
    assert (stored.state, stored.drifted, stack.drift_run) == (State.PLANNING, None, None)
    end(run, State.FINISHED, drifted=2)
    stack.refresh_from_db()
    assert stack.drift_run == run and run.has_drift


def test_no_other_code_than_what_was_applied_finds_the_secrets(
    applied: Stack, repository: Repository
) -> None:
    run = applied_run(applied)
    assert run
    sha = repository.push({"evil.tf": "# 1\n"}, branch="feature")
    evil = make_run(applied, 7, kind=Kind.PROPOSED, sha=sha, state=State.FINISHED)
    for commit in (commit_of(evil), commit_of(make_run(applied, 8, state=State.DISCARDED))):
        with pytest.raises(NotTriggered, match="was applied by now"):
            trigger(
                applied,
                Kind.DRIFT,
                commit,
                origin=Origin.PERSON,
                operation=Operation.REFRESH_ONLY,
            )


def test_a_scheduled_run_starts_once_after_a_downtime(applied: Stack) -> None:
    long_ago = timezone.now() - timedelta(days=10)
    schedule = make_schedule(applied, Starts.TRACKED, due_at=long_ago)
    assert start_scheduled_next()
    (run,) = work()
    assert (run.origin, run.operation, run.state) == (
        Origin.SCHEDULE,
        Operation.APPLY,
        State.FINISHED,
    )
    assert not start_scheduled_next()
    schedule.refresh_from_db()
    assert schedule.due_at and schedule.due_at > timezone.now()
