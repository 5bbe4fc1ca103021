"""Modules from a registry are recorded with their version and the constraint on it."""

import json

import pytest

from stacks.models import Stack
from stacks.rules.states import State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, pushed, work

pytestmark = pytest.mark.without_resources

ADDRESS = "stackhook.example/team/vpc/aws"
CALL = f'module "one" {{\n  source  = "{ADDRESS}"\n  version = "~> 1.0"\n}}\n'


def installed_before(version: str = "1.2.3") -> list[str]:
    """Return commands after which Terraform takes a module for installed, as it leaves one."""
    row = {"Key": "one", "Source": ADDRESS, "Version": version, "Dir": "../data/modules/one"}
    manifest = json.dumps({"Modules": [{"Key": "", "Source": "", "Dir": "."}, row]})
    return [
        'mkdir -p "$TF_DATA_DIR/modules/one"',
        f"printf '%s' '{manifest}' > \"$TF_DATA_DIR/modules/modules.json\"",
        'echo \'output "answer" { value = 42 }\' > "$TF_DATA_DIR/modules/one/main.tf"',
    ]


def test_a_module_of_a_registry_is_recorded_with_the_constraint_of_its_call(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(commands={"before_init": installed_before()})
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + CALL})
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, done.errors)
    (source,) = done.registry_sources.all()
    found = (source.address, source.version, source.constraint)
    assert found == (ADDRESS, "1.2.3", "~> 1.0")
    # What is planned once more replaces it.
    Stack.objects.update(commands={"before_init": installed_before("1.3.0")})
    type(done).objects.update(state=State.QUEUED)
    (done,) = work()
    assert [one.version for one in done.registry_sources.all()] == ["1.3.0"]
