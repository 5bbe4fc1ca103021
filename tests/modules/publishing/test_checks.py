"""Checks with the real Terraform: what is published, what is refused and why, what is skipped."""

import io
import tarfile

import pytest
from pytest_django import Settings

from modules.models import Check, CheckState, Module, ModuleVersion, VersionState
from tests.emulator.model import Repository
from tests.modules.publishing.conftest import (
    GOOD,
    outcomes,
    sentence,
    state,
    tagged,
    waiting,
    work,
)

PLANS = """
run "plans" {
  command = plan
  variables {
    name = "a"
  }
  assert {
    condition     = output.name == "a"
    error_message = "It is another name."
  }
}
"""
APPLIES = PLANS.replace("  command = plan\n", "")


def archive_of(version: ModuleVersion) -> dict[str, bytes]:
    assert version.archive
    content = b"".join(bytes(one.content) for one in version.archive.chunks.all())
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        found = {one.name: opened.extractfile(one) for one in opened.getmembers()}
        return {name: file.read() for name, file in found.items() if file}


def test_a_version_that_passes_is_published(module: Module, repository: Repository) -> None:
    files = {"main.tf": GOOD, "tests/a.tftest.hcl": PLANS, "README.md": "# Network\n"}
    version = tagged(module, repository, files)
    (check,) = work()
    assert outcomes(check) == {
        "Archive": "passed",
        "Syntax": "passed",
        "Initialization": "passed",
        "Validation": "passed",
        "Tests": "passed",
    }
    assert check.state == CheckState.PASSED, check.log
    assert state(version) == VersionState.PUBLISHED
    assert archive_of(version) == {name: text.encode() for name, text in files.items()}
    assert version.published_at
    assert [one["name"] for one in version.documentation["inputs"]] == ["name"]
    assert "Network" in version.readme
    assert check.due_at is None
    assert "Success! 1 passed" in check.log


def test_only_the_folder_of_the_module_is_checked_and_published(
    module: Module, repository: Repository
) -> None:
    module.folder = "modules/vpc"
    module.save()
    version = tagged(module, repository, {"modules/vpc/main.tf": GOOD, "other.tf": "broken {"})
    work()
    assert state(version) == VersionState.PUBLISHED
    assert list(archive_of(version)) == ["main.tf"]
    outside = 'module "shared" {\n  source = "../shared"\n}\n'
    broken = {"modules/vpc/main.tf": outside, "modules/shared/main.tf": "", "other.tf": None}
    version = tagged(module, repository, broken, "1.1.0")
    (check,) = work()
    assert state(version) == VersionState.REFUSED
    assert outcomes(check)["Initialization"] == "failed"


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ('resource "a {', "Syntax", "Unterminated string literal"),
        ('output "a" {\n  value = var.b\n}\n', "Validation", "undeclared input variable"),
        ('module "a" {\n  source = "./nowhere"\n}\n', "Initialization", "Unreadable module"),
        ('terraform {\n  required_version = "> 99"\n}\n', "Version", "is not on the worker's"),
    ],
)
def test_what_is_wrong_with_the_code_refuses_the_version(
    module: Module, repository: Repository, code: str, name: str, said: str
) -> None:
    version = tagged(module, repository, {"main.tf": code})
    (check,) = work()
    assert check.state == CheckState.FAILED
    assert outcomes(check)[name] == "failed"
    assert said in sentence(check, name)
    assert check.failure.startswith(f"{name}: ")
    assert state(version) == VersionState.REFUSED
    assert version.archive is None


def test_a_folder_without_code_is_refused(module: Module, repository: Repository) -> None:
    tagged(module, repository, {"main.tf": None, "README.md": "Nothing"})
    (check,) = work()
    assert "no file like main.tf" in sentence(check, "Syntax")
    module.folder = "elsewhere"
    module.save()
    tagged(module, repository, {"README.md": "More"}, "1.1.0")
    (check,) = work()
    assert "has no folder “elsewhere”" in sentence(check, "Archive")


def test_a_provider_that_is_not_reached_is_skipped_with_the_reason(
    module: Module, repository: Repository
) -> None:
    """Nobody answers at port 1 of this machine."""
    code = (
        'terraform {\n  required_providers {\n    a = {\n      source = "127.0.0.1:1/b/a"\n'
        '    }\n  }\n}\nprovider "a" {}\n'
    )
    version = tagged(module, repository, {"main.tf": code, "tests/a.tftest.hcl": PLANS})
    (check,) = work()
    assert outcomes(check) == {
        "Archive": "passed",
        "Syntax": "passed",
        "Initialization": "skipped",
        "Validation": "skipped",
        "Tests": "skipped",
    }, check.log
    assert "127.0.0.1 was not reached" in sentence(check, "Initialization")
    assert state(version) == VersionState.PUBLISHED


def test_a_module_that_others_give_providers_is_published(
    module: Module, repository: Repository
) -> None:
    code = """
terraform {
  required_providers {
    terraform = {
      source                = "terraform.io/builtin/terraform"
      configuration_aliases = [terraform.east]
    }
  }
}
resource "terraform_data" "a" {
  provider = terraform.east
}
"""
    version = tagged(module, repository, {"main.tf": code})
    (check,) = work()
    assert outcomes(check)["Validation"] == "skipped"
    assert state(version) == VersionState.PUBLISHED


def test_a_test_that_fails_refuses_the_version(module: Module, repository: Repository) -> None:
    wrong = PLANS.replace('== "a"', '== "b"')
    version = tagged(module, repository, {"main.tf": GOOD, "tests/a.tftest.hcl": wrong})
    (check,) = work()
    assert outcomes(check)["Tests"] == "failed"
    assert "Test assertion failed" in sentence(check, "Tests")
    assert "It is another name." in sentence(check, "Tests")
    assert state(version) == VersionState.REFUSED


def test_a_test_that_would_apply_is_left_out_unless_the_module_may(
    module: Module, repository: Repository
) -> None:
    files = {"main.tf": GOOD, "tests/a.tftest.hcl": APPLIES, "b.tftest.hcl": PLANS}
    version = tagged(module, repository, files)
    (check,) = work()
    assert sentence(check, "Tests").startswith("1 file of tests passed. Left out")
    assert "tests/a.tftest.hcl" in sentence(check, "Tests")
    assert "b.tftest.hcl... pass" in check.log and "tests/a.tftest.hcl" not in check.log
    assert state(version) == VersionState.PUBLISHED
    module.applies_tests = True
    module.save()
    tagged(module, repository, {"more.tf": "# More\n"}, "1.1.0")
    (check,) = work()
    assert sentence(check, "Tests") == "2 files of tests passed."


def test_the_version_of_terraform_is_what_the_code_says(
    module: Module, repository: Repository, settings: Settings
) -> None:
    settings.TERRAFORM_BIN = settings.TOFU_BIN = ""
    settings.TOOLS_FOLDER = ""
    tagged(module, repository, {"main.tf": GOOD, ".terraform-version": "0.0.1\n"})
    (check,) = work()
    assert "0.0.1" in sentence(check, "Version")


def test_a_version_that_waits_later_is_published_without_another_push(
    module: Module, repository: Repository
) -> None:
    first = tagged(module, repository, {"main.tf": GOOD})
    work()
    second = waiting(module, first.sha, "1.0.1")
    work()
    assert state(second) == VersionState.PUBLISHED
    first.refresh_from_db()
    assert first.archive == second.archive
    Check.objects.update(due_at=first.created_at)
    assert work() == []  # nothing waits for it
    assert Check.objects.get().due_at is None


def test_a_commit_that_can_not_be_fetched_is_tried_again(
    module: Module, repository: Repository
) -> None:
    version = waiting(module, "1" * 40)
    (check,) = work()
    assert check.state == CheckState.QUEUED
    assert check.failures == 1 and check.due_at
    assert state(version) == VersionState.WAITING
    for _ in range(5):
        check.refresh_from_db()
        Check.objects.update(due_at=check.created_at)
        (check,) = work()
    assert check.state == CheckState.FAILED
    assert "could not be fetched" in check.failure
    assert state(version) == VersionState.REFUSED


def test_the_token_is_in_no_log(module: Module, repository: Repository, token: str) -> None:
    code = f'output "a" {{\n  value = var.x{token}\n}}\n'
    tagged(module, repository, {"main.tf": code})
    (check,) = work()
    assert token not in check.log + str(check.results) + check.failure
    assert "********" in check.log
