"""Which files an archive holds: those of a module's folder at one commit, links followed.

Pure. What the tree of a commit says is anybody's: names, links and sizes mean no harm only once
they went through `files_of`.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from stacks.execution.output.terminal import harmless

MEGABYTE = 1024 * 1024
LARGEST = 64 * MEGABYTE  # of all files together, as links are followed
MOST_FILES = 10_000
LONGEST_PATH = 500  # bytes
LONGEST_SHOWN = 120
MOST_FOLLOWED = 40  # links, from one to the next, as Linux has it
FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
# git itself has stored this mode, too, long ago.
MODES = {FILE: 0o644, "100664": 0o644, PROGRAM: 0o755}
LFS = b"version https://git-lfs.github.com/spec/v1"
LARGEST_POINTER = 1024  # bytes (Git LFS, “Specification”)


class NotArchivable(Exception):
    """A folder can't become an archive; the text says why, and what to do."""


@dataclass(frozen=True)
class Entry:
    """A file or link of a commit: git's mode, the object that has its content, its size."""

    mode: str
    object: str
    size: int


@dataclass(frozen=True)
class File:
    """A file of an archive; `mode` is that of its permissions."""

    content: bytes
    mode: int = 0o644


def read_listing(listed: bytes) -> dict[str, Entry]:
    """Return what `git ls-tree -r -z -l` printed, by path. Raises NotArchivable."""
    entries: dict[str, Entry] = {}
    for line in listed.split(b"\0")[:-1]:
        about, _, name = line.partition(b"\t")
        mode, _, digest, size = about.decode().split()
        path = _path(name)
        if path in entries:
            raise NotArchivable(f"The folder has “{shown(path)}” twice. Make a new commit of it.")
        entries[path] = Entry(mode, digest, 0 if size == "-" else int(size))
    for path in entries:
        if other := next((one for one in _parents(path) if one in entries), None):
            raise NotArchivable(
                f"“{shown(other)}” is a file and a folder. Make a new commit of it."
            )
    _check_size(sum(one.size for one in entries.values()), len(entries))
    for path, entry in entries.items():
        if entry.mode == SUBMODULE:
            raise NotArchivable(
                f"“{shown(path)}” is a submodule, and an archive holds only files of its own "
                f"commit. Replace it by the files, or move it out of the module's folder."
            )
        if entry.mode not in {*MODES, LINK}:
            raise NotArchivable(f"“{shown(path)}” has the mode {entry.mode}, which is unknown.")
    return entries


def files_of(entries: Mapping[str, Entry], contents: Mapping[str, bytes]) -> dict[str, File]:
    """Return the files of an archive by path; a link is the file or folder that it leads to.

    `contents` are those of the entries' objects. What unpacks archives for Terraform makes empty
    files of links, so there are none. Raises NotArchivable.
    """
    return _Tree(entries, contents).files()


def shown(path: str) -> str:
    """Return a path of a commit as people may read it."""
    text = "".join(one if one.isprintable() else "�" for one in harmless(path))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


class _Tree:
    """The entries of a folder, as they are followed into the files of an archive."""

    def __init__(self, entries: Mapping[str, Entry], contents: Mapping[str, bytes]) -> None:
        self.entries, self.contents = entries, contents
        self.found: dict[str, File] = {}
        self.size = 0
        self.folders: dict[str, list[str]] = {"": list(entries)}
        for path in entries:
            for folder in _parents(path):
                self.folders.setdefault(folder, []).append(path)

    def files(self) -> dict[str, File]:
        for path in self.entries:
            self._add(path, path, ())
        return self.found

    def _add(self, path: str, source: str, through: tuple[str, ...]) -> None:
        """Add what an entry holds at a path; `through` are the folders that links led to."""
        if len(path.encode()) > LONGEST_PATH:
            raise NotArchivable(
                f"“{shown(path)}” is longer than {LONGEST_PATH} bytes. Shorten its path."
            )
        target = self._resolved(source) if self._is_link(source) else source
        if target in self.entries:
            self._keep(path, target)
            return
        if target in through or _is_within(source, target):
            raise NotArchivable(
                f"The link “{shown(source)}” leads to a folder that holds it. Remove it."
            )
        for inner in self.folders[target]:
            below = inner[len(target) :].lstrip("/")
            self._add(f"{path}/{below}", inner, (*through, target))

    def _keep(self, path: str, source: str) -> None:
        entry = self.entries[source]
        content = self.contents[entry.object]
        if content.startswith(LFS) and len(content) < LARGEST_POINTER:
            raise NotArchivable(
                f"“{shown(source)}” is kept by Git LFS, and an archive holds only files of its own "
                f"commit. Commit the file itself, or move it out of the module's folder."
            )
        self.size += len(content)
        self.found[path] = File(content, MODES[entry.mode])
        _check_size(self.size, len(self.found))

    def _resolved(self, link: str) -> str:
        """Return the file or folder that a link leads to, through others. Raises NotArchivable."""
        place, rest, followed = link.split("/")[:-1], self._target(link, link), 1
        while rest:
            part = rest.pop(0)
            if part == ".." and not place:
                raise self._leads_out(link)
            if part == "..":
                place.pop()
            elif part not in {"", "."}:
                place.append(part)
            path = "/".join(place)
            if self._is_link(path):
                followed += 1
                if followed > MOST_FOLLOWED:
                    raise NotArchivable(f"The link “{shown(link)}” leads to itself. Remove it.")
                place.pop()
                rest = self._target(path, link) + rest
        path = "/".join(place)
        if path not in self.entries and path not in self.folders:
            raise NotArchivable(
                f"The link “{shown(link)}” leads to nothing. Remove it, or have it lead to a file "
                f"in the module's folder."
            )
        return path

    def _target(self, path: str, link: str) -> list[str]:
        """Return the parts of what a link says, which `link` led to. Raises NotArchivable."""
        target = self.contents[self.entries[path].object]
        if target.startswith(b"/") or len(target) > LONGEST_PATH or b"\\" in target:
            raise self._leads_out(link)
        return target.decode(errors="replace").split("/")

    def _leads_out(self, link: str) -> NotArchivable:
        target = self.contents[self.entries[link].object].decode(errors="replace")
        return NotArchivable(
            f"The link “{shown(link)}” leads out of the module's folder, to “{shown(target)}”. "
            f"Replace it by the file, or have it lead to a file in the folder."
        )

    def _is_link(self, path: str) -> bool:
        return path in self.entries and self.entries[path].mode == LINK


def _is_within(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _path(name: bytes) -> str:
    """Return the path of an entry. Raises NotArchivable where it may mean something else."""
    try:
        path = name.decode()
    except UnicodeDecodeError:
        told = shown(name.decode(errors="replace"))
        raise NotArchivable(f"The name “{told}” is not UTF-8. Rename the file.") from None
    parts = path.split("/")
    if any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise NotArchivable(f"“{shown(path)}” is no path of a file. Make a new commit of it.")
    if "\\" in path or not path.isprintable():
        raise NotArchivable(
            f"The name “{shown(path)}” has a backslash or a character that can't be printed, which "
            f"not every system can unpack. Rename the file."
        )
    return path


def _check_size(size: int, count: int) -> None:
    if size > LARGEST:
        raise NotArchivable(
            f"The folder has more than {LARGEST // MEGABYTE} MB. Move what the module doesn't need "
            f"out of it."
        )
    if count > MOST_FILES:
        raise NotArchivable(
            f"The folder has more than {MOST_FILES:,} files. Move what the module doesn't need out "
            f"of it."
        )


def _parents(path: str) -> list[str]:
    found = []
    while path := posixpath.dirname(path):
        found.append(path)
    return found
