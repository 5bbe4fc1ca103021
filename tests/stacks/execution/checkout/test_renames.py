"""Runs of repositories that are called otherwise by now, or are not there any more."""

from collections.abc import Callable

import pytest

from stacks.execution.output.logs import as_text
from stacks.models import Run, Stack
from stacks.rules.states import State
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, log_of, pushed, work
from vcs_integrations.models import Repository as StoredRepository

pytestmark = pytest.mark.without_resources

OUTPUT = 'output "a" {\n  value = 1\n}\n'


@pytest.fixture
def queued(stack: Stack, repository: Repository) -> Run:
    """A run whose commit was pushed before anything is renamed."""
    return pushed(stack, repository, {"main.tf": HTTP_BACKEND + OUTPUT})


def rename_repository_and_project(repository: Repository) -> None:
    repository.rename("foundation")
    repository.project.rename("Core Team")


def rename_organization(repository: Repository) -> None:
    repository.organization.rename("contoso")


def give_the_name_to_another(repository: Repository) -> None:
    repository.rename("foundation")
    repository.project.add_repository("infrastructure", {"main.tf": "# another one\n"})


@pytest.mark.parametrize(
    ("rename", "name"),
    [
        (rename_repository_and_project, "Core Team/foundation"),
        (rename_organization, "Platform Team/infrastructure"),
        (give_the_name_to_another, "Platform Team/foundation"),
    ],
)
def test_a_run_follows_a_rename(
    queued: Run, repository: Repository, rename: Callable[[Repository], None], name: str
) -> None:
    rename(repository)
    (done,) = work()
    log = as_text(log_of(queued))
    assert done.state in {State.FINISHED, State.UNCONFIRMED}, (done.failure, log)
    assert f"The repository was renamed. Fetching from {name}" in log
    stored = StoredRepository.objects.get(external_id=repository.id)
    assert str(stored) == name
    assert stored.web_url == repository.clone_url


def test_a_run_of_a_deleted_repository_says_so(queued: Run, repository: Repository) -> None:
    repository.delete()
    (done,) = work()
    assert done.state == State.FAILED
    assert done.failure.startswith(
        "The repository Platform Team/infrastructure was deleted, or the token may not see it."
    )


def test_a_run_of_a_disabled_repository_says_so(queued: Run, repository: Repository) -> None:
    repository.disable()
    (done,) = work()
    assert done.state == State.FAILED
    assert done.failure.startswith("The repository Platform Team/infrastructure is disabled.")


def test_while_azure_devops_is_down_git_itself_says_why_nothing_was_fetched(
    queued: Run, repository: Repository, emulator: Emulator
) -> None:
    repository.rename("foundation")
    emulator.faults.add("unavailable", path="_apis")
    (done,) = work()
    assert done.failure == "The commit could not be fetched."
    for said in (as_text(log_of(queued)), done.errors):
        assert "TF401019" in said
    assert not done.errors.startswith("Fetching")
    assert done.errors.count("TF401019") == 1
