"""Private modules: real Terraform fetches them from inside the sandbox, without a token."""

from urllib.parse import quote

import pytest

from stacks.execution.output.logs import as_text
from stacks.models import Reach, Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_fork, make_run, make_stack, propose, store_integration
from tests.emulator.model import Project, Repository
from tests.stacks.execution.conftest import (
    FILE,
    HTTP_BACKEND,
    SUBMODULE,
    committed,
    log_of,
    outputs_of,
    pushed,
    work,
)
from tests.stacks.execution.git_proxy.conftest import ANSWER, opened
from vcs_integrations.models import Repository as KnownRepository
from vcs_integrations.providers.azure_devops.provider import AzureDevOps

pytestmark = pytest.mark.without_resources

OUTPUT = 'output "answer" {\n  value = module.one.answer\n}\n'


def calling(source: str) -> str:
    """Return code that calls a module."""
    return f'module "one" {{\n  source = "{source}"\n}}\n'


def planned(stack: Stack, repository: Repository, source: str) -> tuple[Run, str]:
    """Plan code that calls a module; return the run at its end, and its log."""
    files: dict[str, str | None] = {"main.tf": HTTP_BACKEND + calling(source) + OUTPUT}
    run = pushed(stack, repository, files, Kind.PROPOSED)
    (done,) = work()
    return done, as_text(log_of(run))


def over_ssh(module: Repository, port: str = "") -> str:
    """Return the address of a repository over ssh, as an Azure DevOps Server gives it out."""
    project, name = quote(module.project.name), quote(module.name)
    return f"ssh://git@127.0.0.1{port}/fabrikam/{project}/_ssh/{name}"


def answer_of(run: Run) -> str:
    (value,) = outputs_of(run).values()
    return value


def fetched_by(run: Run) -> list[tuple[str, str, str]]:
    return [(one.repository.name, one.ref, one.sha) for one in run.module_sources.all()]


@pytest.mark.parametrize("form", ["https", "ssh", "ssh with a port"])
def test_a_module_of_the_same_project_is_fetched_and_recorded(
    stack: Stack, repository: Repository, module: Repository, form: str
) -> None:
    forms = {
        "https": module.clone_url,
        "ssh": over_ssh(module),
        "ssh with a port": over_ssh(module, ":22"),
    }
    done, log = planned(stack, repository, f"git::{forms[form]}")
    assert done.state == State.FINISHED, (done.failure, done.errors, log)
    assert answer_of(done) == '"forty-two"'
    assert fetched_by(done) == [("module", "", module.tip())]


@pytest.mark.parametrize("kind", ["branch", "tag", "sha"])
def test_a_ref_and_a_folder_are_those_that_the_code_names(
    stack: Stack, repository: Repository, module: Repository, kind: str
) -> None:
    sha = module.tip()
    assert sha
    module.push_refs({"refs/heads/release/1": sha, "refs/tags/v1.0": sha})
    module.push({"sub/dir/main.tf": ANSWER.replace("forty-two", "newer")})
    ref = {"branch": "release/1", "tag": "v1.0", "sha": sha}[kind]
    done, log = planned(stack, repository, f"git::{module.clone_url}//sub/dir?ref={quote(ref)}")
    assert done.state == State.FINISHED, (done.failure, done.errors, log)
    assert answer_of(done) == '"from below"'
    assert fetched_by(done) == [("module", ref, sha)]
    assert done.module_sources.get().folders == ["sub/dir"]


def test_modules_of_modules_and_submodules_of_modules_are_fetched_too(
    stack: Stack, repository: Repository, module: Repository, project: Project
) -> None:
    inner, vendored = module.tip(), repository.tip()
    over = over_ssh(module)
    entries = {
        "main.tf": (FILE, calling(f"git::{over}?ref=inner") + OUTPUT),
        ".gitmodules": (FILE, '[submodule "v"]\n\tpath = vendored\n\turl = ../infrastructure\n'),
        "vendored": (SUBMODULE, vendored),
    }
    module.push_refs({"refs/heads/inner": inner})
    outer = committed(module, entries)
    done, log = planned(stack, repository, f"git::{module.clone_url}?ref=main")
    assert done.state == State.FINISHED, (done.failure, done.errors, log)
    assert answer_of(done) == '"forty-two"'
    assert sorted(fetched_by(done)) == sorted(
        [
            ("infrastructure", vendored, vendored),
            ("module", "inner", inner),
            ("module", "main", outer),
        ]
    )


@pytest.mark.parametrize(
    "address",
    [
        "https://dev.azure.com/fabrikam/Platform%20Team/_git/module",
        "https://dev.azure.com/Fabrikam/Platform%20Team/_git/module",
        "https://fabrikam@dev.azure.com/fabrikam/platform%20team/_git/Module",
        "https://fabrikam.visualstudio.com/Platform%20Team/_git/module",
        "https://fabrikam.visualstudio.com/DefaultCollection/Platform%20Team/_git/module",
        "git@ssh.dev.azure.com:v3/fabrikam/Platform%20Team/module",
        "ssh://git@ssh.dev.azure.com/v3/fabrikam/Platform%20Team/module",
        "ssh://git@ssh.dev.azure.com:22/v3/FABRIKAM/Platform%20Team/module",
        "fabrikam@vs-ssh.visualstudio.com:v3/fabrikam/Platform%20Team/module",
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/DefaultCollection/Platform%20Team/_ssh/module",
    ],
)
def test_every_address_that_azure_devops_gives_out_is_led_to_the_proxy(
    db: None, module: Repository, token: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository is one of Microsoft's cloud, which the emulator stands in for outside."""
    integration = store_integration("Fabrikam", token, organization_key="dev.azure.com/fabrikam")
    of_project = {"project_id": "1", "project_name": "Platform Team", "integration": integration}
    known = KnownRepository.objects.create(external_id="1", name="module", **of_project)
    monkeypatch.setattr(AzureDevOps, "clone_url", lambda *_: module.clone_url)
    with opened(make_run(make_stack(known)), token) as inside:
        code, said = inside.refs(address)
        assert code == 0, said
        assert f"{module.tip()}\trefs/heads/main" in said


def test_which_repositories_may_be_read_is_a_choice_of_the_stack(
    stack: Stack, repository: Repository, elsewhere: Repository
) -> None:
    source = f"git::{elsewhere.clone_url}"
    done, _ = planned(stack, repository, source)
    assert done.failure == "The initialization failed."
    assert "The code of this stack may not read Secret/vault" in done.errors
    assert fetched_by(done) == []
    Stack.objects.update(reach=Reach.LISTED)
    done, _ = planned(stack, repository, f"{source}?ref=main")
    assert "The code of this stack may not read Secret/vault" in done.errors
    stack.readable.add(stack.integration.repositories.get(name="vault"))
    done, log = planned(stack, repository, f"{source}?ref=HEAD")
    assert done.state == State.FINISHED, (done.failure, done.errors, log)
    stack.readable.clear()
    Stack.objects.update(reach=Reach.ORGANIZATION)
    done, log = planned(stack, repository, f"{source}//?ref=main")
    assert done.state == State.FINISHED, (done.failure, done.errors, log)
    assert fetched_by(done) == [("vault", "main", elsewhere.tip())]


def test_a_stack_that_follows_other_code_reads_its_own_project_again(
    stack: Stack, project: Project
) -> None:
    vault = stack.integration.repositories.get(name="vault")
    Stack.objects.update(reach=Reach.LISTED)
    stack.refresh_from_db()
    stack.readable.add(vault)
    stack.follow(stack.repository, "other")
    assert (stack.reach, stack.readable.count()) == (Reach.LISTED, 1)
    stack.follow(vault, "main")
    stack.refresh_from_db()
    assert (stack.reach, stack.readable.count()) == (Reach.PROJECT, 0)


def test_code_of_a_fork_reads_other_repositories_only_where_forks_run(
    stack: Stack, module: Repository, token: str
) -> None:
    run = make_run(stack, kind=Kind.PROPOSED, sha="f" * 40, position=None)
    propose(run, make_fork(stack))
    with opened(run, token) as inside:
        code, said = inside.refs(module.clone_url)
        assert code != 0
        assert "Code of forks may not read other repositories" in said
    stack.runs_forks = True
    stack.save()
    with opened(Run.objects.get(), token) as inside:
        assert inside.refs(module.clone_url)[0] == 0


def test_a_repository_that_the_host_does_not_show_fails_with_a_clear_sentence(
    stack: Stack, repository: Repository, module: Repository
) -> None:
    KnownRepository.objects.filter(name="module").update(name="renamed")
    done, _ = planned(stack, repository, f"git::{module.clone_url.replace('module', 'renamed')}")
    said = " ".join(done.errors.split())
    assert "The host has no such repository, or the token's owner lacks Read on it." in said
