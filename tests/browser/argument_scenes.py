"""States of the page of a stack's arguments; importing this adds them."""

from playwright.sync_api import expect

from stacks.models import Backend, Stack
from tests.browser.scene import Scene, state

FILES = ["environments/prod.tfvars", f"../{'a-very-long-name-of-a-folder/' * 4}common.tfvars"]
COMMANDS = {"before_init": ["make generate"], "after_plan": ['conftest test "$STACKHOOK_PLAN"']}


def _stack(scene: Scene) -> Stack:
    stack = scene.stack()
    stack.backend, stack.workspace = Backend.OWN, "prod"
    stack.var_files, stack.commands = FILES, COMMANDS
    stack.plan_arguments = ["-refresh=false", "-parallelism=20"]
    stack.backend_config = ["key=prod.tfstate", "backends/prod.hcl"]
    stack.save()
    return stack


@state("arguments, for admins")
def _arguments_for_admins(scene: Scene) -> None:
    scene.admin(f"{_stack(scene).get_absolute_url()}arguments/")


@state("arguments, for members")
def _arguments_for_members(scene: Scene) -> None:
    scene.member(f"{_stack(scene).get_absolute_url()}arguments/")


@state("arguments, with errors")
def _arguments_with_errors(scene: Scene) -> None:
    scene.admin(f"{_stack(scene).get_absolute_url()}arguments/")
    scene.page.get_by_label("Variable files").fill("/etc/passwd\n../../../x.tfvars")
    scene.page.get_by_label("Arguments for plan").fill("-var=x -parallelism=0")
    scene.press("Save")
    expect(scene.page.get_by_text("“/etc/passwd” is not relative")).to_be_visible()


@state("stack, with arguments")
def _stack_with_arguments(scene: Scene) -> None:
    scene.member(_stack(scene).get_absolute_url())
