"""A run from the queue to its end, with real git, Terraform and bubblewrap."""

import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from stacks.execution import job, queue
from stacks.execution.isolation.sandbox import LimitReached, Limits, Stopped, sandbox
from stacks.execution.output.logs import Log, as_text
from stacks.execution.output.masking import Masker
from stacks.execution.tools import terraform
from stacks.lifecycle.actions import Action, NotPossible, act, actions_for
from stacks.models import LogChunk, PlanFile, Run, Runs, Stack, StackVariable
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_stack
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import (
    HTTP_BACKEND,
    THREE,
    commands_below,
    log_of,
    outputs_of,
    pushed,
    work,
)

OUTPUT = 'output "a" {\n  value = "%s"\n}\n'
BACKEND = 'terraform {\n  backend "%s" {}\n}\n'


def test_a_proposed_run_plans_and_ends(stack: Stack, repository: Repository) -> None:
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED
    assert (done.added, done.changed, done.destroyed) == (3, 0, 0)
    assert done.plan == {
        "resources": [
            {"address": f"terraform_data.network[{number}]", "action": "add"} for number in range(3)
        ],
        "outputs": [
            {"name": "names", "action": "add"},
            {"name": "password", "action": "add"},
        ],
        "left_out": 0,
    }
    # Values are only where they are encrypted, and pruned.
    assert outputs_of(done) == {"names": '"a"\n"b"', "password": "(sensitive)"}
    assert not PlanFile.objects.exists()
    log = as_text(log_of(run))
    assert "Fetching commit" in log and "terraform_data.network[2] will be created" in log
    assert "not for pages" not in log
    assert done.plan_duration.endswith(" s")


def test_a_tracked_run_waits_and_applies_exactly_its_plan(
    stack: Stack, repository: Repository, bob: User
) -> None:
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE + OUTPUT % "first"})
    repository.push({"main.tf": HTTP_BACKEND + OUTPUT % "never applied"}, branch="main")
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED
    assert work() == []  # nothing continues without a person
    secret = PlanFile.objects.get(run=run)
    assert secret.content
    act(waiting, Action.CONFIRM, bob, "Looks right")
    (done,) = work()
    assert done.state == State.FINISHED, done.failure
    log = as_text(log_of(run))
    assert "Apply complete! Resources: 3 added, 0 changed, 0 destroyed." in log
    assert 'a = "first"' in log and "never applied" not in log
    pieces = {
        str(phase): as_text("".join(run.log.filter(phase=phase).values_list("text", flat=True)))
        for phase in LogChunk.Phase
    }
    for phase, first in (("fetching", "Fetching commit "), ("initializing", "Using Terraform ")):
        assert pieces[phase].startswith(first) and pieces[phase].count(first) == 2  # and to apply
    assert "Plan: 3 to add" in pieces["planning"]
    assert "Apply complete!" in pieces["applying"] and "Apply complete!" not in pieces["planning"]
    (action,) = run.actions.all()
    assert (action.username, action.note) == ("bob", "Looks right")
    queue.forget_plans()
    assert not PlanFile.objects.exists()


def test_a_plan_without_changes_ends_at_once(stack: Stack, repository: Repository) -> None:
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    (done,) = work()
    assert done.state == State.FINISHED
    assert (done.added, done.changed, done.destroyed) == (0, 0, 0)
    assert done.plan == {"resources": [], "outputs": [], "left_out": 0}


def test_with_autodeploy_a_plan_is_applied_unconfirmed(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + OUTPUT % "now"})
    planned, applied = work()
    assert (planned.pk, applied.pk) == (run.pk, run.pk)
    assert applied.state == State.FINISHED
    assert not run.actions.exists()


def test_approvals_that_an_admin_wants_meanwhile_count_instead_of_autodeploy(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + OUTPUT % "now"})
    run = queue.claim_next("here")
    assert run and run.stack.autodeploy
    Stack.objects.update(autodeploy=False, approvals_needed=2)
    job.execute(run, lambda: False)
    run.refresh_from_db()
    assert run.state == State.UNCONFIRMED


def test_what_destroys_everything_in_a_backend_of_the_code_waits_for_a_person(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE})
    assert work()[-1].state == State.FINISHED
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    (waiting,) = work()
    assert (waiting.state, waiting.destroyed) == (State.UNCONFIRMED, 3)


def test_with_autodeploy_a_plan_that_is_too_large_to_be_read_waits_for_a_person(
    stack: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stack.objects.update(autodeploy=True)
    monkeypatch.setattr(terraform, "show_command", lambda program, plan: ["yes"])
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + OUTPUT % "now"})
    (waiting,) = work()
    assert (waiting.pk, waiting.state, waiting.added) == (run.pk, State.UNCONFIRMED, None)
    assert waiting.is_unread


@pytest.mark.parametrize(
    ("files", "reason", "logged"),
    [
        ({"main.tf": HTTP_BACKEND + "nonsense\n"}, "The initialization failed", "nonsense"),
        (
            {"main.tf": HTTP_BACKEND + 'output "a" {\n  value = file("no")\n}\n'},
            "The plan failed",
            "file",
        ),
        ({"main.tf": OUTPUT % "x"}, "The code names no backend", "initialized"),
        ({"main.tf": BACKEND % "local"}, "names the backend “local”, so its state", "initialized"),
        ({"main.tf": BACKEND % "inmem"}, "names the backend “inmem”, so its state", "initialized"),
        (
            {"main.tf": HTTP_BACKEND, "terraform.tfstate": '{"version": 4, "resources": [{}]}'},
            "migrate it to the backend in the code: terraform init -migrate-state",
            "losing state",
        ),
    ],
)
def test_what_fails_says_why(
    stack: Stack, repository: Repository, files: dict[str, str | None], reason: str, logged: str
) -> None:
    run = pushed(stack, repository, files)
    (done,) = work()
    assert done.state == State.FAILED
    assert reason in done.failure
    assert logged in as_text(log_of(run))


def test_a_commit_that_is_not_there_and_a_folder_that_is_not(
    stack: Stack, repository: Repository
) -> None:
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    Stack.objects.update(project_root="infra")
    (done,) = work()
    assert "The commit has no folder “infra”" in done.failure
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED, sha="1" * 40)
    (done,) = work()
    assert "The commit could not be fetched" in done.failure


def test_a_tool_that_is_not_there_is_named(stack: Stack, repository: Repository) -> None:
    Stack.objects.update(tool="opentofu")
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    (done,) = work()
    assert done.failure.startswith("OpenTofu is not installed") and "TOFU_BIN" in done.failure


# Which may go


def taken(worker: str = "here") -> int | None:
    run = queue.claim_next(worker)
    return run.number if run else None


def test_one_tracked_run_at_a_time_holds_its_stack_and_proposed_ones_go_beside(
    stack: Stack,
) -> None:
    for number, kind in ((1, Kind.PROPOSED), (2, Kind.TRACKED), (3, Kind.TRACKED)):
        make_run(stack, number, kind=kind)
    other = make_stack(stack.repository, "Other")
    make_run(other, 4)
    assert [taken(), taken(), taken(), taken()] == [2, 4, 1, None]
    Run.objects.filter(number=2).update(state=State.UNCONFIRMED, lease_until=None)
    assert taken() is None
    Run.objects.filter(number=2).update(state=State.CONFIRMED)
    assert taken() == 2
    assert Run.objects.get(number=2).state == State.APPLYING
    Run.objects.filter(number=2).update(state=State.FINISHED)
    assert taken() == 3


def test_runs_of_an_unlinked_organization_wait(stack: Stack) -> None:
    make_run(stack, 1)
    stack.integration.unlinked_at = timezone.now()
    stack.integration.save()
    assert taken() is None


# Workers that die


def died(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_what_a_dead_worker_planned_is_planned_again_but_not_for_ever(stack: Stack) -> None:
    run = make_run(stack, 1)
    for worker in ("first", "second", "third"):
        assert taken(worker) == 1
        assert taken("another") is None
        died(run)
    assert taken() is None
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "stopped 3 times" in run.failure


def test_what_a_dead_worker_applied_is_never_applied_again(stack: Stack) -> None:
    run = make_run(stack, 1, state=State.CONFIRMED)
    assert taken("first") == 1
    died(run)
    assert taken("second") is None
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "it is not known how far it came" in run.failure


def test_a_worker_that_lost_its_run_does_not_move_it(stack: Stack, repository: Repository) -> None:
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    run = queue.claim_next("slow")
    assert run
    died(run)
    assert taken("quick") == 1
    assert not queue.is_wanted(run)
    assert not queue.is_wanted(run)


# What people do


def test_each_state_offers_what_can_be_done(stack: Stack) -> None:
    run = make_run(stack, 1)
    offered = {}
    for state in State:
        run.state = state
        offered[state] = [one.value for one in actions_for(run)]
    assert offered == {
        State.QUEUED: ["cancel"],
        State.PREPARING: ["cancel"],
        State.PLANNING: ["cancel"],
        State.UNCONFIRMED: ["confirm", "discard", "cancel"],
        State.CONFIRMED: ["cancel"],
        State.APPLYING: [],
        State.FINISHED: ["retry"],
        State.FAILED: ["retry"],
        State.DISCARDED: ["retry"],
        State.CANCELED: ["retry"],
        State.SUPERSEDED: [],
    }


def test_a_retry_repeats_the_newest_tracked_run_alone(stack: Stack, bob: User) -> None:
    old, new = make_run(stack, 1, state=State.FAILED), make_run(stack, 2, state=State.FAILED)
    with pytest.raises(NotPossible, match="newer"):
        act(old, Action.RETRY, bob, "")
    again = act(new, Action.RETRY, bob, "Once more")
    assert (again.repeats, again.number, again.sha, again.state) == (new, 3, new.sha, State.QUEUED)
    with pytest.raises(NotPossible, match="newer"):
        act(new, Action.RETRY, bob, "")


def test_of_two_who_act_at_once_one_gets_an_error(stack: Stack, bob: User) -> None:
    run = make_run(stack, 1, state=State.UNCONFIRMED)
    same = Run.objects.get(pk=run.pk)
    act(run, Action.DISCARD, bob, "")
    with pytest.raises(NotPossible, match="Run 1 was discarded"):
        act(same, Action.CONFIRM, bob, "")
    assert run.actions.count() == 1


# The environment


def test_a_stacks_variables_reach_its_code_and_its_secrets_no_log_and_no_page(
    stack: Stack, repository: Repository
) -> None:
    secret = 'correct "horse"\nbattery staple'
    StackVariable.objects.create(stack=stack, name="TF_VAR_plain", value="seen by all")
    StackVariable.objects.create(
        stack=stack, name="TF_VAR_secret", value=secret, is_secret=True, runs=Runs.ALL
    )
    code = """
variable "plain" {}
variable "secret" {}
output "all" {
  value = "${var.plain} ${var.secret}"
}
output "encoded" {
  value = base64encode(var.secret)
}
"""
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, log_of(run)
    shown = as_text(log_of(run)) + "".join(outputs_of(done).values())
    assert "seen by all ********" in shown
    for part in ("horse", "battery", "staple", b64encode(secret.encode()).decode()):
        assert part not in shown


def test_code_that_nobody_reviewed_finds_no_secret(stack: Stack, repository: Repository) -> None:
    StackVariable.objects.create(
        stack=stack, name="TF_VAR_secret", value="a-secret-value", is_secret=True
    )
    code = """
variable "secret" {
  default = ""
}
output "length" {
  value = "the secret has ${nonsensitive(length(var.secret))} characters"
}
"""
    proposed = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code}, Kind.PROPOSED)
    (planned,) = work()
    assert planned.state == State.FINISHED, as_text(log_of(proposed))
    said = as_text(log_of(proposed))
    assert "the secret has 0 characters" in said
    assert "Proposed runs don't find TF_VAR_secret. An admin can make" in said
    tracked = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code})
    work()
    said = as_text(log_of(tracked))
    assert "the secret has 14 characters" in said
    assert "Proposed runs don't find" not in said


# While it goes


@pytest.fixture
def stuck() -> Iterator[str]:
    """Code whose initialization waits for a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        yield HTTP_BACKEND + f'module "a" {{\n  source = "http://127.0.0.1:{port}/a.zip"\n}}\n'


def is_initializing(folder: Path) -> bool:
    return any("terraform init" in command for command in commands_below(folder))


def test_a_canceled_run_is_over_within_seconds(
    stack: Stack, repository: Repository, bob: User, stuck: str, runs_folder: Path
) -> None:
    run = pushed(stack, repository, {"main.tf": stuck})
    canceled_at = 0.0

    def cancel_once() -> bool:
        nonlocal canceled_at
        if not canceled_at and is_initializing(runs_folder):
            canceled_at = time.monotonic()
            act(Run.objects.get(pk=run.pk), Action.CANCEL, bob, "")
        return False

    found = queue.claim_next("here")
    assert found
    job.execute(found, cancel_once)
    assert canceled_at
    assert time.monotonic() - canceled_at < 5
    assert commands_below(runs_folder) == []
    run.refresh_from_db()
    assert (run.state, run.failure) == (State.CANCELED, "")


def test_what_a_worker_planned_that_ends_is_planned_by_the_next(
    stack: Stack, repository: Repository, stuck: str, runs_folder: Path
) -> None:
    run = pushed(stack, repository, {"main.tf": stuck})
    found = queue.claim_next("here")
    assert found
    job.execute(found, lambda: is_initializing(runs_folder))
    assert commands_below(runs_folder) == []
    run.refresh_from_db()
    assert (run.state, run.worker, run.attempts) == (State.QUEUED, "", 0)
    assert queue.claim_next("another") == run


def test_a_job_that_never_stops_printing_is_cut_and_ended(
    stack: Stack, repository: Repository, settings: Settings, runs_folder: Path
) -> None:
    settings.RUN_LOG_MB = 1
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    with sandbox() as box:
        log = Log(run, Masker(["y" * 40]))
        with pytest.raises(Stopped):
            box.run(["yes"], {}, log.write, lambda: log.left <= 0, Limits(600))
        with pytest.raises(LimitReached, match="minutes"):
            box.run(["yes"], {}, log.write, lambda: False, Limits(1))
    assert "The log is cut here: it has 1 MB." in log_of(run)
    assert list(runs_folder.glob("job-*")) == []


def test_without_isolation_a_run_goes_the_same_way(
    stack: Stack, repository: Repository, settings: Settings, runs_folder: Path
) -> None:
    settings.RUN_ISOLATION = "none"
    Stack.objects.update(autodeploy=True)
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE})
    *_, done = work()
    assert done.state == State.FINISHED, as_text(log_of(done))
    assert done.added == 3
    assert list(runs_folder.glob("job-*")) == []
