"""What tests of modules in runs share: a repository with a module, and a pull request of it."""

import json

import pytest

from stacks.models import ProposedModule, PullRequest, Run, Stack
from stacks.rules.states import Kind, Origin
from tests.builders import make_run
from tests.emulator.model import Project, Repository
from vcs_integrations.models import Integration

REGISTRY = "stackhook.example"
ADDRESS = f"{REGISTRY}/fabrikam/network/azurerm"
CALL = f'module "one" {{\n  source  = "{ADDRESS}"\n  version = "~> 1.0"\n}}\n'


def answer(value: str) -> str:
    return f'output "answer" {{\n  value = "{value}"\n}}\n'


@pytest.fixture
def module(project: Project) -> Repository:
    """A repository with a module in a folder."""
    return project.add_repository("modules", {"network/main.tf": answer("as released")})


@pytest.fixture
def integration(module: Repository, integration: Integration) -> Integration:
    """Linked when the module was there."""
    return integration


def installed_before(
    version: str = "1.2.3", place: str = "", call: str = "", code: str = answer("as released")
) -> list[str]:
    """Return commands after which Terraform takes a module for installed, as it leaves one."""
    folder = f"../data/modules/one/{place}".rstrip("/")
    row = {"Key": "one", "Source": ADDRESS + call, "Version": version, "Dir": folder}
    manifest = json.dumps({"Modules": [{"Key": "", "Source": "", "Dir": "."}, row]})
    return [
        f'mkdir -p "$TF_DATA_DIR/modules/one/{place}"',
        f"printf '%s' '{manifest}' > \"$TF_DATA_DIR/modules/modules.json\"",
        f"printf '%s' '{code}' > \"$TF_DATA_DIR/modules/one/{place}/main.tf\"",
    ]


def proposal(stack: Stack, module: Repository, sha: str, **changes: object) -> PullRequest:
    """Store a pull request of the module that proposes a commit."""
    values = {
        "number": 7,
        "status": "open",
        "source_branch": "better",
        "target_branch": "main",
        "source_sha": sha,
        "revision": 1,
    }
    known = stack.integration.repositories.get(name=module.name)
    return PullRequest.objects.create(repository=known, **values | changes)


def planned_with(stack: Stack, one: PullRequest, sha: str) -> Run:
    """Queue a run of a stack's commit with what a pull request proposes."""
    run = make_run(stack, kind=Kind.PROPOSED, sha=sha, origin=Origin.IMPACT, position=None)
    ProposedModule.objects.create(
        run=run, pull_request=one, sha=one.source_sha, folder="network", address=ADDRESS
    )
    return run
