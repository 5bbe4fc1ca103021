"""Downloading a version of Terraform or OpenTofu, once for all workers of a machine.

Nothing that was downloaded is run or kept unless its checksum is in a list that the tool's makers,
or the operator's mirror, signed. The list of versions is not signed: whoever can change it can
hide a version, and name none that is not signed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests

from core import bounded_json
from stacks.execution.isolation.sandbox import Stopped
from stacks.execution.isolation.system import MEGABYTE
from stacks.execution.tools.terraform import PROGRAMS
from stacks.execution.versions.installed import (
    Program,
    check_version,
    folder_of,
    program_in_folder,
    programs_in_folder,
)
from stacks.execution.versions.releases import Site, archive_of, listed_versions, site_of
from stacks.execution.versions.signatures import NotSigned, check_signature
from stacks.execution.versions.wanted import NoVersion
from stacks.models import Tool
from stacks.rules.versions import Constraint, Version

LARGEST_INDEX = 32 * MEGABYTE
MOST_INDEX_PARTS = 500_000
LARGEST_SUMS = MEGABYTE
LARGEST_SIGNATURE = MEGABYTE // 16
LARGEST_ARCHIVE = 256 * MEGABYTE
LARGEST_PROGRAM = 512 * MEGABYTE
# Code says which version it wants, so that anybody could have all there are downloaded. Code that
# nobody approved gets only the first half of the room.
MOST_VERSIONS = 50
MOST_FOR_PROPOSED_CODE = 25
SECONDS = 900  # for all of a file
TIMEOUTS = (15, 60)  # seconds to connect, and between two parts of an answer
MOST_REDIRECTS = 5
LOOK_EVERY = 0.1
UNFINISHED = ".new-"


class _NotThere(Exception):
    """A site has no such file."""


@dataclass(frozen=True)
class _Download:
    """What downloading a version needs everywhere; it ends when nobody wants it any more."""

    tool: Tool
    site: Site
    is_unwanted: Callable[[], bool]

    def look(self) -> None:
        if self.is_unwanted():
            raise Stopped

    def failed(self, what: object, reason: str) -> NoVersion:
        return NoVersion(
            f"{self.tool.label} {what} could not be downloaded: {reason}. Retry the run, or ask "
            f"the operator to install a version in TOOLS_FOLDER."
        )


def newest_release(
    tool: Tool, constraint: Constraint | None, is_unwanted: Callable[[], bool]
) -> Version | None:
    """Return the newest release that meets a constraint; None if there is none.

    The list is not asked where the constraint names one version. Raises NoVersion and Stopped.
    """
    if constraint and constraint.exact:
        return constraint.exact if constraint.allows(constraint.exact) else None
    download = _Download(tool, site_of(tool), is_unwanted)
    try:
        content = _read(download, download.site.index, LARGEST_INDEX)
        versions = listed_versions(bounded_json.loads(content, MOST_INDEX_PARTS))
    except (_NotThere, ValueError, requests.RequestException) as error:
        reason = f"the list of versions of {urlsplit(download.site.index).hostname} can't be read"
        raise download.failed("releases", reason) from error
    allowed = [one for one in versions if constraint is None or constraint.allows(one)]
    return max((one for one in allowed if not one.prerelease), default=None)


def download(
    tool: Tool,
    version: Version,
    is_unwanted: Callable[[], bool],
    *,
    is_for_proposed_code: bool = False,
) -> Program:
    """Put a version into TOOLS_FOLDER, verified, unless another worker did; return its program.

    `is_for_proposed_code` says that only code which nobody approved asks for it. Raises
    NoVersion, which says why it was not possible, and Stopped.
    """
    wanted = _Download(tool, site_of(tool), is_unwanted)
    folder = folder_of(tool)
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)  # whatever the umask is
        with _locked(wanted, folder):
            if found := program_in_folder(tool, version):
                check_version(found)
                return found
            _remove_unfinished(folder)
            _check_room(wanted, version, is_for_proposed_code)
            with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as new:
                return _install(wanted, version, Path(new))
    except _NotThere as error:
        reason = f"{urlsplit(wanted.site.folder).hostname} has no such version"
        raise wanted.failed(version, reason) from error
    except NotSigned as error:
        raise wanted.failed(version, str(error)) from error
    except requests.RequestException as error:
        reason = f"{urlsplit(wanted.site.folder).hostname} did not answer as expected"
        raise wanted.failed(version, reason) from error
    except OSError as error:
        raise wanted.failed(version, f"TOOLS_FOLDER: {error.strerror}") from error


@contextmanager
def _locked(wanted: _Download, folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, for which one worker of the machine waits for another."""
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wanted.look()
                time.sleep(LOOK_EVERY)
        yield
    finally:
        os.close(lock)


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed workers left."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _check_room(wanted: _Download, version: Version, is_for_proposed_code: bool) -> None:
    """Raise NoVersion where there are too many versions."""
    there = len(programs_in_folder(wanted.tool))
    if there >= MOST_VERSIONS:
        reason = f"TOOLS_FOLDER has {there} versions already; the operator may remove some"
        raise wanted.failed(version, reason)
    if is_for_proposed_code and there >= MOST_FOR_PROPOSED_CODE:
        reason = (
            "TOOLS_FOLDER is half full, and the code of pull requests adds no more; name the "
            "version in the stack's settings"
        )
        raise wanted.failed(version, reason)


def _install(wanted: _Download, version: Version, new: Path) -> Program:
    """Download and verify a version in a folder of its own, and move it to its place at once."""
    name = archive_of(wanted.tool, version)
    if name is None:
        raise wanted.failed(version, "there is none for this machine's architecture")
    address = wanted.site.folder.format(version)
    expected = _signed_sum(wanted, f"{address}/{PROGRAMS[wanted.tool]}_{version}_SHA256SUMS", name)
    with (new / "archive").open("w+b") as archive:
        found = _save(wanted, f"{address}/{name}", archive)
        if found != expected:
            raise wanted.failed(version, "its checksum is wrong")
        path = new / "version" / PROGRAMS[wanted.tool]
        path.parent.mkdir()
        path.parent.chmod(0o755)
        if not _unpack(archive, path):
            raise wanted.failed(version, f"its archive holds no program {path.name}")
    check_version(Program(wanted.tool, version, path))
    target = new.parent / str(version)
    if target.exists():  # without a program that could be started
        raise wanted.failed(version, f"{target} is in the way")
    path.parent.rename(target)
    return Program(wanted.tool, version, target / path.name)


def _signed_sum(wanted: _Download, address: str, name: str) -> str:
    """Return the checksum of a file, from a list at an address that is signed.

    Raises NotSigned where it is not signed, or does not name the file.
    """
    sums = _read(wanted, address, LARGEST_SUMS)
    for position, ending in enumerate(wanted.site.signatures, start=1):
        try:
            signature = _read(wanted, f"{address}{ending}", LARGEST_SIGNATURE)
            break
        except _NotThere:
            if position == len(wanted.site.signatures):
                raise
    check_signature(sums, signature, wanted.site.key)
    found = re.search(rb"^([0-9a-f]{64})  " + re.escape(name.encode()) + rb"$", sums, re.MULTILINE)
    if found is None:
        raise NotSigned(f"its signed checksums don't name {name}")
    return found[1].decode()


def _unpack(archive: IO[bytes], path: Path) -> bool:
    """Write the one program of an archive; say whether there is one, no larger than allowed."""
    try:
        with zipfile.ZipFile(archive) as opened:
            named = [one for one in opened.infolist() if one.filename == path.name]
            if len(named) != 1 or named[0].file_size > LARGEST_PROGRAM:
                return False
            with opened.open(named[0]) as packed, path.open("wb") as program:
                shutil.copyfileobj(packed, program, MEGABYTE)
                os.fchmod(program.fileno(), 0o755)
                program.flush()
                os.fsync(program.fileno())
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        return False
    return True


def _read(wanted: _Download, address: str, most: int) -> bytes:
    """Return what is at an address. Raises _NotThere, RequestException and Stopped."""
    return b"".join(_parts(wanted, address, most))


def _save(wanted: _Download, address: str, file: IO[bytes]) -> str:
    """Write what is at an address into a file; return its SHA-256. Raises like `_read`."""
    sum_ = hashlib.sha256()
    for part in _parts(wanted, address, LARGEST_ARCHIVE):
        file.write(part)
        sum_.update(part)
    return sum_.hexdigest()


def _parts(wanted: _Download, address: str, most: int) -> Iterator[bytes]:
    until, read = time.monotonic() + SECONDS, 0
    with _opened(wanted, address) as answer:
        for part in answer.iter_content(64 * 1024):
            wanted.look()
            read += len(part)
            if read > most or time.monotonic() > until:
                raise requests.RequestException("It is too large, or took too long.")
            yield part


@contextmanager
def _opened(wanted: _Download, address: str) -> Iterator[requests.Response]:
    """Ask for an address, and follow redirects to no other protocol."""
    with requests.Session() as session:
        for _ in range(MOST_REDIRECTS + 1):
            wanted.look()
            if not _is_safe(wanted.site, address):
                raise requests.RequestException("It leads to an address without https.")
            asked = session.get(address, stream=True, timeout=TIMEOUTS, allow_redirects=False)
            with asked as answer:
                if answer.is_redirect:
                    address = urljoin(address, answer.headers["Location"])
                    continue
                if answer.status_code in {403, 404}:  # what some hosts of files say instead
                    raise _NotThere
                answer.raise_for_status()
                yield answer
                return
        raise requests.TooManyRedirects


def _is_safe(site: Site, address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    is_of_mirror = (parts.scheme, parts.netloc) == urlsplit(site.folder)[:2]
    return parts.scheme == "https" or (site.is_local and is_of_mirror)
