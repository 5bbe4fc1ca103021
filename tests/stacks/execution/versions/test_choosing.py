"""Which version a run is planned and applied with, with real Terraforms of two versions."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import User
from stacks.execution.isolation.sandbox import sandbox
from stacks.execution.output.hcl import required_versions
from stacks.execution.output.logs import as_text
from stacks.execution.versions import installed
from stacks.execution.versions.wanted import NoVersion, Wanted, find_command, wanted_by
from stacks.lifecycle.actions import Action, act
from stacks.models import Run, Stack, Tool
from stacks.rules.states import State
from stacks.rules.versions import read_version
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import (
    FILE,
    HTTP_BACKEND,
    LINK,
    committed,
    log_of,
    pushed,
    queued,
    work,
)
from tests.stacks.execution.versions.conftest import Put

CODE = HTTP_BACKEND + 'output "sum" {\n  value = 2\n}\n'


def required(constraint: str) -> str:
    return f'terraform {{\n  required_version = "{constraint}"\n}}\n'


def planned(
    stack: Stack, repository: Repository, files: Mapping[str, str | None] | None = None
) -> Run:
    """Push code and these files, plan it, and return the run."""
    return plan_of(pushed(stack, repository, {"main.tf": CODE, **(files or {})}))


def plan_of(run: Run) -> Run:
    """Plan a run, which no earlier one holds up."""
    Run.objects.filter(state=State.UNCONFIRMED).update(state=State.DISCARDED)
    (done,) = work()
    assert done == run
    return done


def used(run: Run) -> tuple[str, str]:
    assert run.state == State.UNCONFIRMED, run.failure + as_text(log_of(run))
    return run.tool_version, run.tool_version_from


def test_the_default_is_used_where_nobody_says_a_version(
    stack: Stack, repository: Repository, other: str, default: str
) -> None:
    run = planned(stack, repository)
    assert used(run) == (default, "the worker's default")
    assert run.tool_with_version == f"Terraform {default}"
    assert f"Using Terraform {default}, from the worker's default" in log_of(run)


@pytest.mark.parametrize("choice", ["{}", "~> {}", "> 1.11.99, < 2"])
def test_the_stacks_choice_beats_what_the_code_says(
    stack: Stack, repository: Repository, other: str, choice: str, default: str
) -> None:
    Stack.objects.update(tool_version=choice.format(other))
    run = planned(stack, repository, {".terraform-version": default})
    assert used(run) == (other, "the stack's settings")


def test_the_newest_version_that_meets_a_choice_is_used(
    stack: Stack, repository: Repository, put: Put, other: str, default: str
) -> None:
    put("0.14.0")
    put("99.0.0-beta1")
    put("latest")
    Stack.objects.update(tool_version=">= 0.14")
    assert used(planned(stack, repository))[0] == other
    Stack.objects.update(tool_version=f"< {other}")
    assert used(planned(stack, repository))[0] == default


@pytest.mark.parametrize(
    ("files", "origin"),
    [
        ({"infra/.terraform-version": "# ours\n{}\n", ".terraform-version": "9.9.9"}, 0),
        ({".terraform-version": "v{}"}, 0),
        ({".terraform-version": "~> {}", "infra/a.tf": required(">= 1.11")}, 0),
        ({"infra/versions.tf": required("~> {}")}, 1),
        ({"infra/a.tf": required("< 2"), "infra/b.tf": required(">= {}")}, 1),
        ({"infra/a.tf.json": '{"terraform": [{"required_version": "{}"}]}'}, 1),
    ],
)
def test_the_code_says_the_version(
    stack: Stack, repository: Repository, other: str, files: dict[str, str], origin: int
) -> None:
    Stack.objects.update(project_root="infra")
    written = {name: text.replace("{}", other) for name, text in files.items()}
    run = plan_of(pushed(stack, repository, {"infra/main.tf": CODE, **written}))
    assert used(run) == (other, [".terraform-version", "required_version"][origin])


def test_what_the_code_works_with_is_no_reason_for_another_version(
    stack: Stack, repository: Repository, other: str, default: str
) -> None:
    run = planned(stack, repository, {"versions.tf": required(">= 0.14")})
    assert used(run) == (default, "required_version")


def test_without_a_default_the_newest_one_is_used(
    stack: Stack, repository: Repository, put: Put, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("0.14.0")
    put("99.0.0-beta1")
    monkeypatch.setattr(installed, "binary", lambda tool: None)
    assert used(planned(stack, repository)) == (other, "the worker's default")


def test_opentofu_has_a_file_of_its_own(
    stack: Stack, repository: Repository, put: Put, settings: Settings
) -> None:
    put("1.10.0", program=settings.TERRAFORM_BIN, tool="tofu")
    Stack.objects.update(tool="opentofu")
    files: dict[str, str | None] = {".opentofu-version": "1.10.0", ".terraform-version": "9.9.9"}
    run = planned(stack, repository, files)  # what stands in for OpenTofu here has another version
    assert "/tofu/1.10.0/tofu is OpenTofu" in run.failure
    assert "its folder is named 1.10.0. Ask the operator" in run.failure


@pytest.mark.parametrize("said", ["latest", "1.11", "", "https://example.com", "../../bin"])
def test_a_file_that_says_no_version_fails_the_run(
    stack: Stack, repository: Repository, said: str
) -> None:
    run = planned(stack, repository, {".terraform-version": said + "\n"})
    assert run.failure == (
        f".terraform-version says “{said}”, which is not a version. Write a whole version like "
        f"1.11.4 there, or a constraint like ~> 1.11, or name one under Configure backend."
    )


def test_a_version_that_is_not_there_is_named_with_those_that_are(
    stack: Stack, repository: Repository, put: Put, default: str
) -> None:
    put("0.14.0")
    run = planned(stack, repository, {".terraform-version": "9.9.9"})
    assert run.failure == (
        f"Terraform 9.9.9 (from .terraform-version) is not on the worker's machine, which has "
        f"{default}, 0.14.0. Ask the operator to install it in TOOLS_FOLDER, or name another "
        f"version."
    )


def test_where_the_choice_does_not_meet_the_code_both_are_named(
    stack: Stack, repository: Repository, default: str
) -> None:
    Stack.objects.update(tool_version=default)
    run = planned(stack, repository, {"versions.tf": required(">= 99")})
    assert run.failure.startswith(
        f"The code does not work with Terraform {default} (from the stack's settings): "
        f"required_version asks for another one."
    )
    assert ">= 99" in run.errors


def test_an_apply_uses_the_version_of_its_plan(
    stack: Stack, repository: Repository, bob: User, other: str, default: str
) -> None:
    Stack.objects.update(tool_version=other)
    run = planned(stack, repository)
    assert used(run)[0] == other
    Stack.objects.update(tool_version="")
    act(run, Action.CONFIRM, bob, "")
    (applied,) = work()
    assert applied.state == State.FINISHED, as_text(log_of(run))
    assert applied.tool_version == other and f"Using Terraform {default}" not in log_of(run)


def test_an_apply_fails_where_the_version_of_its_plan_is_gone(
    stack: Stack, repository: Repository, bob: User, other: str, tools_folder: Path
) -> None:
    Stack.objects.update(tool_version=other)
    run = planned(stack, repository)
    assert used(run)[0] == other
    shutil.rmtree(tools_folder / "terraform" / other)
    act(run, Action.CONFIRM, bob, "")
    (applied,) = work()
    assert applied.state == State.FAILED
    assert applied.failure == (
        f"It was planned with Terraform {other}, which this worker doesn't have any more, so "
        f"nothing was applied. Retry it to plan again, or ask the operator to install that version."
    )


def test_a_program_that_is_replaced_is_asked_again(
    put: Put, settings: Settings, other: str, default: str, tools_folder: Path
) -> None:
    program = installed.program_in_folder(Tool.TERRAFORM, read_version(other))
    assert program
    installed.check_version(program)
    program.path.unlink()
    program.path.symlink_to(settings.TERRAFORM_BIN)
    with pytest.raises(NoVersion) as caught:
        installed.check_version(program)
    assert str(caught.value) == (
        f"{program.path} is Terraform {default}, and its folder is named {other}. Ask the operator "
        f"to correct the folder."
    )


def test_a_program_that_does_not_say_its_version_is_named(put: Put) -> None:
    path = put("0.14.0", program="/bin/false")
    for _ in range(2):  # a failure is not kept
        with pytest.raises(NoVersion, match="does not say its version"):
            installed.version_of(path)


def test_a_link_in_place_of_the_file_reads_nothing_of_the_worker(
    stack: Stack, repository: Repository, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("9.9.9")
    for target in (str(secret), "/proc/1/environ", "/dev/zero", "."):
        entries = {"main.tf": (FILE, CODE), ".terraform-version": (LINK, target)}
        run = plan_of(queued(stack, committed(repository, entries)))
        assert "9.9.9" not in run.failure + as_text(log_of(run))
        assert run.tool_version_from in {"the worker's default", ""}


def test_files_that_are_too_large_say_nothing(stack: Stack, repository: Repository) -> None:
    large = "#" * 300_000 + f"\n{required('9.9.9')}"
    many = {f"a{number}.tf": "#" * 200_000 + "\n# required_version" for number in range(25)}
    run = planned(stack, repository, {".terraform-version": "#" * 300_000} | many)
    assert used(run)[1] == "the worker's default"
    run = planned(stack, repository, {"large.tf": large})  # Terraform itself reads it
    assert run.failure.startswith("The code does not work with Terraform")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (required("~> 1.5"), ["~> 1.5"]),
        ('terraform { required_version = ">= 1" }', [">= 1"]),
        ('terraform {\n  required_providers {\n    a = { required_version = "1" }\n  }\n}', []),
        ('locals {\n  required_version = "1"\n}', []),
        ('resource "a" "terraform" {\n  required_version = "1"\n}', []),
        ('# terraform {\n# required_version = "1"\n# }', []),
        ('a = <<E\nterraform {\nrequired_version = "1"\n}\nE\n' + required("2"), ["2"]),
        ("terraform {\n  required_version = var.a\n}\n" + required("3"), ["3"]),
        ("terraform {" * 3 + 'required_version = "1"', []),
        ("}" * 9 + required("4"), ["4"]),
        ('terraform {\n  backend "a" {}\n  required_version /* x */ = "\\u0031"\n}', []),
        ('terraform {\n  backend "a" {}\n  required_version = "\\u0031"\n}', ["1"]),
    ],
)
def test_required_version_is_found_in_code(code: str, found: list[str]) -> None:
    assert required_versions(code) == found


def test_a_text_of_brackets_is_read_in_time_proportional_to_its_length() -> None:
    assert required_versions("{" * 200_000 + "}" * 200_000) == []


def test_nothing_is_read_where_the_stack_says_the_version(stack: Stack) -> None:
    stack.tool_version = "~> 1.5"
    with sandbox() as one:
        assert find_command(stack, one, "code") == ["true"]
    wanted = wanted_by(stack, "code", {})
    assert isinstance(wanted, Wanted) and str(wanted) == "~> 1.5 (from the stack's settings)"
