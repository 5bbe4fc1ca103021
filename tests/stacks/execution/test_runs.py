"""A run from the queue to its end, with real git, Terraform and bubblewrap."""

from stacks.execution.logs import as_text
from stacks.models import Stack
from stacks.states import Kind, State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import LOCAL, THREE, log_of, pushed, work


def test_a_proposed_run_plans_and_ends(stack: Stack, repository: Repository) -> None:
    run = pushed(stack, repository, {"main.tf": LOCAL + THREE}, Kind.PROPOSED)
    (done,) = work()
    assert "terraform_data.network[2] will be created" in as_text(log_of(run))
    assert done.state == State.FINISHED
    assert (done.added, done.changed, done.destroyed) == (3, 0, 0)
