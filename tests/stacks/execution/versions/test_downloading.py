"""Downloading versions from a mirror that is honest, broken, or an attacker's."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import User
from stacks.execution.isolation.sandbox import Stopped
from stacks.execution.versions import downloading, releases, signatures
from stacks.execution.versions.downloading import download, newest_release
from stacks.execution.versions.installed import programs_in_folder
from stacks.execution.versions.signatures import NotSigned, check_signature
from stacks.execution.versions.wanted import NoVersion
from stacks.lifecycle.actions import Action, act
from stacks.models import Stack, Tool
from stacks.rules.states import Kind, State
from stacks.rules.versions import read_constraint, read_version
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, log_of, pushed, work
from tests.stacks.execution.versions.mirror import Mirror, Signer, archive, mirror, signer

RELEASES = Path(__file__).parent / "releases"
pytestmark = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("gpgv")), reason="It needs gpg and gpgv."
)
# What says that it is a Terraform, and leaves a trace wherever it is run.
FAKE = b'#!/bin/sh\necho \'{"terraform_version": "%s"}\'\n'


def fake(version: str) -> bytes:
    return FAKE % version.encode()


def packed(version: str, **more: bytes) -> bytes:
    return archive("terraform", fake(version), **more)


def get(version: str = "1.9.0") -> Path:
    return download(Tool.TERRAFORM, read_version(version), lambda: False).path


def refused(version: str = "1.9.0") -> str:
    with pytest.raises(NoVersion) as caught:
        get(version)
    assert programs_in_folder(Tool.TERRAFORM) == []
    return str(caught.value)


@pytest.fixture(scope="module")
def makers() -> Iterator[Signer]:
    with signer("Makers <makers@example.com>") as made:
        yield made


@pytest.fixture(scope="module")
def attacker() -> Iterator[Signer]:
    with signer("Makers <makers@example.com>") as made:
        yield made


@pytest.fixture
def site(makers: Signer, tools_folder: Path, settings: Settings) -> Iterator[Mirror]:
    settings.TOOLS_DOWNLOAD = True
    settings.TERRAFORM_KEY = str(makers.key)
    with mirror(makers) as served:
        settings.TERRAFORM_MIRROR = served.url
        yield served


# The keys that we carry, and what was published


@pytest.mark.parametrize(
    ("key", "fingerprint"),
    [
        ("hashicorp.asc", "C874011F0AB405110D02105534365D9472D7468F"),
        ("opentofu.asc", "E3E6E43D84CB852EADB0051D0C0AF313E5FD9F80"),
    ],
)
def test_the_keys_are_those_that_the_makers_publish(
    key: str, fingerprint: str, tmp_path: Path
) -> None:
    shown = ["gpg", "--homedir", str(tmp_path), "--with-colons", "--show-keys"]
    said = subprocess.run(
        [*shown, str(releases.KEYS / key)], check=True, capture_output=True, text=True
    )
    lines = [line.split(":") for line in said.stdout.splitlines()]
    assert next(line[9] for line in lines if line[0] == "fpr") == fingerprint
    assert sum(line[0] == "pub" for line in lines) == 1


@pytest.mark.parametrize(
    ("sums", "key", "other"),
    [
        ("terraform_1.9.8_SHA256SUMS", "hashicorp.asc", "opentofu.asc"),
        ("tofu_1.8.5_SHA256SUMS", "opentofu.asc", "hashicorp.asc"),
    ],
)
def test_real_releases_are_signed_by_them_and_nothing_else_is(
    sums: str, key: str, other: str
) -> None:
    content = (RELEASES / sums).read_bytes()
    signature = bytes.fromhex((RELEASES / f"{sums}.sig.hex").read_text())
    check_signature(content, signature, releases.KEYS / key)
    flipped = bytes([content[0] ^ 1]) + content[1:]
    for changed, signed, by in (
        (flipped, signature, key),
        (content + b"\n", signature, key),
        (content, signature, other),
        (content, signature[:-1] + b"\0", key),
        (content, b"", key),
        (content, b"[GNUPG:] GOODSIG\n[GNUPG:] VALIDSIG\n", key),
    ):
        with pytest.raises(NotSigned):
            check_signature(changed, signed, releases.KEYS / by)


def test_the_official_sites_are_asked_where_there_is_no_mirror(settings: Settings) -> None:
    terraform, tofu = releases.site_of(Tool.TERRAFORM), releases.site_of(Tool.OPENTOFU)
    assert terraform.folder.format("1.9.8") == "https://releases.hashicorp.com/terraform/1.9.8"
    assert terraform.index == "https://releases.hashicorp.com/terraform/index.json"
    assert tofu.folder.format("1.8.5") == (
        "https://github.com/opentofu/opentofu/releases/download/v1.8.5"
    )
    assert tofu.index == "https://get.opentofu.org/tofu/api.json"
    settings.TOFU_MIRROR = "https://mirror.example.com/tofu"
    assert releases.site_of(Tool.OPENTOFU).index == "https://mirror.example.com/tofu/api.json"


# An honest mirror


def test_a_run_downloads_the_version_that_it_wants_and_its_apply_does_so_again(
    site: Mirror,
    stack: Stack,
    repository: Repository,
    default: str,
    bob: User,
    settings: Settings,
    tools_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.release(default, archive("terraform", Path(settings.TERRAFORM_BIN).read_bytes()))
    monkeypatch.setattr("stacks.execution.versions.installed.binary", lambda tool: None)
    Stack.objects.update(tool_version="~> 1.0")
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + 'output "a" {\n  value = 1\n}\n'})
    (done,) = work()
    assert done.state == State.UNCONFIRMED, done.failure + log_of(run)
    assert done.tool_version == default
    shutil.rmtree(tools_folder / "terraform")
    act(done, Action.CONFIRM, bob, "")
    (applied,) = work()
    assert applied.state == State.FINISHED, applied.failure + log_of(run)


def test_a_version_is_downloaded_once(site: Mirror, tools_folder: Path) -> None:
    site.release("1.9.0", packed("1.9.0"))
    path = get()
    assert path == tools_folder / "terraform" / "1.9.0" / "terraform" == get()
    assert len(site.asked) == 4  # one of the two names of signatures is not there
    assert [one.name for one in path.parent.iterdir()] == ["terraform"]
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777 == 0o755
    assert sorted(one.name for one in path.parent.parent.iterdir()) == [".lock", "1.9.0"]


def test_workers_that_want_the_same_version_download_it_once(site: Mirror) -> None:
    folder = site.release("1.9.0", packed("1.9.0"))
    with ThreadPoolExecutor(4) as workers:
        assert len(set(workers.map(lambda _: get(), range(4)))) == 1
    assert site.asked.count(f"{folder}/terraform_1.9.0_SHA256SUMS") == 1


def test_whoever_waits_for_another_worker_can_be_stopped(site: Mirror, tools_folder: Path) -> None:
    site.release("1.9.0", packed("1.9.0"))
    (tools_folder / "terraform").mkdir()
    with (tools_folder / "terraform" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the other worker does
        with pytest.raises(Stopped):
            download(Tool.TERRAFORM, read_version("1.9.0"), lambda: True)
    assert site.asked == [] and get().exists()


def test_the_newest_release_that_meets_a_constraint_is_found(site: Mirror) -> None:
    for version in ("1.9.0", "1.10.2", "1.10.10", "1.11.0-rc1", "2.0.0"):
        site.release(version, b"")
    for constraint, newest in (("~> 1.9", "1.10.10"), ("< 1.10", "1.9.0"), (">= 1.11", "2.0.0")):
        found = newest_release(Tool.TERRAFORM, read_constraint(constraint), lambda: False)
        assert str(found) == newest
    assert str(newest_release(Tool.TERRAFORM, None, lambda: False)) == "2.0.0"
    assert newest_release(Tool.TERRAFORM, read_constraint("> 2"), lambda: False) is None
    site.asked.clear()
    exact = newest_release(Tool.TERRAFORM, read_constraint("1.11.0-rc1"), lambda: False)
    assert (str(exact), site.asked) == ("1.11.0-rc1", [])


def test_what_a_killed_worker_left_is_removed(site: Mirror, tools_folder: Path) -> None:
    site.release("1.9.0", packed("1.9.0"))
    left = tools_folder / "terraform" / ".new-left"
    left.mkdir(parents=True)
    (left / "archive").write_text("half")
    get()
    assert not left.exists()


# A broken one


@pytest.mark.parametrize("ending", ["SUMS", "SUMS.sig", ".zip"])
def test_a_file_that_is_missing_is_no_version(site: Mirror, ending: str) -> None:
    site.release("1.9.0", packed("1.9.0"))
    (path,) = [path for path in site.files if path.endswith(ending)]
    del site.files[path]
    assert "127.0.0.1 has no such version" in refused()


def test_a_mirror_that_is_down_is_named(site: Mirror, settings: Settings) -> None:
    settings.TERRAFORM_MIRROR = "http://127.0.0.1:9"
    assert refused() == (
        "Terraform 1.9.0 could not be downloaded: 127.0.0.1 did not answer as expected. Retry the "
        "run, or ask the operator to install a version in TOOLS_FOLDER."
    )
    with pytest.raises(NoVersion, match="the list of versions of"):
        newest_release(Tool.TERRAFORM, None, lambda: False)


@pytest.mark.parametrize("index", [b"", b"[]", b'{"versions": 1}', b"[" * 1000, b'{"a": "\xff"}'])
def test_a_list_that_is_none_is_named(site: Mirror, index: bytes) -> None:
    site.files["/terraform/index.json"] = index
    with pytest.raises(NoVersion, match="the list of versions of"):
        newest_release(Tool.TERRAFORM, None, lambda: False)


def test_names_in_the_list_that_are_no_versions_are_ignored(site: Mirror) -> None:
    site.files["/terraform/index.json"] = b'{"versions": {"../../bin": {}, "1.9.0": {}, "2": {}}}'
    assert str(newest_release(Tool.TERRAFORM, None, lambda: False)) == "1.9.0"


# An attacker's


def test_checksums_that_somebody_else_signed_are_refused(site: Mirror, attacker: Signer) -> None:
    site.signer = attacker
    site.release("1.9.0", packed("1.9.0"))
    assert "its checksums are not signed by the key in key.asc" in refused()
    assert not any(path.endswith(".zip") for path in site.asked)


def test_another_archive_than_the_signed_one_is_refused(site: Mirror) -> None:
    site.release("1.9.0", packed("1.9.0"))
    (path,) = [path for path in site.files if path.endswith(".zip")]
    site.files[path] = packed("1.9.0", evil=b"1")
    assert "its checksum is wrong" in refused()


def test_an_older_release_in_place_of_the_wanted_one_is_refused(site: Mirror) -> None:
    old = site.release("1.5.0", packed("1.5.0"))
    for path in [path for path in site.files if path.startswith(old)]:
        site.files[path.replace("1.5.0", "1.9.0")] = site.files[path]
    assert "its signed checksums don't name terraform_1.9.0_linux_" in refused()


def test_a_signed_archive_of_another_version_is_refused(site: Mirror) -> None:
    site.release("1.9.0", packed("1.5.0"))
    assert "is Terraform 1.5.0" in refused()


@pytest.mark.parametrize(
    "content",
    [
        b"no zip",
        archive("../terraform", b"x"),
        archive("/usr/bin/terraform", b"x"),
        archive("bin/terraform", b"x"),
        archive("terraform/", b""),
    ],
)
def test_an_archive_without_the_program_at_its_top_is_refused(
    site: Mirror, content: bytes, tools_folder: Path
) -> None:
    site.release("1.9.0", content)
    assert "its archive holds no program terraform" in refused()
    assert [one.name for one in tools_folder.rglob("*")] == ["terraform", ".lock"]


def test_nothing_but_the_program_leaves_the_archive(site: Mirror, tools_folder: Path) -> None:
    more = {"../../evil": b"1", "/etc/stackhook-evil": b"1", "1.8.0/terraform": b"1"}
    site.release("1.9.0", packed("1.9.0", **more))
    get()
    assert [one.name for one in tools_folder.rglob("*") if one.is_file()] == [".lock", "terraform"]
    assert not Path("/etc/stackhook-evil").exists() and not (tools_folder.parent / "evil").exists()


@pytest.mark.parametrize("limit", ["LARGEST_ARCHIVE", "LARGEST_PROGRAM", "LARGEST_SUMS"])
def test_what_is_too_large_is_refused(
    site: Mirror, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    site.release("1.9.0", packed("1.9.0"))
    monkeypatch.setattr(downloading, limit, 10)
    refused()


def test_no_redirect_leads_to_another_protocol_or_service(site: Mirror, makers: Signer) -> None:
    folder = site.release("1.9.0", packed("1.9.0"))
    path = f"{folder}/terraform_1.9.0_SHA256SUMS"
    with mirror(makers) as other:
        other.files |= site.files
        for target in (f"{other.url}{path}", f"//{other.url[7:]}{path}", "file:///etc/passwd"):
            site.redirects[path] = target
            assert "127.0.0.1 did not answer as expected" in refused()
        assert other.asked == []


def test_redirects_end(site: Mirror) -> None:
    folder = site.release("1.9.0", packed("1.9.0"))
    path = f"{folder}/terraform_1.9.0_SHA256SUMS"
    site.redirects[path] = path
    assert "did not answer as expected" in refused()
    assert len(site.asked) == downloading.MOST_REDIRECTS + 1


def test_code_can_not_fill_the_disk_with_versions(
    site: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "MOST_VERSIONS", 2)
    for version in ("1.7.0", "1.8.0", "1.9.0"):
        site.release(version, packed(version))
    assert get("1.7.0") and get("1.8.0")
    with pytest.raises(NoVersion, match="TOOLS_FOLDER has 2 versions already"):
        get("1.9.0")
    assert get("1.7.0")


def test_a_pull_request_leaves_room_for_the_versions_of_others(
    site: Mirror, stack: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "MOST_FOR_PROPOSED_CODE", 1)
    for version in ("1.7.0", "1.8.0", "1.9.0"):
        site.release(version, packed(version))

    def downloads(version: str, kind: Kind, chosen: str = "") -> str:
        """Have a run of a kind ask for a version in its code, or in its stack's settings."""
        Stack.objects.update(tool_version=chosen)
        files: dict[str, str | None] = {"main.tf": HTTP_BACKEND, ".terraform-version": version}
        run = pushed(stack, repository, files, kind)
        work()
        run.refresh_from_db()
        return run.failure

    there = "TOOLS_FOLDER is half full, and the code of pull requests adds no more"
    assert there not in downloads("1.7.0", Kind.PROPOSED)
    assert there in downloads("1.8.0", Kind.PROPOSED)
    assert [str(one.version) for one in programs_in_folder(Tool.TERRAFORM)] == ["1.7.0"]
    downloads("1.8.0", Kind.TRACKED)
    downloads("", Kind.PROPOSED, chosen="1.9.0")
    names = sorted(str(one.version) for one in programs_in_folder(Tool.TERRAFORM))
    assert names == ["1.7.0", "1.8.0", "1.9.0"]


def test_nothing_is_downloaded_where_the_operator_does_not_allow_it(
    site: Mirror, settings: Settings, stack: Stack, repository: Repository
) -> None:
    settings.TOOLS_DOWNLOAD = False
    site.release("1.9.0", packed("1.9.0"))
    pushed(stack, repository, {"main.tf": HTTP_BACKEND, ".terraform-version": "1.9.0"})
    (run,) = work()
    assert run.failure.startswith("Terraform 1.9.0 (from .terraform-version) is not on the worker")
    assert site.asked == []


def test_without_gpgv_nothing_is_trusted(site: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    site.release("1.9.0", packed("1.9.0"))
    monkeypatch.setattr(signatures, "SYSTEM_PATH", "/nowhere")
    assert not signatures.is_available()
    assert "gpgv did not work" in refused()
