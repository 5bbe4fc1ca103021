"""Git objects as files, written and read without starting git: thousands of pushes a minute."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

_TREE_MODE, _FILE_MODE = b"40000", b"100644"
Edits: TypeAlias = dict[bytes, "Edits | bytes | None"]
_Entries: TypeAlias = dict[bytes, tuple[bytes, str]]


class ObjectStore:
    """The object folder of a bare repository."""

    def __init__(self, repository: Path, run: Callable[..., bytes]) -> None:
        self._repository = repository
        self._run = run

    def write(self, kind: str, content: bytes) -> str:
        """Keep an object, unless it is there already, and return its sha."""
        data = b"%s %d\0" % (kind.encode(), len(content)) + content
        sha = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        path = self._path(sha)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f"tmp_obj_{secrets.token_hex(8)}")
            partial.write_bytes(zlib.compress(data, 1))
            partial.rename(path)
        return sha

    def read(self, sha: str) -> tuple[str, bytes] | None:
        """Return the kind and the bytes of an object, or None if there is no such object."""
        try:
            data = zlib.decompress(self._path(sha).read_bytes())
        except FileNotFoundError:
            return self._read_packed(sha)
        head, _, content = data.partition(b"\0")
        return head.split()[0].decode(), content

    def edit_tree(self, tree: str | None, edits: Edits) -> str | None:
        """Write the tree that edits make of another; None if nothing is left in it.

        An edit is the new content of a file, None for a deletion, or the edits of a folder.
        """
        entries = self._entries(tree) if tree else {}
        for name, edit in edits.items():
            if isinstance(edit, bytes):
                entries[name] = (_FILE_MODE, self.write("blob", edit))
                continue
            folder = self._edit_folder(entries.get(name), edit) if edit is not None else None
            if folder:
                entries[name] = (_TREE_MODE, folder)
            else:
                entries.pop(name, None)
        return self._write_tree(entries) if entries else None

    def empty_tree(self) -> str:
        """Write the tree without entries."""
        return self._write_tree({})

    def _edit_folder(self, entry: tuple[bytes, str] | None, edits: Edits) -> str | None:
        is_folder = entry is not None and entry[0] == _TREE_MODE
        return self.edit_tree(entry[1] if entry and is_folder else None, edits)

    def _write_tree(self, entries: _Entries) -> str:
        def key(name: bytes) -> bytes:
            return name + b"/" if entries[name][0] == _TREE_MODE else name

        lines = [
            b"%s %s\0%s" % (entries[name][0], name, bytes.fromhex(entries[name][1]))
            for name in sorted(entries, key=key)
        ]
        return self.write("tree", b"".join(lines))

    def _entries(self, tree: str) -> _Entries:
        found = self.read(tree)
        content = found[1] if found else b""
        entries: _Entries = {}
        start = 0
        while start < len(content):
            end = content.index(b"\0", start)
            mode, _, name = content[start:end].partition(b" ")
            entries[name] = (mode, content[end + 1 : end + 21].hex())
            start = end + 21
        return entries

    def _path(self, sha: str) -> Path:
        return self._repository / "objects" / sha[:2] / sha[2:]

    def _read_packed(self, sha: str) -> tuple[str, bytes] | None:
        """Let git read what a pack contains."""
        output = self._run("cat-file", "--batch", stdin=f"{sha}\n".encode())
        head, _, content = output.partition(b"\n")
        fields = head.decode().split()
        return (fields[1], content[: int(fields[2])]) if len(fields) == 3 else None


def edits_of(files: Mapping[str, str | None]) -> Edits:
    """Return files by path (None deletes one) as edits; ValueError for an unusable path."""
    edits: Edits = {}
    for path, content in files.items():
        *folders, name = parts = path.strip("/").encode().split(b"/")
        if any(part in (b"", b".", b"..", b".git") or b"\0" in part for part in parts):
            raise ValueError(f"'{path}' is not a path that git takes.")
        here = edits
        for folder in folders:
            inner = here.get(folder)
            if not isinstance(inner, dict):
                inner = here[folder] = {}
            here = inner
        here[name] = None if content is None else content.encode()
    return edits
