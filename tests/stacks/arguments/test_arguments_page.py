"""The page of a stack's arguments: what is accepted, what is refused and why, and for whom."""

from typing import Any

import pytest
from django.test import Client

from accounts.audit.records import entries
from stacks.arguments.arguments import MOMENTS
from stacks.models import Backend, Stack, StackVariable
from stacks.rules.triggers import is_affected

FIELDS = ("var_files", "workspace", "plan_arguments", "apply_arguments", "backend_config", *MOMENTS)


def send(client: Client, stack: Stack, **typed: str) -> Any:
    return client.post(f"/stacks/{stack.slug}/arguments/", dict.fromkeys(FIELDS, "") | typed)


def errors(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(str(one) for found in response.context["form"].errors.values() for one in found)


@pytest.fixture
def own(stack: Stack) -> Stack:
    """A stack whose code names its backend."""
    Stack.objects.update(backend=Backend.OWN, project_root="infra/network")
    return Stack.objects.get()


def test_an_admin_sets_everything_and_the_pages_show_it(admin: Client, own: Stack) -> None:
    typed = {
        "var_files": "prod.tfvars\r\n\r\n ../common.tfvars ",
        "workspace": "prod",
        "plan_arguments": "-refresh=false  -parallelism=20\r\n-lock-timeout=2m30s",
        "apply_arguments": "-parallelism=5 -compact-warnings",
        "backend_config": "key=prod.tfstate\r\nbackends/prod.hcl",
        "before_init": "make generate\r\nmake check",
        "after_plan": 'conftest test "$STACKHOOK_PLAN"',
    }
    assert send(admin, own, **typed).status_code == 302
    stack = Stack.objects.get()
    assert stack.var_files == ["prod.tfvars", "../common.tfvars"]
    assert stack.workspace == "prod"
    assert stack.plan_arguments == ["-refresh=false", "-parallelism=20", "-lock-timeout=2m30s"]
    assert stack.apply_arguments == ["-parallelism=5", "-compact-warnings"]
    assert stack.backend_config == ["key=prod.tfstate", "backends/prod.hcl"]
    assert stack.commands == {
        "before_init": ["make generate", "make check"],
        "after_plan": ['conftest test "$STACKHOOK_PLAN"'],
    }
    [entry] = entries()[:1]
    assert entry.note == (
        "Arguments: variable files, workspace, arguments for plan, arguments for apply, backend "
        "configuration, commands before init, commands after plan"
    )
    # As a database may keep them that orders the keys of JSON.
    Stack.objects.update(commands=dict(sorted(stack.commands.items())))
    shown = admin.get(stack.get_absolute_url()).content.decode()
    assert "Variable file <code>../common.tfvars" in shown and "before_init, after_plan" in shown
    again = admin.get(f"/stacks/{stack.slug}/arguments/").context["form"]
    assert again["before_init"].value() == "make generate\nmake check"


@pytest.mark.parametrize(
    ("field", "typed", "reason"),
    [
        ("var_files", "/etc/passwd", "“/etc/passwd” is not relative"),
        ("var_files", "~/.aws/credentials", "is not relative"),
        ("var_files", "../../../x.tfvars", "leads out of the repository"),
        ("var_files", "a/../../../../b", "leads out of the repository"),
        ("var_files", "a\\b.tfvars", "is no path of a file"),
        ("var_files", "folder/", "is no path of a file"),
        ("var_files", "a\x1b.tfvars", "is no path of a file"),
        ("backend_config", "../../../x.hcl", "leads out of the repository"),
        ("backend_config", "access_key=abc", "access_key holds a secret"),
        ("backend_config", " password = abc", "password holds a secret"),
        ("backend_config", "address=https://me:secret@example.com/", "address holds a secret"),
        ("backend_config", "=x", "is not understood"),
        ("workspace", "-or-create", "A workspace has a name of letters"),
        ("workspace", "a/b", "A workspace has a name of letters"),
        ("workspace", "..", "A workspace has a name of letters"),
        ("plan_arguments", "-var x=1", "begins with TF_VAR_ under Environment"),
        ("plan_arguments", "-var-file=x", "Name the file under Variable files"),
        ("plan_arguments", "--out=x", "“--out=x” can't be passed"),
        ("plan_arguments", "-out=x", "Stackhook keeps each plan itself"),
        ("plan_arguments", "-lock=false", "Stackhook locks the state"),
        ("plan_arguments", "-destroy", "Trigger a run with it on the stack"),
        ("plan_arguments", "x", "“x” can't be passed"),
        ("plan_arguments", "-refresh=true", "Write it like -refresh=false"),
        ("plan_arguments", "-refresh", "Write it like -refresh=false"),
        ("plan_arguments", "-parallelism=0", "with a number from 1 to 256"),
        ("plan_arguments", "-parallelism=٣", "with a number from 1 to 256"),
        ("plan_arguments", "-lock-timeout=5", "Write it like -lock-timeout=5m"),
        ("plan_arguments", "-compact-warnings=x", "Write it like -compact-warnings"),
        ("apply_arguments", "-refresh=false", "Enter -refresh=false for plans only"),
        ("apply_arguments", "-auto-approve", "Switch on Autodeploy"),
        ("before_plan", "x\r\n" * 21, "at most 20 lines"),
    ],
)
def test_what_is_refused_says_what_to_do_and_stores_nothing(
    admin: Client, own: Stack, field: str, typed: str, reason: str
) -> None:
    response = send(admin, own, **{"apply_arguments": "-parallelism=2"} | {field: typed})
    assert reason in errors(response)
    assert response.context["form"][field].value().strip() == typed.strip()
    assert Stack.objects.get().apply_arguments == []


def test_state_that_stackhook_keeps_has_no_workspaces_and_no_configuration(
    admin: Client, stack: Stack
) -> None:
    said = errors(send(admin, stack, workspace="prod", backend_config="key=x"))
    assert "which has no workspaces: terraform.workspace would be “default”" in said
    assert "there is nothing to configure" in said


def test_a_member_changes_what_sends_nothing_elsewhere(member: Client, own: Stack) -> None:
    Stack.objects.update(backend_config=["key=a"], commands={"before_init": ["make"]})
    forged = {"backend_config": "address=https://evil.example/", "before_init": "curl evil"}
    send(member, own, var_files="a.tfvars", workspace="prod", after_apply="curl evil", **forged)
    stack = Stack.objects.get()
    assert (stack.var_files, stack.workspace) == (["a.tfvars"], "prod")
    assert stack.backend_config == ["key=a"]
    assert stack.commands == {"before_init": ["make"]}
    shown = member.get(f"/stacks/{stack.slug}/arguments/").content.decode()
    assert "only an admin may change these" in shown


def test_a_member_chooses_no_workspace_of_a_stack_that_holds_secrets(
    member: Client, own: Stack
) -> None:
    StackVariable.objects.create(stack=own, name="ARM_X", value="hunter2", is_secret=True)
    send(member, own, var_files="a.tfvars", workspace="prod")
    stack = Stack.objects.get()
    assert (stack.var_files, stack.workspace) == (["a.tfvars"], "")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("envs/prod.tfvars", True),
        ("envs/", True),  # a submodule
        ("envs/test.tfvars", False),
        ("backends/prod.hcl", True),
        ("key", False),
        ("infra/network/main.tf", True),
    ],
)
def test_a_change_of_a_file_that_is_named_concerns_the_stack(path: str, expected: bool) -> None:
    stack = Stack(
        project_root="infra/network",
        var_files=["../../envs/prod.tfvars"],
        backend_config=["key=prod", "../../backends/./prod.hcl"],
    )
    assert is_affected(stack, [path]) is expected
