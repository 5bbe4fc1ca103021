"""Modules from a registry are recorded with their version and the constraint on it."""

import pytest

from stacks.models import Run, Stack
from stacks.rules.states import State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, pushed, work
from tests.stacks.execution.modules.conftest import ADDRESS, CALL, installed_before

pytestmark = pytest.mark.without_resources


def test_a_module_of_a_registry_is_recorded_with_the_constraint_of_its_call(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(commands={"before_init": installed_before()})
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + CALL})
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, done.errors)
    (source,) = done.registry_sources.all()
    found = (source.address, source.version, source.constraint)
    assert found == (ADDRESS, "1.2.3", "~> 1.0")
    # What is planned once more replaces it.
    Stack.objects.update(commands={"before_init": installed_before("1.3.0")})
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED)
    (done,) = work()
    assert [one.version for one in done.registry_sources.all()] == ["1.3.0"]
