"""From a tag to the table in a pull request: through the registry over https, nothing faked."""

import pytest

from modules.impact.behind import newest_version, stacks_behind
from modules.impact.planning import plan_next_impact
from modules.impact.uses import users_of
from modules.models import Download, Module
from stacks.execution.output.logs import as_text
from stacks.models import Run, Stack
from stacks.rules.states import Origin
from tests.builders import make_module, make_stack
from tests.emulator.model import Project, Repository
from tests.modules.deciding.conftest import hearing
from tests.modules.deciding.hearing import Hearing
from tests.modules.publishing.conftest import work as check_all
from tests.modules.registry.conftest import https
from tests.stacks.execution.conftest import (
    kept,
    log_of,
    own_backend,
    runs_folder,
    server,
    stack,
    terraform,
    work,
)
from tests.stacks.reports.sender import send_all
from tests.tls import Https
from vcs_integrations.models import Integration

__all__ = ["hearing", "https", "kept", "own_backend", "runs_folder", "server", "stack", "terraform"]

RELEASED = """
variable "size" {
  default = 1
}
resource "terraform_data" "network" {
  input = var.size
}
"""
# It needs a region.
BREAKING = RELEASED + 'variable "region" {\n  type = string\n}\n'
CALL = """
module "network" {
  source  = "%s/fabrikam/network/azurerm"
  version = "~> 1.0"
%s}
"""


@pytest.fixture
def remote(project: Project) -> Repository:
    """The repository of the module."""
    return project.add_repository("modules", {"network/main.tf": RELEASED})


@pytest.fixture
def integration(remote: Repository, integration: Integration) -> Integration:
    """Linked when the module's repository was there."""
    return integration


@pytest.fixture
def module(integration: Integration) -> Module:
    return make_module(integration.repositories.get(name="modules"), folder="network")


@pytest.fixture
def stacks(kept: Stack, https: Https, repository: Repository) -> list[Stack]:
    """Two stacks that load the module from the registry."""
    Stack.objects.filter(pk=kept.pk).update(project_root="shop", autodeploy=True)
    make_stack(kept.repository, "Office", project_root="office", autodeploy=True)
    return list(Stack.objects.order_by("pk"))


def apply_all() -> None:
    work()
    runs = Run.objects.all()
    assert {run.state for run in runs} == {"finished"}, [as_text(log_of(run)) for run in runs]


def test_a_breaking_change_of_a_module_of_the_registry_is_shown_before_it_is_merged(
    module: Module,
    remote: Repository,
    stacks: list[Stack],
    repository: Repository,
    https: Https,
    hearing: Hearing,
) -> None:
    shop, office = stacks
    remote.tag("v1.0.0")
    hearing.deliver()
    check_all()
    assert [one.state for one in module.versions.all()] == ["published"]

    # Both stacks load that version, with the constraint that their code has.
    repository.push(
        {
            "shop/main.tf": CALL % (https.host, "  size = 2\n"),
            "office/main.tf": CALL % (https.host, ""),
        }
    )
    hearing.deliver()
    apply_all()
    uses = users_of(module)
    assert {one.stack for one in uses} == {shop, office}
    assert {(one.version, one.constraint) for use in uses for one in use.from_registry} == {
        ("1.0.0", "~> 1.0")
    }
    assert Download.objects.filter(version__module=module).count() == 2  # once for each stack

    # Its check passes, and the plans of both stacks would fail.
    remote.push({"network/main.tf": BREAKING}, branch="better")
    proposed = remote.open_pull_request("better", title="Ask for a region")
    hearing.deliver()
    plan_next_impact()
    check_all()
    planned = work()
    send_all()
    assert {run.origin for run in planned} == {Origin.IMPACT}
    statuses = {str(one.context): one.state for one in proposed.latest_statuses(1)}
    assert statuses == {
        "stackhook/module-fabrikam.network.azurerm": "succeeded",
        "stackhook/impact.fabrikam.network.azurerm": "failed",
    }
    [[comment]] = [thread.comments for thread in proposed.threads]
    assert "2 stacks: 2 failed" in comment.content.splitlines()[0]
    rows = [line for line in comment.content.splitlines() if line.startswith("| [")]
    assert {row.partition("](")[0] for row in rows} == {"| [Network", "| [Office"}
    assert all("**failed: Missing required argument" in row for row in rows)
    assert module.versions.count() == 1
    assert all(one.state_versions.count() == 1 for one in stacks)  # nothing was applied

    # A change that breaks nothing says so, in the same comment.
    proposed.push({"network/main.tf": RELEASED + "# Better\n"})
    hearing.deliver()
    plan_next_impact()
    work()
    check_all()
    send_all()
    assert "2 stacks: 2 without changes" in comment.content
    statuses = {str(one.context): one.state for one in proposed.latest_statuses(2)}
    assert set(statuses.values()) == {"succeeded"}

    # Once that is published as a version that no constraint allows, both are behind.
    proposed.complete()
    remote.tag("v2.0.0")
    hearing.deliver()
    check_all()
    behind = stacks_behind(module, users_of(module), newest_version(module))
    assert {one.stack for one in behind} == {shop, office}
    assert {one.reason for one in behind} == {"Its constraint ~> 1.0 holds it back."}
    assert Run.objects.filter(origin=Origin.IMPACT).count() == 4
