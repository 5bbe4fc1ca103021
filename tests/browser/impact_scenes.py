"""The pages about the impact of a module's pull requests in their main states."""

from playwright.sync_api import expect

from modules.impact.planning import plan_next_impact, plan_rest, want
from modules.impact.uses import registry_address
from modules.models import Impact, Module
from stacks.models import ModuleSource, PullRequest, RegistrySource, Run
from stacks.rules.states import Origin
from stacks.rules.states import State as RunState
from tests.browser.scene import LONG_NAME, Scene, state
from tests.builders import make_module, make_run, make_stack, make_version

NAMES = ("Network", "Shop", "Office", LONG_NAME, "Warehouse", "Billing", "Archive")
ERRORS = 'Error: Missing required argument\n\n  on main.tf line 1, in module "network":'
CHANGES: dict[str, dict[str, object]] = {
    "Network": {"added": 1204, "changed": 12, "destroyed": 310},
    "Shop": {"added": 2, "changed": 0, "destroyed": 0},
    "Office": {"added": 0, "changed": 0, "destroyed": 0},
    LONG_NAME: {"failure": "The plan failed.", "errors": ERRORS},
}


def _module(scene: Scene) -> Module:
    """A module that stacks use in several versions, from the registry and by git."""
    repository = scene.integration.repositories.get()
    module = make_module(repository, folder="network")
    for version in ("1.2.0", "2.0.0"):
        make_version(module, version)
    for number, name in enumerate(NAMES):
        run = make_run(make_stack(repository, name, head_sha="e" * 40), state=RunState.FINISHED)
        if number % 3 == 2:
            ref = "v1.2.0" if number == 2 else LONG_NAME
            source = {"ref": ref, "sha": "c" * 40, "folders": ["network"]}
            ModuleSource.objects.create(run=run, repository=repository, **source)
            continue
        version = "2.0.0" if number % 2 else "1.2.0"
        used = {"version": version, "constraint": ">= 1.0, < 2.0, != 1.1.0"}
        RegistrySource.objects.create(run=run, address=registry_address(module), **used)
    return module


def _impact(scene: Scene, module: Module, stacks: int = 5) -> Impact:
    """A pull request whose plans came to everything that they may."""
    one = PullRequest.objects.create(
        repository=module.repository,
        number=12,
        title="Ask for a region",
        status="open",
        source_branch="better",
        target_branch="main",
        source_sha="a" * 40,
        revision=3,
    )
    found = want(module, one, 3, "a" * 40)
    assert found
    found.plans.filter(place__gt=stacks).update(is_wanted=False)
    plan_next_impact()
    for name, changes in CHANGES.items():
        state = RunState.FAILED if "failure" in changes else RunState.FINISHED
        runs = Run.objects.filter(stack__name=name, origin=Origin.IMPACT)
        runs.update(state=state, **changes)
    return found


@state("stacks of a module")
def _stacks_of_a_module(scene: Scene) -> None:
    module = _module(scene)
    _impact(scene, module)
    scene.member(f"/modules/{module.address}/stacks/")
    expect(scene.page.get_by_role("heading", name="Behind 2.0.0")).to_be_visible()


@state("stacks of a module, none")
def _no_stacks_of_a_module(scene: Scene) -> None:
    module = make_module(scene.integration.repositories.get())
    scene.member(f"/modules/{module.address}/stacks/")


@state("impact")
def _impact_of_a_pull_request(scene: Scene) -> None:
    impact = _impact(scene, _module(scene))
    scene.member(impact.get_absolute_url())
    expect(scene.page.get_by_role("button", name="Plan the rest")).to_be_visible()


@state("impact, after a click and a merge")
def _impact_after_a_click(scene: Scene) -> None:
    impact = _impact(scene, _module(scene), stacks=2)
    plan_rest(impact)
    PullRequest.objects.update(status="merged")
    scene.admin(impact.get_absolute_url())
    expect(scene.page.get_by_text("The pull request is merged")).to_be_visible()


@state("stack behind a module's newest version")
def _stack_behind(scene: Scene) -> None:
    _module(scene)
    scene.admin("/stacks/network/")
    expect(scene.page.get_by_text("Modules behind")).to_be_visible()
