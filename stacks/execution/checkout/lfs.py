"""Files that Git LFS keeps elsewhere: fetched with git-lfs, so that no pointer is planned.

A commit has a small text, the pointer, in place of such a file. git-lfs is run in a repository of
its own that holds nothing but the pointers: no .lfsconfig or .gitattributes of the code is read.
"""

import os
import time
from collections.abc import Mapping, Sequence

from stacks.execution.checkout.submodules import shown
from stacks.execution.checkout.workspace import CODE, SECONDS, Git, NotFetched
from stacks.execution.isolation.sandbox import LimitReached

PROGRAM = "git-lfs"
SWITCH_OFF = (
    "If the stack doesn't need it, switch off “Fetch Git LFS files” in the stack's behavior."
)
NOT_INSTALLED = 42
# Git LFS, "Specification": a pointer has less than 1,024 bytes, and begins with its version.
FIND = """
find code -type f -size -3 -exec sh -c '
  for file; do
    first=
    IFS= read -r first < "$file"
    case $first in
      "version https://git-lfs.github.com/spec/v1"*) printf "%s\\\\0" "$file";;
    esac
  done
' find {} +
"""
# $1 lists pointers, $2 is git-lfs, $3 what to end with where that is not installed.
FETCH = """
set -e
command -v "$2" > found || exit "$3"
git init --quiet --bare --template= lfs
xargs -0 -a "$1" git --git-dir=lfs hash-object -w --no-filters -- > objects
number=0
while read -r object; do
  number=$((number + 1))
  printf "100644 blob %s\\t%s\\n" "$object" "$number"
done < objects > tree
tree=$(git --git-dir=lfs mktree < tree)
commit=$(git --git-dir=lfs -c user.name=- -c user.email=- commit-tree -m pointers "$tree")
git --git-dir=lfs lfs fetch origin "$commit"
xargs -0 -a "$1" sh -c '
  for file; do
    object=$(sed -n "s/^oid sha256:\\([0-9a-f]\\{64\\}\\)$/\\1/p" "$file")
    rest=${object#??}
    last=${rest#??}
    stored=lfs/lfs/objects/${object%"$rest"}/${rest%"$last"}/$object
    [ ! -f "$stored" ] || cat "$stored" > "$file"
  done
' fetch
rm -rf lfs objects tree found
"""


def find_command() -> list[str]:
    """Return the command that lists the pointers in the code."""
    return ["sh", "-c", FIND]


def read_pointers(listed: bytes, code: int) -> list[str]:
    """Return the pointers that were listed, by their paths in the workspace. Raises NotFetched."""
    if code:
        raise NotFetched(f"The code could not be searched for Git LFS files. {SWITCH_OFF}")
    return sorted(os.fsdecode(path) for path in listed.split(b"\0") if path)


def complete(git: Git, pointers: Sequence[str], submodules: Mapping[str, str]) -> bool:
    """Fetch the files of Git LFS in a run's code, as its stack says; say whether there were any.

    `submodules` are the addresses of those that were fetched, by folder. Raises NotFetched,
    LimitReached and Stopped.
    """
    if not pointers:
        return False
    if not git.run.stack.fetches_lfs:
        are = _are(pointers)
        git.log.say(f"{are} kept by Git LFS and not fetched, as the stack's behavior says")
        return False
    until = time.monotonic() + SECONDS
    for address, files in _by_address(git, pointers, submodules).items():
        _fetch(git, address, files, until - time.monotonic())
    return True


def check_complete(left: Sequence[str]) -> None:
    """Raise NotFetched if pointers are left where their files were fetched."""
    if left:
        raise NotFetched(
            f"{_are(left)} still in the form of a Git LFS pointer, which may be damaged. Commit it "
            f"again with git-lfs. {SWITCH_OFF}"
        )


def _by_address(
    git: Git, files: Sequence[str], submodules: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the files of each repository: of the innermost submodule that they are in."""
    addresses = {CODE: git.run.repository.clone_url} | dict(submodules)
    found: dict[str, list[str]] = {}
    for file in files:
        folders = [folder for folder in addresses if file.startswith(f"{folder}/")]
        found.setdefault(addresses[max(folders, key=len)], []).append(file)
    return found


def _fetch(git: Git, address: str, files: Sequence[str], seconds: float) -> None:
    """Replace the pointers of one repository with their files."""
    if seconds <= 0:
        raise LimitReached(f"Its Git LFS files took more than {SECONDS // 60} minutes.")
    noun = "file" if len(files) == 1 else "files"
    git.log.say(f"Fetching {len(files)} Git LFS {noun} of {address}")
    listed = git.sandbox.provide("pointers", b"\0".join(map(os.fsencode, files)))
    configuration = {
        # What git-lfs itself makes of an address.
        "lfs.url": f"{address.removesuffix('.git')}.git/info/lfs",
        "remote.origin.url": address,
        "lfs.transfer.maxretries": "2",
    }
    command = ["sh", "-c", FETCH, "fetch", listed, PROGRAM, str(NOT_INSTALLED)]
    code = git.call(command, address, configuration, {}, seconds)
    if code == NOT_INSTALLED:
        raise NotFetched(
            f"{_are(files)} kept by Git LFS, and git-lfs is not installed on the worker's machine. "
            f"Ask the operator to install it (on Debian: apt-get install git-lfs). {SWITCH_OFF}"
        )
    if code:
        raise git.failed(f"{_are(files)} kept by Git LFS and could not be fetched.", SWITCH_OFF)


def _are(files: Sequence[str]) -> str:
    """Return the beginning of a sentence about files."""
    first = f"“{shown(files[0].removeprefix(f'{CODE}/'))}”"
    more = len(files) - 1
    if not more:
        return f"The file {first} is"
    return f"The file {first} and {more} more {'file' if more == 1 else 'files'} are"
