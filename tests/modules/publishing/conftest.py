"""What tests of publishing share: a module of the emulator, and a worker in this process."""

from collections.abc import Mapping

import pytest
from django.utils import timezone

from modules.models import Check, CheckState, Module, ModuleVersion, VersionState
from modules.publishing import checking, queue
from modules.rules.semver import SemVer
from tests.builders import make_module
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import no_pauses, runs_folder, terraform
from vcs_integrations.models import Integration

__all__ = ["no_pauses", "runs_folder", "terraform"]
GOOD = 'variable "name" {\n  type = string\n}\noutput "name" {\n  value = var.name\n}\n'


@pytest.fixture
def module(integration: Integration, repository: Repository) -> Module:
    return make_module(integration.repositories.get(name="infrastructure"))


def tagged(
    module: Module, repository: Repository, files: Mapping[str, str | None], number: str = "1.0.0"
) -> ModuleVersion:
    """Push files and a tag, and return the version that waits to be checked."""
    sha = repository.push(dict(files), branch="main")
    repository.push_refs({f"refs/tags/v{number}": sha})
    return waiting(module, sha, number)


def waiting(module: Module, sha: str, number: str = "1.0.0") -> ModuleVersion:
    """Store a version of a commit that waits to be checked."""
    version = ModuleVersion.of(module, SemVer.parse(number), f"v{number}", sha)
    version.save()
    ask(module, sha)
    return version


def ask(module: Module, sha: str) -> Check:
    """Have a commit checked, again where it was."""
    due = {"due_at": timezone.now(), "state": CheckState.QUEUED}
    check, _ = Check.objects.update_or_create(module=module, sha=sha, defaults=due)
    return check


def work() -> list[Check]:
    """Make the checks that are due, and return them as they are now."""
    done = []
    while check := queue.claim_next():
        checking.execute(check, lambda: False)
        done.append(Check.objects.get(pk=check.pk))
    return done


def outcomes(check: Check) -> dict[str, str]:
    """Return what became of each thing that was checked."""
    return {one["name"]: one["outcome"] for one in check.results}


def sentence(check: Check, name: str) -> str:
    (found,) = (one["sentence"] for one in check.results if one["name"] == name)
    return str(found)


def state(version: ModuleVersion) -> VersionState:
    version.refresh_from_db()
    return VersionState(version.state)
