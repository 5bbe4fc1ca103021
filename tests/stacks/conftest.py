"""What tests of stacks share."""

from typing import Any

import pytest
from django.test import Client

from stacks.models import Stack
from tests.builders import make_stack
from tests.emulator.model import Organization, Repository
from vcs_integrations.models import Integration

NEW = "/stacks/new/"
INFRASTRUCTURE = "Platform Team/infrastructure"
CHECKED = {
    "path_rule": "on",
    "runs_drafts": "on",
    "fetches_submodules": "on",
    "plans_merged": "on",
    "plans_again": "on",
    "fetches_lfs": "on",
}
BACKEND = {"tool": "terraform", "backend": "stackhook"}


@pytest.fixture
def world(integration: Integration, repository: Repository) -> Integration:
    """The linked organization, whose repository has a second branch."""
    repository.push({"a.tf": "1"}, branch="feature/network", message="Add a network")
    return integration


@pytest.fixture
def stack(world: Integration) -> Stack:
    repository = world.repositories.get(name="infrastructure")
    return make_stack(repository)


def remote(organization: Organization, project: str, name: str) -> Repository:
    """Make a repository in Azure DevOps with one commit on main."""
    found = organization.project(project) or organization.add_project(project)
    return found.add_repository(name, {"main.tf": "# nothing yet\n"})


def source(integration: Integration, **changes: str) -> dict[str, str]:
    """Return what is typed into the first step."""
    typed = {"provider": str(integration.pk), "repository": INFRASTRUCTURE, "branch": "main"}
    return typed | {"step": "1"} | changes


def create(client: Client, integration: Integration, **changes: str) -> Any:
    """Send the last step of the form with everything typed so far."""
    typed = source(integration, step="4", name="Network") | CHECKED | BACKEND
    return client.post(NEW, typed | changes)


def values(response: Any) -> dict[str, str]:
    """Return all that a step of the form shows or carries."""
    form = response.context["form"]
    carried: dict[str, str] = response.context["carried"]
    shown = {name: form[name].value() or "" for name in form.fields}
    return carried | {name: "on" if value is True else value for name, value in shown.items()}


def errors(response: Any, field: str) -> str:
    return " ".join(response.context["form"].errors.get(field, []))


def step(response: Any) -> str:
    return str(response.context["form"].title)
