"""Git itself, through subprocess: bare repositories, commits, refs, history and differences."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .objects import ObjectStore, edits_of

NO_OBJECT = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_LOG_FORMAT = "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x1e"
_CONFIGURATION = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
[gc]
\tauto = 0
[receive]
\tautogc = false
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
"""
_PERSON = re.compile(r"[^<>\n\0]+ <[^<>\n\0]*>")
_SHA = re.compile(r"[0-9a-f]{40}")


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
class AnnotatedTag:
    """The object of an annotated tag, and what it is of."""

    tagged: str
    name: str
    tagger: Signature
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

    @property
    def objects(self) -> ObjectStore:
        """Its objects."""
        return ObjectStore(self.path, self.run)

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one git command in the repository and return what it printed."""
        done = self._done(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _done(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", "--git-dir", str(self.path), *arguments],
            input=stdin,
            capture_output=True,
            env=environment(),
            check=False,
        )

    def _text(self, *arguments: str, stdin: bytes = b"") -> str:
        return self.run(*arguments, stdin=stdin).decode(errors="replace")

    def create(self) -> None:
        """Make the empty repository on disk."""
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (self.path / folder).mkdir(parents=True)
        (self.path / "config").write_text(_CONFIGURATION, encoding="utf-8")
        (self.path / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")

    # Writing

    def write_commit(
        self,
        files: Mapping[str, str | None],
        parents: Sequence[str],
        message: str,
        author: str,
        date: datetime,
    ) -> str:
        """Write a commit that no ref names yet and return its sha.

        The files (None deletes one) change those of the first parent.
        """
        before = self.commit(parents[0]).tree if parents else None
        try:
            tree = self.objects.edit_tree(before, edits_of(files))
        except ValueError as error:
            raise GitError(str(error)) from None
        return self.commit_tree(tree or self.objects.empty_tree(), parents, message, author, date)

    def commit_tree(
        self, tree: str, parents: Sequence[str], message: str, author: str, date: datetime
    ) -> str:
        """Write a commit of a tree and return its sha."""
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"{role} {_stamp(author, date)}" for role in ("author", "committer")]
        return self.objects.write("commit", "\n".join([*lines, "", message, ""]).encode())

    def write_tag(self, name: str, commit: str, message: str, author: str, date: datetime) -> str:
        """Write an annotated tag that no ref names yet and return its sha."""
        lines = [f"object {commit}", "type commit", f"tag {name}"]
        lines += [f"tagger {_stamp(author, date)}", "", message, ""]
        return self.objects.write("tag", "\n".join(lines).encode())

    def update_refs(self, values: Mapping[str, str | None]) -> None:
        """Let refs name objects, all or none; None deletes a ref."""
        commands = [
            f"update {name}\0{value}\0\0" if value else f"delete {name}\0\0"
            for name, value in values.items()
        ]
        self.run("update-ref", "-z", "--stdin", stdin="".join(commands).encode())

    def set_default_branch(self, ref: str) -> None:
        """Let HEAD name the ref."""
        (self.path / "HEAD").write_text(f"ref: {ref}\n", encoding="utf-8")

    def merge_tree(self, ours: str, theirs: str) -> str | None:
        """Merge two commits and return the tree, or None if they conflict.

        GitError if they have no common history.
        """
        done = self._done("merge-tree", "--write-tree", "--no-messages", ours, theirs)
        if done.returncode > 1:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode().split()[0] if done.returncode == 0 else None

    def fetch(self, source: Path, commit: str) -> None:
        """Get a commit with its history from another repository on this disk."""
        self.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(source), commit)

    def fetch_all(self, source: Path) -> None:
        """Get all branches and tags of another repository on this disk."""
        refs = [f"+refs/{kind}/*:refs/{kind}/*" for kind in ("heads", "tags")]
        self.run("fetch", "--quiet", "--no-write-fetch-head", str(source), *refs)

    def prune(self) -> None:
        """Forget every object that no ref reaches."""
        self.run("prune", "--expire=now")

    # Reading

    def refs(self) -> list[Ref]:
        """Return all refs in order of their names."""
        output = self._text("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
        found = []
        for line in output.splitlines():
            name, sha, peeled = line.split(" ")
            found.append(Ref(name, sha, peeled or None))
        return sorted(found, key=lambda ref: ref.name)

    def ref_values(self) -> dict[str, str]:
        """Return what every ref names, an annotated tag's own object included."""
        values = {}
        packed = self.path / "packed-refs"
        lines = packed.read_text(encoding="utf-8").splitlines() if packed.exists() else []
        for sha, _, name in (line.partition(" ") for line in lines):
            if _SHA.fullmatch(sha):
                values[name] = sha
        for folder, _, names in os.walk(self.path / "refs"):
            for name in names:
                path = Path(folder, name)
                if not name.endswith(".lock"):
                    ref = path.relative_to(self.path).as_posix()
                    values[ref] = path.read_text(encoding="ascii").strip()
        return values

    def commit(self, sha: str) -> Commit:
        """Return one commit; GitError if there is none."""
        found = self.objects.read(sha) if _SHA.fullmatch(sha) else None
        if found is None or found[0] != "commit":
            raise GitError(f"There is no commit {sha}.")
        return _parsed_commit(sha, found[1])

    def annotated_tag(self, sha: str) -> AnnotatedTag | None:
        """Return the object of an annotated tag, None if that is something else."""
        found = self.objects.read(sha) if _SHA.fullmatch(sha) else None
        if found is None or found[0] != "tag":
            return None
        head, _, message = found[1].decode(errors="replace").partition("\n\n")
        fields = dict(line.split(" ", 1) for line in head.split("\n"))
        tagger = _parsed_signature(fields["tagger"])
        return AnnotatedTag(fields["object"], fields["tag"], tagger, message.rstrip("\n"))

    def is_commit(self, sha: str) -> bool:
        """Return whether there is a commit of that sha."""
        found = self.objects.read(sha) if _SHA.fullmatch(sha) else None
        return found is not None and found[0] == "commit"

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a revision names, or None."""
        if self.is_commit(revision):
            return revision
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

    def is_ancestor(self, one: str, other: str) -> bool:
        """Return whether one commit is the other or in its history."""
        return self._done("merge-base", "--is-ancestor", one, other).returncode == 0

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

    def entries(self, commit: str, folder: str, *, deep: bool) -> list[tuple[str, Entry]]:
        """Return path and kind of what is in a folder of a commit, with `deep` at all depths."""
        more = ["-r", "-t"] if deep else []
        output = self._text("ls-tree", "-z", *more, f"{commit}:{folder}")
        start = f"{folder}/" if folder else ""
        found = []
        for line in filter(None, output.split("\0")):
            about, _, name = line.partition("\t")
            _, kind, sha = about.split(" ")
            found.append((f"{start}{name}", Entry(kind, sha)))
        return found

    def blob(self, sha: str) -> bytes:
        """Return the bytes of a file object."""
        return self.run("cat-file", "blob", sha)


def _stamp(author: str, date: datetime) -> str:
    if not _PERSON.fullmatch(author):
        raise GitError(f"'{author}' is not of the form 'Name <e-mail>'.")
    return f"{author} {int(date.timestamp())} +0000"


def _parsed_commit(sha: str, content: bytes) -> Commit:
    head, _, message = content.decode(errors="replace").partition("\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.split("\n"):
        name, _, value = line.partition(" ")
        fields.setdefault(name, []).append(value)
    return Commit(
        sha,
        fields["tree"][0],
        tuple(fields.get("parent", ())),
        _parsed_signature(fields["author"][0]),
        _parsed_signature(fields["committer"][0]),
        message.rstrip("\n"),
    )


def _parsed_signature(text: str) -> Signature:
    name, _, rest = text.partition(" <")
    email, _, stamp = rest.rpartition("> ")
    return Signature(name, email, datetime.fromtimestamp(int(stamp.split()[0]), UTC))


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
