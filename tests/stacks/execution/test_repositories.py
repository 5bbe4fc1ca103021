"""Repositories as teams have them, from the push to what Azure DevOps shows, by real Terraform.

The table is tests/repositories/table.py.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from stacks.execution.output.logs import as_text
from stacks.lifecycle.actions import Action, act
from stacks.models import Run, Stack, StackVariable
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.emulator.lfs import add_object
from tests.emulator.model import Organization, Project, Repository
from tests.emulator.pull_requests import PullRequest
from tests.postgresql import needs_postgresql
from tests.repositories.table import BY_WORKSPACE, CASES, OF_ANY_VERSION, Case
from tests.stacks.execution.conftest import FILE, LINK, SUBMODULE, log_of, work, written_tree
from tests.stacks.execution.tools.terraforms import installed, packaged
from tests.stacks.reports.sender import look, send_all
from vcs_integrations.models import Integration

FOLDER = Path(__file__).parents[2] / "repositories"
ANSWER = 'output "answer" {\n  value = "%s"\n}\n'
Entries = dict[str, tuple[str, str | None]]


@pytest.fixture
def module(project: Project) -> Repository:
    """A repository of modules: tagged, on a branch, in a folder, and calling itself over ssh."""
    found = project.add_repository("module", {"main.tf": ANSWER % "v1"})
    found.push_refs({"refs/tags/v1.0": found.tip()})
    found.push({"main.tf": ANSWER % "release"}, branch="release/1")
    calls = f'module "inner" {{\n  source = "git::{over_ssh(found)}?ref=v1.0"\n}}\n'
    passes_on = 'output "answer" {\n  value = "inner ${module.inner.answer}"\n}\n'
    found.push({"main.tf": calls + passes_on}, branch="transitive")
    found.push({"sub/dir/main.tf": ANSWER % "below"})
    return found


@pytest.fixture
def shared(organization: Organization) -> Repository:
    """A repository of another project, to be a submodule."""
    return organization.add_project("Common").add_repository(
        "shared", {"main.tf": ANSWER % "shared"}
    )


@pytest.fixture
def integration(module: Repository, shared: Repository, integration: Integration) -> Integration:
    """The organization, linked when it had all of these."""
    return integration


def over_ssh(module: Repository) -> str:
    project = quote(module.project.name)
    return f"ssh://git@127.0.0.1/fabrikam/{project}/_ssh/{module.name}"


class Team:
    """A repository of a team and its stack."""

    def __init__(
        self, stack: Stack, repository: Repository, module: Repository, shared: Repository
    ) -> None:
        self.stack, self.repository = stack, repository
        self.module, self.shared = module, shared

    def entries(self, name: str) -> Entries:
        """Return what a commit of a folder of the corpus has."""
        top = FOLDER / name
        found: Entries = {}
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(top).as_posix()
            if path.is_symlink():
                found[inside] = LINK, str(path.readlink())
            elif path.is_file():
                found[inside] = FILE, self._placed(path.read_bytes().decode())
        return found | self._more(name)

    def _placed(self, text: str) -> str:
        places = {
            "@MODULE@": self.module.clone_url,
            "@MODULE_SSH@": over_ssh(self.module),
            "@SHA@": self.module.tip() or "",
        }
        for name, value in places.items():
            text = text.replace(name, value)
        return text

    def _more(self, name: str) -> Entries:
        if name == "submodule":
            modules = (
                '[submodule "shared"]\n\tpath = modules/shared\n'
                "\turl = ../../../Common/_git/shared\n"
            )
            return {
                ".gitmodules": (FILE, modules),
                "modules/shared": (SUBMODULE, self.shared.tip()),
            }
        if name == "lfs":
            return {"data/big.txt": (FILE, add_object(self.repository, b"x" * 4321))}
        return {}

    def push(self, name: str, branch: str) -> str:
        """Push a folder of the corpus to a branch, and have it read; return the commit."""
        git, entries = self.repository.git, self.entries(name)
        author = ["-c", "user.name=Änne", "-c", "user.email=a@example.com"]
        tree = written_tree(self.repository, entries)
        parent = self.repository.tip()
        assert parent
        commit = ["commit-tree", tree, "-p", parent, "-m", f"Füge {name} hinzu 📏"]
        sha = git.run(*author, *commit).decode().strip()
        self.repository.push_refs({f"refs/heads/{branch}": sha})
        return sha

    def propose(self, name: str) -> tuple[Run, PullRequest]:
        """Open a pull request of a folder of the corpus; return its planned run."""
        self.push(name, "topic")
        request = self.repository.open_pull_request("topic")
        look(self.stack)
        (run,) = work()
        send_all()
        return run, request

    def deploy(self, name: str, person: User) -> tuple[Run, str]:
        """Push a folder of the corpus to the tracked branch, and confirm what waits."""
        sha = self.push(name, "main")
        look(self.stack)
        (run,) = work()
        if run.state == State.UNCONFIRMED:
            act(run, Action.CONFIRM, person, "")
            (run,) = work()
        send_all()
        return run, sha


@pytest.fixture
def team(kept: Stack, repository: Repository, module: Repository, shared: Repository) -> Team:
    assert follow_from_now(kept) is None
    return Team(kept, repository, module, shared)


def seen_everywhere(run: Run, page: str, request: PullRequest) -> str:
    comments = "\n".join(one.content for thread in request.threads for one in thread.comments)
    statuses = "\n".join(one.description for one in request.statuses)
    plan = json.dumps(run.plan, ensure_ascii=False)
    return "\n".join([as_text(log_of(run)), page, plan, comments, statuses, run.failure])


def check_proposed(case: Case, team: Team) -> tuple[Run, PullRequest]:
    run, request = team.propose(case.name)
    status, comment = request.statuses[-1], request.threads[0].comments[0].content
    whole = f"{run.failure}\n{run.errors}\n{as_text(log_of(run))}"
    assert status.description.startswith(f"Run {run.number} {case.status}"), whole
    assert status.state == ("failed" if case.status.startswith("failed") else "succeeded")
    assert [text for text in case.comment if text not in comment] == [], comment
    return run, request


def check_deployed(team: Team, name: str, expected: str, person: User) -> Run:
    run, sha = team.deploy(name, person)
    status = team.repository.statuses[sha][-1]
    whole = f"{run.failure}\n{run.errors}\n{as_text(log_of(run))}"
    assert status.description == f"Run {run.number} {expected}", whole
    assert status.state == ("failed" if expected.startswith("failed") else "succeeded")
    return run


def check(case: Case, team: Team, client: Client, person: User) -> None:
    """Take a repository through the life that the table expects of it."""
    Stack.objects.update(**case.stack)
    team.stack.refresh_from_db()
    run, request = check_proposed(case, team)
    if case.applied:
        run = check_deployed(team, case.name, case.applied, person)
    if case.then:
        run = check_deployed(team, f"{case.name}.next", case.then, person)
    page = client.get(run.get_absolute_url())
    assert page.status_code == 200
    assert case.page in page.content.decode()
    assert case.log in as_text(log_of(run)), as_text(log_of(run))[-4000:]
    if case.secret:
        assert case.secret not in seen_everywhere(run, page.content.decode(), request)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_repository_is_planned_reported_and_applied_as_its_team_expects(
    case: Case, team: Team, member: Client, bob: User
) -> None:
    check(case, team, member, bob)


@pytest.mark.without_resources
@pytest.mark.parametrize("find", [installed, packaged])
@pytest.mark.parametrize("case", OF_ANY_VERSION, ids=lambda case: case.name)
def test_a_repository_is_run_by_an_old_and_a_new_terraform(
    case: Case,
    find: Callable[[], str | None],
    settings: Settings,
    team: Team,
    member: Client,
    bob: User,
) -> None:
    program = find()
    if program is None:
        pytest.skip("This Terraform is not here.")
    if case.name == "lfs" and shutil.which("git-lfs") is None:
        pytest.skip("It needs git-lfs: apt-get install git-lfs.")
    settings.TERRAFORM_BIN = program
    check(case, team, member, bob)


@needs_postgresql
def test_a_repository_with_workspaces_is_run_in_the_one_of_its_stack(
    team: Team, member: Client, bob: User, postgres_backend: str
) -> None:
    # The same code again is a run, too.
    Stack.objects.update(path_rule=False, **BY_WORKSPACE.stack)
    StackVariable.objects.create(stack=team.stack, name="PG_CONN_STR", value=postgres_backend)
    team.stack.refresh_from_db()
    run = check_deployed(team, BY_WORKSPACE.name, BY_WORKSPACE.applied, bob)
    assert BY_WORKSPACE.log in as_text(log_of(run))
    run, _ = team.deploy(BY_WORKSPACE.name, bob)
    assert (run.state, run.counts) == (State.FINISHED, "0 added, 0 changed, 0 destroyed")
    assert "No changes." in as_text(log_of(run))
