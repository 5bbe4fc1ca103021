"""Runs with files of variables, options and commands, with real Terraform in the sandbox."""

import pytest

from accounts.models import User
from stacks.execution.output.logs import as_text
from stacks.lifecycle.actions import Action, act
from stacks.models import Run, Runs, Stack, StackVariable
from stacks.rules.states import Kind, Operation, Origin, State
from tests.emulator.model import Repository
from tests.postgresql import needs_postgresql
from tests.stacks.execution.conftest import HTTP_BACKEND, log_of, outputs_of, pushed, work

VARIABLES = """
variable "size" {}
variable "place" {}
output "all" { value = "${var.size} ${var.place}" }
"""
EPHEMERAL = """
variable "password" { ephemeral = true }
resource "terraform_data" "one" {
  provisioner "local-exec" { command = "true" }
}
"""


def applied(run: Run, bob: User) -> Run:
    act(run, Action.CONFIRM, bob, "")
    (done,) = work()
    return done


def test_files_of_variables_and_options_are_passed_and_an_apply_matches_its_plan(
    stack: Stack, repository: Repository, bob: User
) -> None:
    stack.project_root = "root"
    stack.var_files = ["envs/a b.tfvars", "../top.tfvars"]
    stack.plan_arguments = ["-parallelism=3", "-compact-warnings"]
    stack.apply_arguments = ["-parallelism=2", "-lock-timeout=5s"]
    stack.save()
    StackVariable.objects.create(stack=stack, name="TF_VAR_place", value="nowhere")
    files: dict[str, str | None] = {
        "root/main.tf": HTTP_BACKEND + VARIABLES + EPHEMERAL,
        "root/envs/a b.tfvars": 'size = "5"\nplace = "x"\nundeclared = 1\n',
        "top.tfvars": 'place = "here"\npassword = "geheim"\n',
    }
    run = pushed(stack, repository, files)
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED, as_text(log_of(run))
    assert waiting.arguments == {
        "var_files": stack.var_files,
        "plan_arguments": stack.plan_arguments,
        "apply_arguments": stack.apply_arguments,
    }
    assert '"5 here"' in outputs_of(waiting).values()
    assert waiting.warnings == ["TF_VAR_place has no effect: ../top.tfvars sets place."]
    # What is changed meanwhile counts from the next plan.
    Stack.objects.update(var_files=["gone.tfvars"], apply_arguments=["-nonsense"])
    done = applied(waiting, bob)
    assert done.state == State.FINISHED, as_text(log_of(run))
    pushed(stack, repository, {"root/more.tf": "# more\n"})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert "The commit has no file “gone.tfvars”, seen from the project root." in failed.failure


@pytest.mark.parametrize("path", ["../x.tfvars", "/etc/passwd"])
def test_a_file_outside_of_the_repository_is_refused_even_where_it_was_stored(
    stack: Stack, repository: Repository, path: str
) -> None:
    Stack.objects.update(var_files=[path])
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert f"“{path}”" in failed.failure and "Change the arguments of the stack" in failed.failure


def test_commands_run_in_the_project_root_around_each_step_and_find_the_plan(
    stack: Stack, repository: Repository, bob: User
) -> None:
    stack.project_root = "root"
    stack.commands = {
        "before_init": ["printf 'output \"made\" {\\n value = 1\\n}\\n' > made.tf"],
        "after_plan": ['terraform show -no-color "$STACKHOOK_PLAN" | sed s/made/shown/'],
        "before_apply": ['test -f "$STACKHOOK_PLAN" && echo going on'],
    }
    stack.save()
    config = """
commands:
  before_init: test -f made.tf && echo second
  after_init:
    - basename "$PWD"
  before_plan: |
    if true; then
      echo "two lines"
    fi
  after_apply:
    - terraform output made | sed s/1/one/
"""
    files: dict[str, str | None] = {
        "root/main.tf": HTTP_BACKEND,
        "root/.stackhook/config.yml": config,
        ".stackhook/config.yml": "commands: {before_init: not this one}",
    }
    run = pushed(stack, repository, files)
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED, as_text(log_of(run))
    log = as_text(log_of(run))
    assert "Before init: test -f made.tf && echo second\nsecond\n" in log
    assert 'After init: basename "$PWD"\nroot\n' in log
    assert 'echo "two lines"\nfi\ntwo lines\n' in log
    assert "+ shown = 1" in log
    done = applied(waiting, bob)
    assert done.state == State.FINISHED, as_text(log_of(run))
    log = as_text(log_of(run))
    assert "going on" in log and log.rstrip().endswith("one")
    assert done.warnings == []


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("before_init", Kind.TRACKED),
        ("after_init", Kind.PROPOSED),
        ("before_plan", Kind.PROPOSED),
        ("after_plan", Kind.TRACKED),
    ],
)
def test_a_command_that_fails_fails_the_run_by_its_name(
    stack: Stack, repository: Repository, moment: str, kind: Kind
) -> None:
    config = f"commands:\n  {moment}: [echo no such luck; exit 3, echo never]\n"
    files: dict[str, str | None] = {"main.tf": HTTP_BACKEND, ".stackhook/config.yml": config}
    run = pushed(stack, repository, files, kind)
    (failed,) = work()
    assert failed.state == State.FAILED
    name = moment.replace("_", " ")
    assert failed.failure == (
        f"The command {name} ended with exit code 3: echo no such luck; exit 3"
    )
    assert failed.errors == "no such luck"
    assert "never" not in as_text(log_of(run))


def test_a_command_that_fails_before_apply_applies_nothing_and_one_after_it_warns(
    stack: Stack, repository: Repository, bob: User
) -> None:
    config = "commands:\n  %s: exit 4\n"
    code = HTTP_BACKEND + 'output "a" {\n  value = 1\n}\n'
    run = pushed(
        stack, repository, {"main.tf": code, ".stackhook/config.yml": config % "before_apply"}
    )
    failed = applied(work()[0], bob)
    assert failed.state == State.FAILED
    assert failed.failure == "The command before apply ended with exit code 4: exit 4"
    assert "Apply complete" not in as_text(log_of(run))
    pushed(stack, repository, {".stackhook/config.yml": config % "after_apply"})
    done = applied(work()[0], bob)
    assert done.state == State.FINISHED
    assert done.warnings == [
        "Everything was applied, but a command failed afterwards. The command after apply ended "
        "with exit code 4: exit 4"
    ]


def test_a_file_of_commands_that_is_wrong_fails_the_run(
    stack: Stack, repository: Repository
) -> None:
    pushed(stack, repository, {"main.tf": HTTP_BACKEND, ".stackhook/config.yml": "hooks: {}\n"})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert failed.failure == (
        ".stackhook/config.yml has “hooks” in the file, which Stackhook doesn't know. Known: "
        "commands."
    )


def test_a_run_that_only_refreshes_refreshes_in_any_case(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(plan_arguments=["-refresh=false", "-parallelism=3"])
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    Run.objects.update(origin=Origin.PERSON, operation=Operation.REFRESH_ONLY)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))


def test_a_command_after_plan_changes_no_plan(
    stack: Stack, repository: Repository, bob: User
) -> None:
    output = 'output "a" {\n  value = "%s"\n}\n'
    other = output % "swapped"
    config = f"""
commands:
  after_plan:
    - |
      cat > main.tf <<'EOF'
{"".join(f"      {line}" for line in (HTTP_BACKEND + other).splitlines(keepends=True))}
      EOF
      terraform plan -lock=false -out=../plan > /dev/null
      ! cp ../plan "$STACKHOOK_PLAN"
"""
    files: dict[str, str | None] = {
        "main.tf": HTTP_BACKEND + output % "shown",
        ".stackhook/config.yml": config,
    }
    run = pushed(stack, repository, files)
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED, as_text(log_of(run))
    assert '"shown"' in outputs_of(waiting).values()
    done = applied(waiting, bob)
    assert done.state == State.FINISHED, as_text(log_of(run))
    log = as_text(log_of(run))
    assert 'a = "shown"' in log and 'a = "swapped"' not in log


@pytest.mark.parametrize("moment", ["after_init", "before_plan"])
def test_a_command_between_init_and_plan_leads_the_state_nowhere_else(
    moment: str, kept: Stack, repository: Repository
) -> None:
    config = f"""
commands:
  {moment}: |
    rm 00_stackhook_backend.tf
    printf 'terraform {{\\n  backend "local" {{}}\\n}}\\n' > backend.tf
    terraform init -reconfigure -input=false
"""
    run = pushed(kept, repository, {"main.tf": "", ".stackhook/config.yml": config})
    (failed,) = work()
    assert failed.state == State.FAILED, as_text(log_of(run))
    assert "names a backend, and Stackhook is to keep the state" in failed.failure


def test_commands_of_proposed_code_find_no_secret_and_write_no_state(
    kept: Stack, repository: Repository
) -> None:
    name, value = "ARM_CLIENT_SECRET", "hunter2-hunter2"
    StackVariable.objects.create(
        stack=kept, name=name, value=value, is_secret=True, runs=Runs.TRACKED
    )
    config = """
commands:
  before_init: '! env | grep ARM_'
  after_init: |
    echo '{"version": 4, "serial": 9, "lineage": "x", "outputs": {}, "resources": []}' > stolen
    ! terraform state push -force -lock=false stolen
"""
    files: dict[str, str | None] = {"main.tf": "", ".stackhook/config.yml": config}
    run = pushed(kept, repository, files, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))
    assert "HTTP error: 403" in as_text(log_of(run))
    assert not kept.state_versions.exists()


@needs_postgresql
def test_a_tracked_run_makes_its_workspace_in_a_backend_that_is_named_in_part(
    stack: Stack, repository: Repository, bob: User, postgres_backend: str
) -> None:
    stack.workspace, stack.backend_config = "prod", ["schema_name=teams", "infra.hcl"]
    stack.save()
    StackVariable.objects.create(stack=stack, name="PG_CONN_STR", value=postgres_backend)
    code = 'terraform {\n  backend "pg" {}\n}\noutput "in" {\n  value = terraform.workspace\n}\n'
    files: dict[str, str | None] = {"main.tf": code, "infra.hcl": "skip_table_creation = false\n"}
    proposed = pushed(stack, repository, files, Kind.PROPOSED)
    (failed,) = work()
    assert failed.failure == (
        "The workspace “prod” could not be selected. If there is none yet, a tracked run makes it."
    ), as_text(log_of(proposed))
    assert "doesn't exist" in failed.errors
    run = pushed(stack, repository, files)
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED, as_text(log_of(run))
    done = applied(waiting, bob)
    assert done.state == State.FINISHED, as_text(log_of(run))
    assert 'in = "prod"' in as_text(log_of(run))
    pushed(stack, repository, files | {"more.tf": "# more\n"}, Kind.PROPOSED)
    (planned,) = work()
    assert (planned.state, planned.changed_outputs) == (State.FINISHED, 0)


def test_a_stack_whose_state_stackhook_keeps_runs_in_no_workspace(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(workspace="prod")
    pushed(kept, repository, {"main.tf": ""})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert "terraform.workspace would be “default”" in failed.failure
