"""What tests of impact share: a module, and stacks whose last runs used it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from modules.impact.uses import registry_address
from modules.models import Module
from stacks.models import ModuleSource, PullRequest, RegistrySource, Run, Stack
from stacks.rules.states import State
from tests.builders import make_module, make_repository, make_run, make_stack, store_integration
from vcs_integrations.models import Integration


@pytest.fixture
def linked(db: None) -> Integration:
    return store_integration(token="a-token")


@pytest.fixture
def module(linked: Integration) -> Module:
    repository = make_repository(linked, "modules", name="modules", search_text="web/modules")
    return make_module(repository, folder="network")


def user(module: Module, name: str, *, used: int = 0, **changes: object) -> Stack:
    """Store a stack that may read the module, and used it so many minutes ago."""
    head = {"head_sha": f"{len(name):040x}"}
    stack = make_stack(make_repository(module.integration), name, **head | changes)
    use(module, stack, used=used)
    return stack


def use(
    module: Module, stack: Stack, *, version: str = "1.0.0", constraint: str = "", used: int = 0
) -> Run:
    """Store a finished tracked run that got a version of the module from the registry."""
    run = make_run(stack, state=State.FINISHED)
    begun = timezone.now() - timedelta(minutes=used)
    Run.objects.filter(pk=run.pk).update(created_at=begun, plan_started_at=begun)
    source = {"address": registry_address(module), "version": version, "constraint": constraint}
    RegistrySource.objects.create(run=run, **source)
    return run


def fetch(module: Module, stack: Stack, *folders: str, ref: str = "", sha: str = "1" * 40) -> Run:
    """Store a finished tracked run that fetched the module's repository by git."""
    run = make_run(stack, state=State.FINISHED)
    ModuleSource.objects.create(
        run=run, repository=module.repository, ref=ref, sha=sha, folders=list(folders)
    )
    return run


def pull_request(module: Module, **changes: object) -> PullRequest:
    """Store an open pull request of the module's repository."""
    values = {
        "number": 7,
        "title": "Rename a variable",
        "status": "open",
        "source_branch": "better",
        "target_branch": "main",
        "source_sha": "a" * 40,
        "revision": 1,
    }
    return PullRequest.objects.create(repository=module.repository, **values | changes)
