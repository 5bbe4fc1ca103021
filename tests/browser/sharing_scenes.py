"""The pages of shared environments, and of outputs between stacks, in their main states."""

from playwright.sync_api import expect

from stacks.dependencies.graph import depend
from stacks.environment.attaching import attach, set_labels
from stacks.models import (
    Dependency,
    DependencyRun,
    Runs,
    SharedEnvironment,
    SharedVariable,
    Stack,
    StackVariable,
    StateGrant,
)
from tests.browser.scene import LONG_NAME, Scene, state
from tests.builders import make_run, make_stack

SHARED = "/settings/environments/"


def _environment(scene: Scene, stack: Stack) -> SharedEnvironment:
    """One that is attached by hand, with something of each kind, and one by label."""
    stack.labels = ["prod"]
    stack.save()
    by_label = SharedEnvironment.objects.create(name=f"All {LONG_NAME}", priority=900)
    set_labels(by_label, ["prod", "a-label-that-nothing-has"], [stack])
    made = SharedEnvironment.objects.create(
        name="Azure", description="The subscription of production.", priority=10
    )
    attach(made, stack)
    for environment, name, value, more in (
        (by_label, "ARM_TENANT_ID", "of all", {}),
        (made, "ARM_TENANT_ID", "0b1c7f0b-7d4c-4c42-8a7b-7d2a3b0d9a10", {}),
        (made, "ARM_CLIENT_SECRET", "a-secret", {"is_secret": True, "runs": Runs.TRACKED}),
        (made, "ARM_READER_SECRET", "a-secret", {"is_secret": True, "runs": Runs.PROPOSED}),
        (made, "TF_VAR_region", "westeurope", {"runs": Runs.TRACKED}),
        (made, "kube/config", f"server: {LONG_NAME}\n" * 3, {"is_file": True}),
        (made, "client.pfx", "AAEC", {"is_file": True, "is_base64": True}),
    ):
        SharedVariable.objects.create(environment=environment, name=name, value=value, **more)
    StackVariable.objects.create(stack=stack, name="TF_VAR_region", value="northeurope")
    return made


@state("environment, with shared ones")
def _environment_with_shared(scene: Scene) -> None:
    stack = scene.stack()
    _environment(scene, stack)
    scene.admin(f"{stack.get_absolute_url()}environment/")


@state("add file")
def _add_file(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}environment/add-file/")
    scene.page.get_by_label("Path").fill("../x")
    scene.press("Add file")
    expect(scene.page.get_by_text("Use a path below the folder")).to_be_visible()


@state("attach environment")
def _attach_environment(scene: Scene) -> None:
    stack = scene.stack()
    made = _environment(scene, stack)
    made.attachments.all().delete()
    StackVariable.objects.create(stack=stack, name="VAULT_ADDR", value="https://vault")
    scene.admin(f"{stack.get_absolute_url()}environment/attach/")
    scene.page.get_by_label("Shared environment").select_option("Azure")
    scene.press("Attach")
    expect(scene.page.get_by_text("Nothing was changed")).to_be_visible()


@state("detach environment")
def _detach_environment(scene: Scene) -> None:
    stack = scene.stack()
    made = _environment(scene, stack)
    scene.admin(f"{stack.get_absolute_url()}environment/detach/{made.pk}/")


@state("shared environments, empty")
def _environments_empty(scene: Scene) -> None:
    scene.admin(SHARED)


@state("shared environments")
def _environments(scene: Scene) -> None:
    _environment(scene, scene.stack())
    scene.member(SHARED)


@state("shared environment")
def _shared_environment(scene: Scene) -> None:
    stack = scene.stack()
    made = _environment(scene, stack)
    other = make_stack(stack.repository, LONG_NAME, labels=["test"])
    set_labels(made, ["prod"])
    made.labels = ["prod", "test"]
    made.save()
    assert not other.attachments.exists()
    scene.admin(made.get_absolute_url())


@state("shared environment, new")
def _shared_environment_new(scene: Scene) -> None:
    scene.admin(f"{SHARED}new/")
    scene.press("Create")


@state("labels of a shared environment")
def _labels(scene: Scene) -> None:
    stack = scene.stack()
    made = _environment(scene, stack)
    make_stack(stack.repository, LONG_NAME, labels=["prod"], project_root="infra")
    scene.admin(f"{made.get_absolute_url()}labels/")
    scene.page.get_by_label("Labels").fill("prod")
    scene.press("Save")
    expect(scene.page.get_by_text("Nothing was changed")).to_be_visible()


@state("delete shared environment")
def _delete(scene: Scene) -> None:
    made = _environment(scene, scene.stack())
    scene.admin(f"{made.get_absolute_url()}delete/")


@state("variable of a shared environment, new")
def _shared_variable_new(scene: Scene) -> None:
    made = _environment(scene, scene.stack())
    scene.admin(f"{made.get_absolute_url()}add-variable/")
    scene.press("Add variable")


@state("file of a shared environment")
def _shared_file(scene: Scene) -> None:
    made = _environment(scene, scene.stack())
    variable = made.variables.get(name="kube/config")
    scene.admin(f"{made.get_absolute_url()}variables/{variable.pk}/")


@state("variable of a shared environment, removed")
def _shared_variable_removed(scene: Scene) -> None:
    made = _environment(scene, scene.stack())
    variable = made.variables.get(name="ARM_CLIENT_SECRET")
    scene.admin(f"{made.get_absolute_url()}variables/{variable.pk}/remove/")


def _connected(scene: Scene) -> Stack:
    """A stack that reads and runs after another, and is read by a third."""
    stack = scene.stack()
    other = make_stack(stack.repository, "Platform")
    third = make_stack(stack.repository, LONG_NAME)
    StateGrant.objects.create(stack=other, reader=stack)
    StateGrant.objects.create(stack=stack, reader=third, is_for_proposed=True)
    dependency = depend(stack, other, ["id", "subnet_ids"])
    run = make_run(stack)
    DependencyRun.objects.create(dependency=dependency, version=3, outputs=["id"], run=run)
    depend(third, stack, [])
    Dependency.objects.filter(pk=dependency.pk).update(problem="The stack is detached.")
    return stack


@state("dependencies, empty")
def _dependencies_empty(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}dependencies/")


@state("dependencies")
def _dependencies(scene: Scene) -> None:
    scene.admin(f"{_connected(scene).get_absolute_url()}dependencies/")


@state("dependency, in a circle")
def _dependency_in_a_circle(scene: Scene) -> None:
    stack = _connected(scene)
    scene.member(f"{stack.get_absolute_url()}dependencies/add/")
    scene.page.get_by_label("Run after").select_option(LONG_NAME)
    scene.press("Add dependency")
    expect(scene.page.get_by_text("they would run in a circle")).to_be_visible()


@state("reader of outputs, new")
def _reader(scene: Scene) -> None:
    stack = scene.stack()
    make_stack(stack.repository, "Platform")
    scene.admin(f"{stack.get_absolute_url()}dependencies/readers/add/")
    scene.press("Add stack")
    expect(scene.page.get_by_text("Nothing was changed")).to_be_visible()
