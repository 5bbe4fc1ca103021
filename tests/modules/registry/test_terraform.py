"""Real Terraform and OpenTofu load modules over https: on a person's machine, and in a run."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import PersonalToken, User
from accounts.tokens.records import create_token
from accounts.tokens.registry_host import token_variable
from modules.models import Download, Module, ModuleVersion
from stacks.execution.output.logs import as_text
from stacks.models import Backend, Reach, RunCredential, Runs, Stack, StackVariable, Tool
from stacks.rules.states import Kind, State
from tests.builders import make_module, make_repository, make_version
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import (
    HTTP_BACKEND,
    kept,
    log_of,
    outputs_of,
    own_backend,
    pushed,
    runs_folder,
    server,
    stack,
    terraform,
    work,
)
from tests.stacks.execution.tools.terraforms import installed
from tests.tls import Https

__all__ = ["kept", "own_backend", "runs_folder", "server", "stack", "terraform"]

MODULE = """
module "network" {
  source  = "%s/fabrikam/network/azurerm"
  version = "%s"
}
output "version" { value = module.network.version }
"""


@pytest.fixture
def module(kept: Stack) -> Module:
    """A module of the stack's repository, with some versions."""
    made = make_module(kept.repository)
    for number in ("1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0-beta.1"):
        make_version(made, number)
    return made


@dataclass
class Laptop:
    """A person's machine: a folder with code, and what Terraform is configured with."""

    folder: Path
    https: Https
    program: str

    def init(
        self, version: str, token: str = "", variable: str = "", name: str = "network"
    ) -> tuple[int, str]:
        """Load the module anew; return the exit code, and the version that came or the errors."""
        code = MODULE % (self.https.host, version)
        (self.folder / "main.tf").write_text(code.replace("/network/", f"/{name}/"))
        configuration = self.folder / "terraform.rc"
        block = f'credentials "{self.https.host}" {{\n  token = "{token}"\n}}\n' if token else ""
        configuration.write_text(block)
        done = subprocess.run(
            [self.program, "init", "-no-color", "-upgrade", "-backend=false"],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "TF_CLI_CONFIG_FILE": str(configuration),
                "SSL_CERT_FILE": str(self.https.certificate),
                "CHECKPOINT_DISABLE": "1",
            }
            | ({token_variable(self.https.url): variable} if variable else {}),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return done.returncode, " ".join(done.stderr.split())
        manifest = json.loads((self.folder / ".terraform/modules/modules.json").read_text())
        (found,) = [one for one in manifest["Modules"] if one["Key"] == "network"]
        loaded = (self.folder / found["Dir"] / "main.tf").read_text()
        assert found["Version"] in loaded
        return 0, found["Version"]


TOFU = shutil.which("tofu")
needs_tofu = pytest.mark.skipif(TOFU is None, reason="It needs OpenTofu on PATH.")
TOOLS = ["terraform", pytest.param("tofu", marks=needs_tofu)]


@pytest.fixture(params=TOOLS)
def laptop(https: Https, tmp_path: Path, request: pytest.FixtureRequest) -> Laptop:
    folder = tmp_path / "laptop"
    folder.mkdir()
    terraform = installed() or "terraform"
    return Laptop(folder, https, TOFU or "" if request.param == "tofu" else terraform)


def test_a_person_loads_the_newest_version_of_a_constraint(
    laptop: Laptop, module: Module, bob: User
) -> None:
    token = create_token(bob, "Laptop", 30)[1]
    assert laptop.init("~> 1.0", token) == (0, "1.2.0")
    assert laptop.init("1.1.0", token) == (0, "1.1.0")
    assert laptop.init(">= 1.0", token) == (0, "2.0.0")  # no prerelease
    assert laptop.init("2.1.0-beta.1", token) == (0, "2.1.0-beta.1")
    # From the environment, whose variable counts more than the file.
    assert laptop.init("~> 1.0", "stackhook_wrong", token) == (0, "1.2.0")
    assert bob.tokens.get().last_used_at
    assert module.versions.get(number="1.2.0").downloads == 2


def test_a_person_is_told_why_there_is_no_module(laptop: Laptop, module: Module, bob: User) -> None:
    record, token = create_token(bob, "Laptop", 30)
    code, errors = laptop.init("3.0.0", token)
    assert code
    assert "no available version of module" in errors
    assert "The newest available version is 2.0.0" in errors
    assert "cannot be found in the module registry" in laptop.init("1.0.0", token, name="none")[1]
    for wrong in ("", "stackhook_wrong"):
        code, errors = laptop.init("1.0.0", wrong)
        assert code
        assert "401 Unauthorized" in errors
    PersonalToken.objects.filter(pk=record.pk).update(
        expires_at=timezone.now() - timedelta(minutes=1)
    )
    assert "401 Unauthorized" in laptop.init("1.0.0", token)[1]


def test_a_yanked_version_stays_for_who_pinned_it_and_is_hidden_from_others(
    laptop: Laptop, module: Module, alice: User, bob: User
) -> None:
    hers, his = create_token(alice, "Laptop", 30)[1], create_token(bob, "Laptop", 30)[1]
    assert laptop.init("1.2.0", hers) == (0, "1.2.0")
    ModuleVersion.objects.filter(number="1.2.0").update(yanked_at=timezone.now())
    assert laptop.init("1.2.0", hers) == (0, "1.2.0")
    assert laptop.init("~> 1.0", his) == (0, "1.1.0")
    code, errors = laptop.init("1.2.0", his)
    assert code
    assert "no available version of module" in errors


@pytest.mark.parametrize("tool", TOOLS)
def test_a_run_loads_modules_by_itself(
    https: Https,
    module: Module,
    kept: Stack,
    repository: Repository,
    settings: Settings,
    tool: str,
) -> None:
    if tool == "tofu":
        settings.TOFU_BIN = TOFU
        kept.tool = Tool.OPENTOFU
        kept.save()
    run = pushed(kept, repository, {"main.tf": MODULE % (https.host, "~> 1.0")})
    (done,) = work()
    log = as_text(log_of(done))
    assert done.state == State.UNCONFIRMED, log
    assert outputs_of(done)["version"] == '"1.2.0"'
    assert Download.objects.get().stack == kept
    assert f"run-{run.pk}." not in log
    proposed = pushed(kept, repository, {"a.tf": ""}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(done))
    assert RunCredential.objects.filter(run=proposed).exists()


def test_a_run_whose_state_is_elsewhere_loads_modules_and_reaches_no_state_here(
    https: Https, module: Module, kept: Stack, repository: Repository
) -> None:
    kept.backend = Backend.OWN
    kept.save()
    code = HTTP_BACKEND + MODULE % (https.host, "2.1.0-beta.1")
    run = pushed(kept, repository, {"main.tf": code})
    (done,) = work()
    assert done.state == State.UNCONFIRMED, as_text(log_of(done))
    assert outputs_of(done)["version"] == '"2.1.0-beta.1"'
    assert not run.credential.reaches_state


def test_a_run_finds_no_module_whose_repository_its_code_may_not_read(
    https: Https, module: Module, kept: Stack, repository: Repository
) -> None:
    elsewhere = make_repository(
        kept.integration, "elsewhere", project_id="q", project_name="Core", name="modules"
    )
    Module.objects.update(repository=elsewhere)
    code = MODULE % (https.host, "1.0.0")
    pushed(kept, repository, {"main.tf": code})
    (done,) = work()
    assert done.state == State.FAILED
    assert "cannot be found in the module registry" in as_text(log_of(done))
    Stack.objects.update(reach=Reach.ORGANIZATION)
    pushed(kept, repository, {"main.tf": f"{code}\n"})
    (done,) = work()
    assert done.state == State.UNCONFIRMED, as_text(log_of(done))


def test_a_run_is_told_why_it_gets_no_version(
    https: Https, module: Module, kept: Stack, repository: Repository
) -> None:
    def planned(version: str) -> tuple[State, str]:
        pushed(kept, repository, {"main.tf": MODULE % (https.host, version)}, Kind.PROPOSED)
        (done,) = work()
        return State(done.state), " ".join(as_text(log_of(done)).split())

    assert planned("1.2.0")[0] == State.FINISHED
    ModuleVersion.objects.filter(number__in=("1.1.0", "1.2.0")).update(yanked_at=timezone.now())
    assert planned("= 1.2.0")[0] == State.FINISHED  # what it pinned goes on working
    for missing in ("1.1.0", "3.0.0"):
        state, log = planned(missing)
        assert state == State.FAILED
        assert "no available version of module" in log
    name, wrong = token_variable(https.url), "stackhook_wrong"
    StackVariable.objects.create(stack=kept, name=name, value=wrong, is_secret=True, runs=Runs.ALL)
    state, log = planned(">= 1.0.0")
    assert state == State.FAILED
    assert "401 Unauthorized" in log
    assert wrong not in log


def test_what_prints_the_token_of_a_run_prints_none(
    https: Https, module: Module, kept: Stack, repository: Repository
) -> None:
    kept.commands = {"before_init": ["tr '\\0' '\\n' < /proc/self/environ"]}
    kept.save()
    run = pushed(kept, repository, {"main.tf": MODULE % (https.host, "1.0.0")})
    (done,) = work()
    log = as_text(log_of(done))
    assert f"{token_variable(https.url)}=" in log
    assert f"run-{run.pk}." not in log
    assert log.count("***") >= 2


def test_a_stacks_own_token_counts_more(
    https: Https, module: Module, kept: Stack, repository: Repository, bob: User
) -> None:
    token = create_token(bob, "Stack", 30)[1]
    name = token_variable(https.url)
    StackVariable.objects.create(stack=kept, name=name, value=token, is_secret=True)
    pushed(kept, repository, {"main.tf": MODULE % (https.host, "1.0.0")})
    (done,) = work()
    assert done.state == State.UNCONFIRMED, as_text(log_of(done))
    assert Download.objects.get().person == bob


def test_over_plain_http_a_run_gets_no_token(
    module: Module, kept: Stack, repository: Repository, settings: Settings
) -> None:
    assert settings.PUBLIC_URL.startswith("http://")
    pushed(kept, repository, {"main.tf": 'output "a" { value = 1 }\n'})
    (done,) = work()
    assert done.state == State.UNCONFIRMED, as_text(log_of(done))
