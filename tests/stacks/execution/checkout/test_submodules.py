"""Submodules: those of the organization are fetched, every other fails the run by its name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.execution.checkout import submodules
from stacks.execution.checkout.submodules import Submodule, read_links, source_of
from stacks.execution.checkout.workspace import Git, NotFetched
from stacks.execution.isolation.sandbox import Limits, sandbox
from stacks.execution.output.logs import Log, as_text
from stacks.execution.output.masking import Masker
from stacks.models import PullRequest, Reach, Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import propose
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.stacks.execution.conftest import (
    FILE,
    HTTP_BACKEND,
    SUBMODULE,
    cancel_when_logged,
    commands_below,
    committed,
    log_of,
    outputs_of,
    queued,
    work,
)
from vcs_integrations.models import Integration
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import INTERACTIVE

pytestmark = pytest.mark.without_resources

CALLS = HTTP_BACKEND + 'module "shared" {\n  source = "./modules/shared"\n}\n'
USES = 'output "from_shared" {\n  value = module.shared.answer\n}\n'
ANSWER = 'output "answer" {\n  value = "forty-two"\n}\n'


@pytest.fixture
def stack(stack: Stack) -> Stack:
    """The stack, whose code may read all of the organization."""
    stack.reach = Reach.ORGANIZATION
    stack.save()
    return stack


@pytest.fixture
def shared(organization: Organization) -> Repository:
    """A repository of another project, whose main branch moved on after the commit in use."""
    return organization.add_project("Common").add_repository("shared", {"main.tf": ANSWER})


def gitmodules(**urls: str) -> str:
    """Return a .gitmodules in which each folder below modules/ has a URL."""
    return "".join(
        f'[submodule "{name}"]\n\tpath = modules/{name}\n\turl = {url}\n'
        for name, url in urls.items()
    )


def with_submodule(
    url: str, sha: str | None, files: dict[str, str] | None = None
) -> dict[str, tuple[str, str | None]]:
    """Return the entries of a commit that has a submodule in modules/shared."""
    found: dict[str, tuple[str, str | None]] = {
        name: (FILE, content) for name, content in (files or {"main.tf": HTTP_BACKEND}).items()
    }
    return found | {
        ".gitmodules": (FILE, gitmodules(shared=url)),
        "modules/shared": (SUBMODULE, sha or "1" * 40),
    }


def run_of(stack: Stack, sha: str, **changes: object) -> tuple[Run, str]:
    """Run a commit as proposed code; return the run at its end, and its log."""
    queued(stack, sha, **{"kind": Kind.PROPOSED} | changes)
    (done,) = work()
    return done, as_text(log_of(done))


# Fetched


@pytest.mark.parametrize("is_relative", [False, True])
def test_a_submodule_is_planned_at_exactly_its_commit(
    stack: Stack, repository: Repository, shared: Repository, is_relative: bool
) -> None:
    sha = shared.tip()
    shared.push({"main.tf": ANSWER.replace("forty-two", "newer")})
    url = "../../../Common/_git/shared" if is_relative else shared.clone_url
    files = {"main.tf": CALLS + USES}
    done, log = run_of(stack, committed(repository, with_submodule(url, sha, files)))
    assert done.state == State.FINISHED, (done.failure, log)
    (value,) = outputs_of(done).values()
    assert value == '"forty-two"'
    assert f"Fetching submodule modules/shared: commit {str(sha)[:8]} of Common/shared" in log


def test_a_project_root_may_be_in_a_submodule_of_a_submodule(
    stack: Stack, repository: Repository, shared: Repository, organization: Organization
) -> None:
    project = organization.project("Common")
    assert project
    inner = project.add_repository("inner", {"infra/main.tf": HTTP_BACKEND + ANSWER})
    middle = committed(
        shared,
        {
            ".gitmodules": (FILE, '[submodule "in"]\n\tpath = in/ner\n\turl = ../inner\n'),
            "in/ner": (SUBMODULE, inner.tip()),
        },
    )
    Stack.objects.update(project_root="modules/shared/in/ner/infra")
    done, log = run_of(stack, committed(repository, with_submodule(shared.clone_url, middle)))
    assert done.state == State.FINISHED, (done.failure, log)
    assert "Fetching submodule modules/shared/in/ner: " in log


def test_a_stack_may_leave_submodules_out(
    stack: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(fetches_submodules=False)
    entries = with_submodule("https://github.com/example/shared", None)
    done, log = run_of(stack, committed(repository, entries))
    assert done.state == State.FINISHED, (done.failure, log)
    assert "Submodules are left out, as the stack's behavior says: modules/shared" in log
    Stack.objects.update(project_root="modules/shared/infra")
    done, log = run_of(stack, committed(repository, entries | {"other": (FILE, "file")}))
    assert done.failure == (
        "The project root “modules/shared/infra” is in the submodule “modules/shared”, and the "
        "stack fetches none. Switch on “Fetch submodules” in the stack's behavior, or change the "
        "project root."
    )


def test_a_run_is_canceled_while_a_submodule_is_fetched(
    stack: Stack, repository: Repository, shared: Repository, emulator: Emulator, runs_folder: Path
) -> None:
    queued(stack, committed(repository, with_submodule(shared.clone_url, shared.tip())))
    emulator.faults.add("slow", path="shared", seconds=3600)
    assert cancel_when_logged("Fetching submodule").state == State.CANCELED
    assert commands_below(runs_folder) == []


def test_a_submodule_is_recorded_with_the_run(
    stack: Stack, repository: Repository, shared: Repository
) -> None:
    refresh(stack.integration, INTERACTIVE)
    sha = shared.tip()
    done, log = run_of(stack, committed(repository, with_submodule(shared.clone_url, sha)))
    assert done.state == State.FINISHED, (done.failure, log)
    (fetched,) = done.module_sources.all()
    assert (str(fetched.repository), fetched.ref, fetched.sha) == ("Common/shared", sha, sha)


# Not fetched


@pytest.mark.parametrize("reach", [Reach.PROJECT, Reach.LISTED])
def test_a_submodule_of_another_project_needs_an_admins_choice(
    stack: Stack, repository: Repository, shared: Repository, emulator: Emulator, reach: str
) -> None:
    refresh(stack.integration, INTERACTIVE)
    Stack.objects.update(reach=reach)
    entries = with_submodule(shared.clone_url, shared.tip())
    emulator.reset_requests()
    done, _ = run_of(stack, committed(repository, entries))
    assert done.failure.startswith(
        "The submodule “modules/shared” is Common/shared, which the code of this stack may not "
        "read. An admin can allow it"
    )
    assert not [one for one in emulator.requests if "shared" in one.path]
    stack.readable.add(stack.integration.repositories.get(name="shared"))
    done, log = run_of(stack, committed(repository, entries | {"other": (FILE, "file")}))
    assert (done.state == State.FINISHED) == (reach == Reach.LISTED), (done.failure, log)


def test_a_submodule_that_the_token_may_not_read_fails_by_its_name(
    stack: Stack, repository: Repository, shared: Repository, organization: Organization
) -> None:
    organization.deny("Ann Admin", "read", shared.project, shared)
    sha = committed(repository, with_submodule(shared.clone_url, shared.tip()))
    done, log = run_of(stack, sha)
    assert done.failure.startswith(
        f"The submodule “modules/shared” could not be fetched: commit {str(shared.tip())[:8]} of "
        f"Common/shared."
    )
    assert "The end of the log" not in done.failure
    for said in (log, done.errors):
        assert "TF401019" in said


def test_a_commit_without_gitmodules_fails_by_the_name_of_its_submodule(
    stack: Stack, repository: Repository
) -> None:
    sha = committed(
        repository, {"main.tf": (FILE, HTTP_BACKEND), "modules/shared": (SUBMODULE, "1" * 40)}
    )
    done, _ = run_of(stack, sha)
    assert done.failure.startswith("The submodule “modules/shared” has no URL in .gitmodules.")


@pytest.mark.parametrize("bound", ["MOST", "DEEPEST"])
def test_submodules_are_bounded_in_number_and_depth(
    stack: Stack,
    repository: Repository,
    shared: Repository,
    bound: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submodules, bound, 1)
    settings = '[submodule "in"]\n\tpath = in\n\turl = ../shared\n'
    inner = {".gitmodules": (FILE, settings), "in": (SUBMODULE, shared.tip())}
    middle = committed(shared, inner)
    done, log = run_of(stack, committed(repository, with_submodule(shared.clone_url, middle)))
    assert done.failure.startswith("The code has more than"), done.failure
    assert "modules/shared: " in log and "modules/shared/in: " not in log


def test_a_fork_gets_no_submodules_even_where_forks_run(
    stack: Stack, repository: Repository, shared: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(runs_forks=True)
    request = PullRequest.objects.create(
        repository=stack.repository, number=7, status="open", is_from_fork=True,
        target_branch="main", source_branch="evil",
    )  # fmt: skip
    sha = committed(repository, with_submodule(shared.clone_url, shared.tip()))
    emulator.reset_requests()
    run = queued(stack, sha, kind=Kind.PROPOSED, position=None, branch="evil")
    propose(run, request)
    (done,) = work()
    assert done.failure.startswith(
        "The code has the submodule “modules/shared”, and a fork's submodules are not fetched"
    )
    assert not [one for one in emulator.requests if "shared" in one.path]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Emulator]:
    """Another server, which has a repository of the same names that anybody may read."""
    with Emulator(tmp_path / "other") as running:
        organization = running.add_organization("fabrikam")
        organization.add_project("Common").add_repository("shared", {"main.tf": ANSWER})
        yield running


def test_nothing_is_asked_of_another_host_or_organization(
    stack: Stack, repository: Repository, emulator: Emulator, other: Emulator, token: str
) -> None:
    emulator.add_organization("fabrikam2").add_project("Common").add_repository("shared", {"a": ""})
    here, there = emulator.url, other.url
    elsewhere = {
        f"{there}/fabrikam/Common/_git/shared": "is on 127.0.0.1",
        f"{there.replace('//', '//me:pass@')}/fabrikam/Common/_git/shared": "is on 127.0.0.1",
        f"{here}/fabrikam2/Common/_git/shared": "is on 127.0.0.1",
        "../../../../fabrikam2/Common/_git/shared": "is on 127.0.0.1",
    }
    emulator.reset_requests()
    for url, where in elsewhere.items():
        done, log = run_of(stack, committed(repository, with_submodule(url, "2" * 40)))
        assert done.failure.startswith(f"The submodule “modules/shared” {where}, and is not"), url
        assert "switch off “Fetch submodules”" in done.failure
        assert "pass@" not in done.failure + log
    assert other.requests == []
    assert not [one for one in emulator.requests if "fabrikam2" in one.path]


@pytest.mark.parametrize(
    "url",
    [
        "-u./evil.sh",
        "--upload-pack=touch /workspace/evil",
        "ext::sh -c touch% /workspace/evil",
        "file:///etc",
        "/etc",
        "../../../..",
    ],
)
def test_urls_that_mean_harm_name_no_repository(linked: Integration, url: str) -> None:
    one = Submodule("code/a", "1" * 40, url, "https://dev.azure.com/fabrikam/P/_git/r", 1)
    with pytest.raises(NotFetched, match=r"“a” (has a URL without a host|is on dev\.azure\.com)"):
        source_of(one, linked)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://github.com/fabrikam/shared.git", "github.com"),
        ("git@github.com:fabrikam/shared.git", "github.com"),
        ("https://user:secret@dev.azure.com/fabrikam2/P/_git/shared", "dev.azure.com"),
        ("https://dev.azure.com.example/fabrikam/P/_git/shared", "dev.azure.com.example"),
        ("https://dev.azure.com@example.com/fabrikam/P/_git/shared", "example.com"),
        ("http://dev.azure.com/fabrikam/P/_git/shared", "dev.azure.com"),
        ("git@ssh.dev.azure.com:v3/fabrikam2/P/shared", "ssh.dev.azure.com"),
        ("https://dev.azure.com/fabrikam/P/_git/r/shared", "dev.azure.com"),
        ("https://dev.azure.com/fabrikam/P/_git/..%2fshared", "dev.azure.com"),
        ("git://dev.azure.com/fabrikam/P/_git/shared", "dev.azure.com"),
    ],
)
def test_a_url_of_another_place_is_named_by_its_host_alone(
    linked: Integration, url: str, host: str
) -> None:
    one = Submodule("code/a", "1" * 40, url, "https://dev.azure.com/fabrikam/P/_git/r", 1)
    with pytest.raises(NotFetched) as caught:
        source_of(one, linked)
    assert f"“a” is on {host}, and is not a repository of fabrikam" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://dev.azure.com/fabrikam/My%20Project/_git/shared",
        "https://fabrikam@dev.azure.com/Fabrikam/My%20Project/_git/shared",
        "https://me:secret@dev.azure.com/fabrikam/My%20Project/_git/shared",
        "https://fabrikam.visualstudio.com/My%20Project/_git/shared",
        "https://fabrikam.visualstudio.com/DefaultCollection/My%20Project/_git/shared/",
        "git@ssh.dev.azure.com:v3/fabrikam/My%20Project/shared",
        "fabrikam@vs-ssh.visualstudio.com:v3/fabrikam/My%20Project/shared",
        "ssh://git@ssh.dev.azure.com/v3/fabrikam/My%20Project/shared",
        "../shared",
        ".././shared",
        "../../../My%20Project/_git/shared",
    ],
)
def test_every_form_of_an_organizations_url_names_the_repository(
    linked: Integration, url: str
) -> None:
    parent = "https://dev.azure.com/fabrikam/My%20Project/_git/infrastructure"
    found = source_of(Submodule("code/a", "1" * 40, url, parent, 1), linked)
    assert (found.project_name, found.name) == ("My Project", "shared")


def test_the_list_of_submodules_is_read_whatever_bytes_it_has() -> None:
    listed = (
        b"160000 " + b"1" * 40 + b" 0\tmodules/\xff\0"
        b"submodule.a.b.path\nmodules/\xff/\0submodule.a.b.url\nhttps://\xff\0"
        b"submodule.c.path\0submodule.path\nother\0"
    )
    (one,) = read_links(listed, "code", "parent", 1)
    assert one.url == "https://�"
    assert str(one) == "“modules/�”"


# Links


def test_a_commit_is_not_checked_out_where_a_link_leads(
    stack: Stack, repository: Repository, token: str
) -> None:
    """Git writes no submodule behind a link itself; this is for what it may overlook."""
    run = queued(stack, str(repository.tip()))
    with sandbox() as one:
        log = Log(run, Masker([token]))
        git = Git(run.repository.integration, token, one, log, lambda: False, run)
        assert (
            one.run(["ln", "-s", one.path("tmp"), "linked"], {}, print, lambda: False, Limits(20))
            == 0
        )
        assert one.run(["mkdir", "folder"], {}, print, lambda: False, Limits(20)) == 0
        assert not git.fetch(repository.clone_url, run.sha, [], "linked")
        assert git.fetch(repository.clone_url, run.sha, [], "folder")
        assert list((one.folder / "tmp").iterdir()) == []
        assert [file.name for file in (one.folder / "workspace/folder").iterdir()] == ["main.tf"]


def test_the_token_is_in_no_log_of_a_run_with_submodules(
    stack: Stack, repository: Repository, shared: Repository, token: str
) -> None:
    url = shared.clone_url.replace("//", f"//me:{token}@")
    done, log = run_of(stack, committed(repository, with_submodule(url, shared.tip())))
    assert done.state == State.FINISHED, done.failure
    assert token not in log
