"""The pages about modules in their main states."""

from playwright.sync_api import expect

from stacks.models import ModuleSource, Reach
from tests.browser.scene import LONG_NAME, Scene, state
from vcs_integrations.models import Repository


def _shared(scene: Scene, name: str) -> Repository:
    return Repository.objects.create(
        integration=scene.integration,
        external_id=name,
        name=name,
        project_id="common",
        project_name="Common",
        search_text=f"common/{name}",
    )


@state("module access")
def _module_access(scene: Scene) -> None:
    stack = scene.stack()
    stack.reach = Reach.LISTED
    stack.save()
    stack.readable.add(_shared(scene, "modules"), _shared(scene, LONG_NAME))
    scene.admin(f"{stack.get_absolute_url()}modules/")


@state("module access, with errors")
def _module_access_with_errors(scene: Scene) -> None:
    scene.admin(f"{scene.stack().get_absolute_url()}modules/")
    scene.page.get_by_label("Further repositories").fill(f"Common/{LONG_NAME}")
    scene.press("Save")
    expect(scene.page.get_by_text("has no repository")).to_be_visible()


@state("module access, for a member")
def _module_access_for_a_member(scene: Scene) -> None:
    stack = scene.stack()
    stack.reach = Reach.LISTED
    stack.save()
    stack.readable.add(_shared(scene, LONG_NAME))
    scene.member(f"{stack.get_absolute_url()}modules/")


@state("run, with modules")
def _run_with_modules(scene: Scene) -> None:
    run = scene.busy_stack().runs.get(number=34)
    fetched = {"v1.4.0": "a" * 40, "": "b" * 40, "c" * 40: "c" * 40, "release/": ""}
    for ref, sha in fetched.items():
        name = LONG_NAME if ref == "release/" else f"module-{len(ref)}"
        ModuleSource.objects.create(run=run, repository=_shared(scene, name), ref=ref, sha=sha)
    scene.admin(run.get_absolute_url())
    expect(scene.page.get_by_role("heading", name="Modules")).to_be_visible()
