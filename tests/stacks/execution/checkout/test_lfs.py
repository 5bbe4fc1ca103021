"""Git LFS: no pointer is planned unnoticed, and the token goes to the organization alone."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.execution.checkout import lfs
from stacks.execution.output.logs import as_text
from stacks.models import Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_run
from tests.emulator import Emulator
from tests.emulator.lfs import add_object, pointer
from tests.emulator.model import Organization, Repository
from tests.stacks.execution.conftest import (
    HTTP_BACKEND,
    SUBMODULE,
    cancel_when_logged,
    commands_below,
    committed,
    log_of,
    outputs_of,
    pushed,
    work,
)

pytestmark = pytest.mark.without_resources
needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="It needs git-lfs: apt-get install git-lfs."
)

READS = HTTP_BACKEND + 'output "seen" {\n  value = file("data/big.txt")\n}\n'
OF_SUBMODULE = HTTP_BACKEND + 'output "seen" {\n  value = file("sub/big.txt")\n}\n'
ATTRIBUTES = "*.txt filter=lfs diff=lfs merge=lfs -text\n"


def run_of(stack: Stack, repository: Repository, files: dict[str, str]) -> tuple[Run, str]:
    """Run code as proposed; return the run at its end, and its log."""
    pushed(stack, repository, {**files}, Kind.PROPOSED)
    (done,) = work()
    return done, as_text(log_of(done))


def seen(run: Run) -> str:
    (value,) = outputs_of(run).values()
    return value


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Emulator]:
    """Another server, to which the first one leads for objects."""
    with Emulator(tmp_path / "other") as running:
        yield running


# Fetched


@needs_git_lfs
def test_files_of_git_lfs_are_planned_as_they_are(stack: Stack, repository: Repository) -> None:
    big = add_object(repository, b"all of it")
    evil = "[lfs]\n\turl = http://127.0.0.1:9/evil\n\tfetchexclude = *\n"
    files = {
        "main.tf": READS,
        "data/big.txt": big,
        "data/same.txt": big,
        "data/o d\nd 'ö.txt": add_object(repository, b"odd"),
        ".gitattributes": ATTRIBUTES,
        ".lfsconfig": evil,
    }
    done, log = run_of(stack, repository, files)
    assert done.state == State.FINISHED, (done.failure, log)
    assert seen(done) == '"all of it"'
    assert f"Fetching 3 Git LFS files of {repository.clone_url}" in log


@needs_git_lfs
def test_files_of_git_lfs_in_a_submodule_are_of_its_repository(
    stack: Stack, repository: Repository, organization: Organization
) -> None:
    project = organization.project("Platform Team")
    assert project
    shared = project.add_repository("shared", {"README": "-"})
    inside = shared.push({"big.txt": add_object(shared, b"of the submodule")})
    entries = {
        "main.tf": ("100644", OF_SUBMODULE),
        ".gitmodules": ("100644", '[submodule "s"]\n\tpath = sub\n\turl = ../shared\n'),
        "sub": (SUBMODULE, inside),
    }
    sha = committed(repository, entries)
    run = make_run(stack, kind=Kind.PROPOSED, sha=sha)
    (done,) = work()
    assert done.state == State.FINISHED, (done.failure, as_text(log_of(run)))
    assert seen(done) == '"of the submodule"'


@needs_git_lfs
@pytest.mark.parametrize("way", ["host", "organization", "objects", "batch"])
def test_the_token_does_not_follow_an_answer_to_another_place(
    stack: Stack, repository: Repository, emulator: Emulator, other: Emulator, token: str, way: str
) -> None:
    """Whether objects are said to be there, or a request for them is redirected."""
    server = emulator if way == "organization" else other
    there = server.add_organization("fabrikam2").add_project("P").add_repository("r", {"a": "-"})
    text = add_object(repository, b"all of it")
    add_object(there, b"all of it")
    elsewhere = f"{there.clone_url}/info/lfs/objects"
    if way in {"host", "organization"}:
        repository.lfs_elsewhere = elsewhere
    else:
        last = "batch" if way == "batch" else hashlib.sha256(b"all of it").hexdigest()
        path = f"/infrastructure(.git)?/info/lfs/objects/{last}"
        emulator.faults.add("redirect-elsewhere", path=path, location=f"{elsewhere}/{last}")
    done, log = run_of(stack, repository, {"main.tf": READS, "data/big.txt": text})
    assert done.failure.startswith(
        "The file “data/big.txt” is kept by Git LFS and could not be fetched."
    )
    asked = [one for one in [*other.requests, *emulator.requests] if "/P/_git/r" in one.path]
    assert asked
    assert not any(one.has_authorization for one in asked)
    assert token not in log


@needs_git_lfs
def test_a_run_is_canceled_while_files_are_fetched(
    stack: Stack, repository: Repository, emulator: Emulator, runs_folder: Path
) -> None:
    pushed(
        stack,
        repository,
        {"main.tf": HTTP_BACKEND, "big.txt": add_object(repository, b"all of it")},
    )
    emulator.faults.add("slow", path="info/lfs", seconds=3600)
    assert cancel_when_logged("Fetching 1 Git LFS file").state == State.CANCELED
    assert commands_below(runs_folder) == []


# Not fetched


@needs_git_lfs
def test_files_that_the_server_does_not_have_fail_the_run_by_name(
    stack: Stack, repository: Repository
) -> None:
    add = {f"data/{name}.txt": pointer(name * 64, 5) for name in "abc"}
    done, log = run_of(stack, repository, {"main.tf": HTTP_BACKEND} | add)
    assert done.failure == (
        "The file “data/a.txt” and 2 more files are kept by Git LFS and could not be fetched. If "
        "the stack doesn't need it, switch off “Fetch Git LFS files” in the stack's behavior."
    )
    for said in (log, done.errors):
        assert "The object does not exist." in said


@needs_git_lfs
def test_a_broken_pointer_fails_the_run_by_name(stack: Stack, repository: Repository) -> None:
    text = "version https://git-lfs.github.com/spec/v1\nsize 5"
    done, _ = run_of(stack, repository, {"main.tf": HTTP_BACKEND, "big.txt": text})
    assert done.failure.startswith("The file “big.txt” is still in the form of a Git LFS pointer")


def test_without_git_lfs_the_run_fails_by_name_and_says_what_to_install(
    stack: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lfs, "PROGRAM", "git-lfs-of-another-machine")
    done, _ = run_of(stack, repository, {"main.tf": HTTP_BACKEND, "big.txt": pointer("a" * 64, 5)})
    assert done.failure.startswith(
        "The file “big.txt” is kept by Git LFS, and git-lfs is not installed on the worker's "
        "machine. Ask the operator to install it"
    )


def test_a_stack_may_leave_pointers_and_its_log_says_so(
    stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(fetches_lfs=False)
    files = {"main.tf": READS, "data/big.txt": pointer("a" * 64, 5), "z.txt": pointer("b" * 64, 5)}
    done, log = run_of(stack, repository, files)
    assert done.state == State.FINISHED, (done.failure, log)
    assert "git-lfs.github.com" in seen(done)
    assert (
        "The file “data/big.txt” and 1 more file are kept by Git LFS and not fetched, as the "
        "stack's behavior says" in log
    )


def test_text_about_pointers_and_large_files_are_none(stack: Stack, repository: Repository) -> None:
    version = "version https://git-lfs.github.com/spec/v1\n"
    files = {
        "main.tf": HTTP_BACKEND,
        "about.md": f"A pointer:\n{version}",
        "long.txt": version + "-" * 2000,
    }
    done, log = run_of(stack, repository, files)
    assert done.state == State.FINISHED, (done.failure, log)
    assert "LFS" not in log
