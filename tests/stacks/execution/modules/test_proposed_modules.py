"""Proposed code of a module takes its place in a run of a stack that uses it, and opens nothing."""

import pytest

from stacks.execution.output.logs import as_text
from stacks.models import PullRequest, Runs, Stack, StackVariable
from stacks.rules.states import Kind, Origin, State
from tests.emulator.model import Project, Repository
from tests.stacks.execution.conftest import (
    HTTP_BACKEND,
    LINK,
    log_of,
    outputs_of,
    work,
    written_tree,
)
from tests.stacks.execution.modules.conftest import (
    ADDRESS,
    CALL,
    answer,
    installed_before,
    planned_with,
    proposal,
)

pytestmark = pytest.mark.without_resources

OUTPUT = 'output "answer" {\n  value = module.one.answer\n}\n'
FILE = "100644"


def calling(module: Repository, source: str) -> str:
    return f'module "one" {{\n  source = "git::{module.clone_url}{source}"\n}}\n'


def head(stack: Stack, repository: Repository, code: str) -> str:
    """Push code of the stack that uses the module; return its commit."""
    return repository.push({"main.tf": HTTP_BACKEND + code + OUTPUT})


@pytest.mark.parametrize("source", ["//network", "//network?ref=main"])
def test_what_git_fetched_of_the_module_is_replaced(
    stack: Stack, repository: Repository, module: Repository, source: str
) -> None:
    sha = head(stack, repository, calling(module, source))
    better = module.push({"network/main.tf": answer("as proposed")}, branch="better")
    run = planned_with(stack, proposal(stack, module, better), sha)
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, done.errors, as_text(log_of(run)))
    assert outputs_of(done) == {"answer": '"as proposed"'}
    assert (done.kind, done.origin) == (Kind.PROPOSED, Origin.IMPACT)
    # What the code itself names is recorded, not what took its place.
    (fetched,) = done.module_sources.all()
    assert (fetched.sha, fetched.folders) == (module.tip(), ["network"])


@pytest.mark.parametrize(("place", "call"), [("", ""), ("network", ""), ("sub", "//sub")])
def test_what_the_registry_gave_out_is_replaced(
    stack: Stack, repository: Repository, module: Repository, place: str, call: str
) -> None:
    commands = {"before_init": installed_before(place=place, call=call)}
    Stack.objects.update(commands=commands)
    sha = head(stack, repository, CALL.replace(ADDRESS, ADDRESS + call))
    files = {"network/main.tf": answer("as proposed"), "network/sub/main.tf": answer("below")}
    better = module.push(dict(files), branch="better")
    run = planned_with(stack, proposal(stack, module, better), sha)
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, done.errors, as_text(log_of(run)))
    assert outputs_of(done) == {"answer": '"below"' if call else '"as proposed"'}
    assert [one.version for one in done.registry_sources.all()] == ["1.2.3"]


def test_what_the_proposed_code_calls_of_its_own_repository_is_the_proposed_code_too(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    module.push({"inner/main.tf": answer("released below")})
    sha = head(stack, repository, calling(module, "//network"))
    calls = calling(module, "//inner") + OUTPUT
    files = {"network/main.tf": calls, "inner/main.tf": answer("proposed below")}
    better = module.push(dict(files), branch="better")
    run = planned_with(stack, proposal(stack, module, better), sha)
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, done.errors, as_text(log_of(run)))
    assert outputs_of(done) == {"answer": '"proposed below"'}


def test_a_change_that_breaks_the_stack_fails_with_the_error(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    sha = head(stack, repository, calling(module, "//network"))
    better = module.push({"network/main.tf": 'variable "region" {}\n'}, branch="better")
    planned_with(stack, proposal(stack, module, better), sha)
    (done,) = work()
    assert done.state == State.FAILED
    assert 'The argument "region" is required' in done.errors


def test_a_folder_that_the_proposed_code_removed_is_not_planned_as_it_was(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    sha = head(stack, repository, calling(module, "//network"))
    files: dict[str, str | None] = {"network/main.tf": None, "net/main.tf": answer("moved")}
    better = module.push(files, branch="better")
    planned_with(stack, proposal(stack, module, better), sha)
    (done,) = work()
    assert done.failure == (
        f"The proposed code of {ADDRESS} lacks a folder that the stack uses, or it is a link: "
        f"“network”."
    )


def test_code_that_uses_the_module_no_longer_is_not_taken_for_unchanged(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    sha = repository.push({"main.tf": HTTP_BACKEND + answer("alone")})
    planned_with(stack, proposal(stack, module, module.tip() or ""), sha)
    (done,) = work()
    assert "does not use" in done.failure


def test_links_of_the_proposed_code_lead_nowhere(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    sha = head(stack, repository, calling(module, "//network"))
    stolen = 'output "answer" {\n  value = file("${path.module}/shadow")\n}\n'
    entries = {
        "network": {"main.tf": (FILE, stolen), "shadow": (LINK, "/etc/shadow")},
        "linked": {"network": (LINK, "/")},
    }
    for name, failure in (("network", "The plan failed."), ("linked", "or it is a link")):
        prefix = "network/" if name == "network" else ""
        tree = written_tree(module, {f"{prefix}{path}": one for path, one in entries[name].items()})
        author = ["-c", "user.name=Eve", "-c", "user.email=eve@example.com"]
        evil = module.git.run(*author, "commit-tree", tree, "-m", "Harmless").decode().strip()
        module.push_refs({f"refs/heads/{name}": evil})
        number = {"network": 8, "linked": 9}[name]
        one = proposal(stack, module, evil, number=number, source_branch=name)
        run = planned_with(stack, one, sha)
        (done,) = work()
        assert done.state == State.FAILED
        assert failure in done.failure
        assert "root:" not in as_text(log_of(run))


@pytest.mark.parametrize(
    ("case", "failure"),
    [
        ("fork", "comes from a fork"),
        ("closed", "is closed"),
        ("off", "does not plan proposed changes of its modules"),
        ("reach", "The code of this stack may not read Secret/modules"),
        ("gone", "The pull request of the module is gone"),
    ],
)
def test_code_that_may_not_be_planned_is_never_fetched(
    stack: Stack, repository: Repository, module: Repository, case: str, failure: str
) -> None:
    sha = head(stack, repository, calling(module, "//network"))
    one = proposal(stack, module, module.tip() or "")
    run = planned_with(stack, one, sha)
    if case == "fork":
        PullRequest.objects.update(is_from_fork=True)
    elif case == "closed":
        PullRequest.objects.update(status="closed")
    elif case == "off":
        Stack.objects.update(plans_module_changes=False)
    elif case == "reach":
        repositories = stack.integration.repositories.filter(name="modules")
        repositories.update(project_id="another", project_name="Secret")
    else:
        one.delete()
    (done,) = work()
    assert done.state == State.FAILED
    assert failure in done.failure
    assert "which is proposed" not in as_text(log_of(run))


def test_proposed_code_finds_what_proposed_runs_find_and_changes_no_state(
    kept: Stack, repository: Repository, module: Repository, token: str, project: Project
) -> None:
    name, value = "ARM_CLIENT_SECRET", "hunter2-hunter2"
    StackVariable.objects.create(
        stack=kept, name=name, value=value, is_secret=True, runs=Runs.TRACKED
    )
    # What runs after the proposed code was fetched, and could be the code's own programs.
    seen = "(env; cat /proc/*/environ; find /workspace -name .git; cat /workspace/git/config) 2>&1"
    commands = {
        "before_init": [f"{seen} | rev"],
        "after_init": [
            f"{seen} | rev",
            'echo \'{"version": 4, "serial": 9, "lineage": "x", "resources": []}\' > stolen',
            "! terraform state push -force -lock=false stolen",
        ],
    }
    Stack.objects.update(commands=commands)
    sha = repository.push({"main.tf": calling(module, "//network") + OUTPUT})
    better = module.push({"network/main.tf": answer("as proposed")}, branch="better")
    run = planned_with(kept, proposal(kept, module, better), sha)
    (done,) = work()
    log = as_text(log_of(run))
    assert done.state == State.FINISHED, log
    assert "HTTP error: 403" in log
    assert not kept.state_versions.exists()
    assert value[::-1] not in log
    assert token[::-1] not in log
