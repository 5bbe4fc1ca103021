"""What tests of executing runs share: a worker in this process, with nothing faked."""

import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from stacks.execution import job, queue
from stacks.execution.checkout import workspace
from stacks.models import Backend, Run, Stack, StackVariable, values_of
from stacks.models.plan import ChangeKind
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_stack
from tests.emulator.model import Repository
from tests.postgresql import postgresql
from tests.stacks.execution.state_server import StateServer, state_server
from tests.stacks.execution.tools.terraforms import installed, packaged
from vcs_integrations.models import Integration

# It names a backend, whose address is in the environment of the fixture `stack`.
HTTP_BACKEND = 'terraform {\n  backend "http" {}\n}\n'
FILE, LINK, SUBMODULE = "100644", "120000", "160000"
# Three to add, and an output of each kind.
THREE = """
resource "terraform_data" "network" {
  count = 3
  input = count.index
}
output "names" {
  value = ["a", "b"]
}
output "password" {
  value     = "not for pages"
  sensitive = true
}
"""


@pytest.fixture(autouse=True)
def runs_folder(settings: Settings) -> Iterator[Path]:
    """A folder for jobs that their users can pass through, unlike the tests' own."""
    folder = Path(tempfile.mkdtemp(prefix="runs-"))
    folder.chmod(0o711)
    settings.RUN_FOLDER = str(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def terraform(settings: Settings, request: pytest.FixtureRequest) -> None:
    """The machine's own Terraform, else the packaged one, which knows no resources."""
    settings.TERRAFORM_BIN = installed() or packaged() or ""
    if installed() is None and not request.node.get_closest_marker("without_resources"):
        pytest.skip("It needs resources: Terraform 1.4 or later on PATH.")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be fetched is retried as often as ever, and at once."""
    monkeypatch.setattr(workspace, "PAUSES", [0 for _ in workspace.PAUSES])


@pytest.fixture(scope="session")
def own_backend() -> Iterator[StateServer]:
    with state_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_backend() -> Iterator[str]:
    """A connection string of a PostgreSQL server for Terraform's `pg` backend."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgresql("-F", "-c listen_addresses=127.0.0.1", f"-p {port}"):
        yield f"postgres://stackhook@127.0.0.1:{port}/postgres?sslmode=disable"


@pytest.fixture
def stack(integration: Integration, repository: Repository, own_backend: StateServer) -> Stack:
    """A stack of the repository's branch main, whose code names its backend."""
    stack = make_stack(integration.repositories.get(name="infrastructure"), backend=Backend.OWN)
    address = own_backend.address(uuid4().hex)
    StackVariable.objects.create(stack=stack, name="TF_HTTP_ADDRESS", value=address)
    return stack


@pytest.fixture(scope="session")
def server(django_db_setup: None) -> Iterator[LiveServer]:
    """Stackhook over plain http: the redirect to https is read at its start."""
    with override_settings(SECURE_SSL_REDIRECT=False):
        running = LiveServer("127.0.0.1")
    yield running
    running.stop()


@pytest.fixture
def kept(server: LiveServer, settings: Settings, transactional_db: None, stack: Stack) -> Stack:
    """A stack whose state Stackhook keeps."""
    settings.PUBLIC_URL = server.url
    stack.backend = Backend.STACKHOOK
    stack.save()
    return stack


def pushed(
    stack: Stack,
    repository: Repository,
    files: dict[str, str | None],
    kind: Kind = Kind.TRACKED,
) -> Run:
    """Push files, and return a queued run of that commit."""
    branch = "main" if kind == Kind.TRACKED else "feature"
    sha = repository.push(files, branch=branch)
    return make_run(stack, kind=kind, sha=sha, branch=branch)


def committed(repository: Repository, entries: Mapping[str, tuple[str, str | None]]) -> str:
    """Push a commit of raw entries, path: (mode, content or commit); return its id."""
    git = repository.git
    tree = written_tree(repository, entries)
    author = ["-c", "user.name=Eve", "-c", "user.email=eve@example.com"]
    sha = git.run(*author, "commit-tree", tree, "-m", "Harmless").decode().strip()
    repository.push_refs({"refs/heads/main": sha})
    return sha


def written_tree(repository: Repository, entries: Mapping[str, tuple[str, str | None]]) -> str:
    git = repository.git
    listed = ""
    folders: dict[str, dict[str, tuple[str, str | None]]] = {}
    for path, (mode, content) in entries.items():
        folder, _, rest = path.partition("/")
        if rest:
            folders.setdefault(folder, {})[rest] = mode, content
            continue
        assert content
        sha = content
        if mode != SUBMODULE:
            sha = git.run("hash-object", "-w", "--stdin", stdin=content.encode()).decode().strip()
        listed += f"{mode} {'commit' if mode == SUBMODULE else 'blob'} {sha}\t{path}\0"
    for folder, inside in folders.items():
        listed += f"040000 tree {written_tree(repository, inside)}\t{folder}\0"
    return git.run("mktree", "-z", "--missing", stdin=listed.encode()).decode().strip()


def queued(stack: Stack, sha: str, **changes: Any) -> Run:
    return make_run(stack, sha=sha, **changes)


def work(worker: str = "here") -> list[Run]:
    """Do what there is to do, and return the runs that were taken, as they are now."""
    done = []
    while run := queue.claim_next(worker):
        job.execute(run, lambda: False)
        done.append(Run.objects.get(pk=run.pk))
    return done


def cancel_when_logged(text: str) -> Run:
    """Do the run whose turn it is, and cancel it once its log has a text; return it at its end."""
    run = queue.claim_next("here")
    assert run

    def cancel() -> bool:
        if text in log_of(run):
            Run.objects.filter(pk=run.pk).move_to(State.CANCELED)
        return False

    job.execute(run, cancel)
    return Run.objects.get(pk=run.pk)


def log_of(run: Run) -> str:
    return "".join(run.log.values_list("text", flat=True))


def commands_below(folder: Path) -> list[str]:
    """Return the command lines of what runs in the sandboxes of a folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (one / "mountinfo").read_text():
                found.append((one / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in found if line]  # without those that ended


def outputs_of(run: Run) -> dict[str, str]:
    """Return the new values of a plan's outputs, as its page has them: lists part by part."""
    found = {}
    for change in run.plan_changes.filter(kind=ChangeKind.OUTPUT):
        rows = values_of(run, change.part)[change.number]["rows"]
        found[change.address] = "\n".join(str(new) for _, _, new, _ in rows)
    return found
