"""Runs with the machine's Terraform and with the one that PyPI has, where there is either."""

from collections.abc import Callable

import pytest
from pytest_django import Settings

from accounts.models import User
from stacks.execution.output.logs import as_text
from stacks.lifecycle.actions import Action, act
from stacks.models import PlanChange, Stack, values_of
from stacks.rules.states import State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, log_of, outputs_of, pushed, work
from tests.stacks.execution.tools.terraforms import installed, packaged

pytestmark = pytest.mark.without_resources


@pytest.mark.parametrize("find", [installed, packaged])
def test_a_run_is_planned_confirmed_and_applied(
    find: Callable[[], str | None],
    settings: Settings,
    stack: Stack,
    repository: Repository,
    bob: User,
) -> None:
    program = find()
    if program is None:
        pytest.skip("This Terraform is not here.")
    settings.TERRAFORM_BIN = program
    code = 'variable "a" {\n  default = 1\n}\noutput "sum" {\n  value = var.a + 1\n}\n'
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code})
    (planned,) = work()
    assert planned.state == State.UNCONFIRMED, as_text(log_of(run))
    is_old = find is packaged  # 0.15.0-rc2, which marks no values of a state as sensitive
    assert planned.plan == {
        "resources": [],
        "outputs": [{"name": "sum", "action": "add"}],
        "left_out": 0,
    }
    [change] = PlanChange.objects.filter(run=planned)
    stored = values_of(planned, change.part)[change.number]
    assert (stored["hidden"], stored["rows"] == []) == (is_old, is_old)
    assert outputs_of(planned) == {"sum": "" if is_old else "2"}
    said = "does not say which values of a plan are sensitive, so Stackhook shows none."
    assert [said in one for one in planned.warnings] == [True] * is_old
    act(planned, Action.CONFIRM, bob, "")
    (applied,) = work()
    assert applied.state == State.FINISHED, as_text(log_of(run))
    assert "sum = 2" in as_text(log_of(run))
