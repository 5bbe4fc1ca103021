"""Git itself, through subprocess: bare repositories, commits, refs, history and differences."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

NO_OBJECT = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_LOG_FORMAT = "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x1e"
_SETTINGS = {
    "receive.autogc": "false",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
}


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which git reads no configuration but the repository's own."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }


class GitError(Exception):
    """Git refused; the text is what it wrote to standard error."""


@dataclass(frozen=True)
class Signature:
    """Who made a commit, and when."""

    name: str
    email: str
    date: datetime


@dataclass(frozen=True)
class Commit:
    """One commit as `git log` shows it."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True)
class Change:
    """One changed path between two trees; `letter` is git's status (A, M, D, R, T)."""

    letter: str
    is_folder: bool
    old_object: str
    new_object: str
    path: str
    old_path: str | None = None


@dataclass(frozen=True)
class Ref:
    """One ref; `peeled` is the commit an annotated tag points at."""

    name: str
    sha: str
    peeled: str | None


@dataclass(frozen=True)
class Entry:
    """One path in the tree of a commit."""

    kind: str
    sha: str


class GitRepository:
    """A bare repository on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one git command in the repository and return what it printed."""
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *arguments],
            input=stdin,
            capture_output=True,
            env=environment(),
            check=False,
        )
        if done.returncode != 0:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _text(self, *arguments: str, stdin: bytes = b"") -> str:
        return self.run(*arguments, stdin=stdin).decode(errors="replace")

    def create(self) -> None:
        """Make the empty repository on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.run("init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
        for key, value in _SETTINGS.items():
            self.run("config", key, value)

    # Writing

    def commit_files(
        self,
        branch: str,
        files: Mapping[str, str | None],
        message: str,
        author: str,
        parent: str | None,
        date: datetime,
    ) -> str:
        """Put one commit on a branch and return its sha; a file that is None is deleted."""
        ref = f"refs/heads/{branch}"
        self.run("check-ref-format", ref)
        stamp = f"{author} {int(date.timestamp())} +0000"
        lines = [
            f"commit {ref}\nauthor {stamp}\ncommitter {stamp}\n".encode(),
            _data(message.encode()),
        ]
        if parent:
            lines.append(f"from {parent}\n".encode())
        for path, content in files.items():
            lines.append(_file_command(path.strip("/"), content))
        self.run("fast-import", "--quiet", "--force", stdin=b"".join(lines))
        return self._text("rev-parse", ref).strip()

    def set_default_branch(self, ref: str) -> None:
        """Let HEAD name the ref."""
        self.run("symbolic-ref", "HEAD", ref)

    def delete_ref(self, ref: str) -> None:
        """Delete a ref that exists."""
        self.run("update-ref", "-d", ref)

    # Reading

    def refs(self) -> list[Ref]:
        """Return all refs in order of their names."""
        output = self._text("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
        found = []
        for line in output.splitlines():
            name, sha, peeled = line.split(" ")
            found.append(Ref(name, sha, peeled or None))
        return sorted(found, key=lambda ref: ref.name)

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a revision names, or None."""
        try:
            return self._text("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
        except GitError:
            return None

    def log(self, *arguments: str) -> list[Commit]:
        """Return commits in `git log` order; the arguments are those of `git log`."""
        output = self._text("log", _LOG_FORMAT, *arguments)
        return [_commit(record) for record in output.split("\x1e") if record.strip()]

    def new_commits(self, added: Iterable[str], known: Iterable[str]) -> list[str]:
        """Return the commits reachable from `added` but not from `known`, newest first."""
        wanted = [sha for sha in added if self.resolve(sha)]
        if not wanted:
            return []
        lines = wanted + [f"^{sha}" for sha in known]
        return self._text("rev-list", "--stdin", stdin="\n".join(lines).encode()).split()

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor, or None for unrelated histories."""
        try:
            return self._text("merge-base", one, other).strip()
        except GitError:
            return None

    def ahead_behind(self, base: str, target: str) -> tuple[int, int]:
        """Return how many commits the target has that the base lacks, and the reverse."""
        counts = self._text("rev-list", "--left-right", "--count", f"{base}...{target}").split()
        return int(counts[1]), int(counts[0])

    def changes(self, base: str, target: str) -> list[Change]:
        """Return what differs between two trees, folders included, in order of path."""
        output = self._text("diff-tree", "-r", "-t", "-M", "-z", "--raw", base, target)
        fields = iter(output.split("\0"))
        found = []
        for header in fields:
            if header:
                old_mode, new_mode, old, new, status = header.lstrip(":").split(" ")
                old_path = next(fields) if status[0] in "RC" else None
                folder = "040000" in (old_mode, new_mode)
                found.append(Change(status[0], folder, old, new, next(fields), old_path))
        return sorted(found, key=lambda change: change.path)

    def entry(self, commit: str, path: str) -> Entry | None:
        """Return what is at a path (without leading slash) in a commit, or None."""
        try:
            sha = self._text("rev-parse", "--verify", "--quiet", f"{commit}:{path}").strip()
        except GitError:
            return None
        return Entry(self._text("cat-file", "-t", sha).strip(), sha)

    def blob(self, sha: str) -> bytes:
        """Return the bytes of a file object."""
        return self.run("cat-file", "blob", sha)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _file_command(path: str, content: str | None) -> bytes:
    quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if content is None:
        return f"D {quoted}\n".encode()
    return f"M 100644 inline {quoted}\n".encode() + _data(content.encode())


def _commit(record: str) -> Commit:
    sha, tree, parents, an, ae, ad, cn, ce, cd, message = record.lstrip("\n").split("\x1f")
    return Commit(
        sha,
        tree,
        tuple(parents.split()),
        Signature(an, ae, _utc(ad)),
        Signature(cn, ce, _utc(cd)),
        message.rstrip("\n"),
    )


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
