"""One stack reads the outputs of another and runs after it, with real Terraform."""

import json
import re

import pytest
from django.test import Client

from stacks.dependencies.following import follow_next
from stacks.dependencies.graph import depend
from stacks.dependencies.views import data_block
from stacks.execution.output.logs import as_text
from stacks.models import Stack, StateGrant
from stacks.rules.states import Kind, Origin, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import log_of, outputs_of, pushed, work

Files = dict[str, str | None]
SENSITIVE = "a-sensitive-output-of-another-stack"
OWNER = """
variable "ids" { default = ["net-1"] }
output "id" { value = %s }
output "password" {
  value     = "%s"
  sensitive = true
}
output "other" { value = "the same" }
"""


@pytest.fixture
def reader(kept: Stack) -> Stack:
    """A stack of another folder, whose code reads the outputs of the first one."""
    return make_stack(kept.repository, "Shop", project_root="shop", autodeploy=True)


def reading(kept: Stack) -> str:
    return (
        data_block(kept)
        + 'output "read" { value = data.terraform_remote_state.network.outputs.id }\n'
        + 'output "printed" { value = data.terraform_remote_state.network.outputs.password }\n'
    )


def owner_code(value: str) -> str:
    return OWNER % (json.dumps(value), SENSITIVE)


def test_outputs_are_read_by_grant_and_a_change_runs_the_reader_once(
    kept: Stack, repository: Repository, reader: Stack, member: Client
) -> None:
    Stack.objects.update(autodeploy=True)
    files: Files = {"main.tf": owner_code("net-1"), "shop/main.tf": reading(kept)}
    first = pushed(kept, repository, files)
    work()
    first.refresh_from_db()
    assert first.state == State.FINISHED, as_text(log_of(first))

    refused = pushed(reader, repository, files)
    work()
    refused.refresh_from_db()
    assert refused.state == State.FAILED
    assert "HTTP remote state endpoint requires auth" in as_text(log_of(refused))

    StateGrant.objects.create(stack=kept, reader=reader)
    granted = pushed(reader, repository, {**files, "shop/b.tf": ""})
    work()
    granted.refresh_from_db()
    assert granted.state == State.FINISHED, as_text(log_of(granted))
    assert outputs_of(granted)["read"] == '"net-1"'
    assert SENSITIVE not in as_text(log_of(granted)) + json.dumps(outputs_of(granted))

    proposed = pushed(reader, repository, files, Kind.PROPOSED)
    work()
    proposed.refresh_from_db()
    assert proposed.state == State.FAILED
    assert "HTTP remote state endpoint invalid auth" in as_text(log_of(proposed))

    depend(reader, kept, ["id"])
    changed: Files = {**files, "main.tf": owner_code("net-2")}
    pushed(kept, repository, changed)
    assert follow_from_now(reader) is None
    work()
    while follow_next():
        pass
    [run] = reader.runs.filter(origin=Origin.DEPENDENCY)
    assert run.note == "Network changed the output id."
    work()
    run.refresh_from_db()
    assert run.state == State.FINISHED, as_text(log_of(run))
    assert outputs_of(run)["read"] == '"net-2"'
    page = member.get(run.get_absolute_url()).content.decode()
    assert "Network changed the output id." in re.sub(r"\s+", " ", page)

    pushed(kept, repository, {**changed, "c.tf": ""})
    work()
    assert not follow_next() or not follow_next()
    assert reader.runs.filter(origin=Origin.DEPENDENCY).count() == 1
