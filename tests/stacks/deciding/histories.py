"""Random histories of a repository: pushes of all kinds and the lives of pull requests.

A step that is impossible at its place (a branch that is not there, a merge that conflicts)
does nothing, so that any list of steps is a history and a failing one can be shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from tests.emulator.clock import now
from tests.emulator.git import GitError
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest, PullRequestError

BRANCHES = ("main", "release", "topic", "fix")
PATHS = (
    "infra/main.tf",
    "infra/net/main.tf",
    "infrastructure/main.tf",
    "docs/read.md",
    "modules/vpc/main.tf",
    "top.tf",
)
AUTHOR = "Ann Admin <ann@fabrikam.example>"
T = TypeVar("T")


@dataclass
class History:
    """A repository whose history grows step by step."""

    repository: Repository
    commits: list[str] = field(default_factory=list)
    fork: Repository | None = None

    def __post_init__(self) -> None:
        self.repository.push({path: self.content() for path in PATHS}, "main")
        self.commits.append(self.repository.sha("main"))
        self.repository.push_refs({"refs/heads/release": self.commits[0]})

    def take(self, step: Step) -> None:
        """Let the next step happen, if it can."""
        try:
            step.take(self)
        except (GitError, PullRequestError):
            return

    def content(self) -> str:
        """Return the text of a file that no file had before."""
        return "".join(f"line {number} of {len(self.commits)}\n" for number in range(8))

    def commit(self, changes: dict[str, str | None], *parents: str) -> str:
        """Write a commit that is not pushed yet."""
        sha = self.repository.commit(changes, parents, f"Change {len(self.commits)}")
        self.commits.append(sha)
        return sha

    def start(self, branch: str) -> str:
        """Return the commit to build on: the branch's own, or the first one for a new branch."""
        return self.repository.tip(branch) or self.commits[0]


class Step(Protocol):
    """Something that people do."""

    def take(self, history: History) -> None:
        """Do it. Raises GitError or PullRequestError where it is impossible."""


@dataclass(frozen=True)
class Push:
    """One or two commits on top of a branch, or of another commit: then it is a force push."""

    branch: str
    paths: tuple[str, ...]
    onto: int | None = None
    deletes: bool = False

    def take(self, history: History) -> None:
        start = history.start(self.branch)
        if self.onto is not None:
            start = chosen(history.commits, self.onto)
        for path in self.paths:
            start = history.commit({path: None if self.deletes else history.content()}, start)
        history.repository.push_refs({f"refs/heads/{self.branch}": start})


@dataclass(frozen=True)
class Reset:
    """A branch goes to a commit that was there before; one that was not there is created."""

    branch: str
    to: int

    def take(self, history: History) -> None:
        sha = chosen(history.commits, self.to)
        history.repository.push_refs({f"refs/heads/{self.branch}": sha})


@dataclass(frozen=True)
class Rename:
    """A file is added, and by the next push renamed, perhaps across a project root."""

    branch: str
    old: str
    new: str

    def take(self, history: History) -> None:
        text = history.content()
        added = history.commit({self.old: text}, history.start(self.branch))
        history.repository.push_refs({f"refs/heads/{self.branch}": added})
        renamed = history.commit({self.old: None, self.new: text}, added)
        history.repository.push_refs({f"refs/heads/{self.branch}": renamed})


@dataclass(frozen=True)
class Merge:
    """A branch is merged into another, without a pull request."""

    into: str
    branch: str

    def take(self, history: History) -> None:
        git = history.repository.git
        parents = [history.repository.sha(self.into), history.repository.sha(self.branch)]
        tree = git.merge_tree(*parents)
        if tree:
            sha = git.commit_tree(tree, parents, "Merge", AUTHOR, now())
            history.commits.append(sha)
            history.repository.push_refs({f"refs/heads/{self.into}": sha})


@dataclass(frozen=True)
class PushSeveral:
    """One push moves or makes several branches and a tag, and deletes a branch."""

    branches: tuple[str, ...]
    path: str
    deleted: str

    def take(self, history: History) -> None:
        values: dict[str, str | None] = {
            f"refs/heads/{branch}": history.commit(
                {self.path: history.content()}, history.start(branch)
            )
            for branch in self.branches
        }
        if self.deleted not in self.branches and history.repository.tip(self.deleted):
            values[f"refs/heads/{self.deleted}"] = None
        values[f"refs/tags/v{len(history.commits)}"] = history.commits[-1]
        history.repository.push_refs(values)


@dataclass(frozen=True)
class Delete:
    """A branch is deleted."""

    branch: str

    def take(self, history: History) -> None:
        history.repository.sha(self.branch)
        history.repository.delete_branch(self.branch)


@dataclass(frozen=True)
class Tag:
    """A commit gets a tag, an annotated one perhaps."""

    commit: int
    message: str

    def take(self, history: History) -> None:
        sha = chosen(history.commits, self.commit)
        history.repository.tag(f"t{len(history.repository.pushes)}", sha, self.message)


@dataclass(frozen=True)
class Open:
    """Somebody proposes a branch, of a fork perhaps."""

    source: str
    target: str
    is_draft: bool = False
    is_from_fork: bool = False

    def take(self, history: History) -> None:
        if not history.repository.tip(self.source):
            Push(self.source, ("docs/read.md",)).take(history)
        fork = None
        if self.is_from_fork:
            history.fork = history.fork or history.repository.fork("fork")
            fork = history.fork
            fork.push({"infra/fork.tf": history.content()}, self.source, start=self.source)
        history.repository.open_pull_request(
            self.source, self.target, is_draft=self.is_draft, fork=fork
        )


@dataclass(frozen=True)
class Complete:
    """A pull request is merged."""

    number: int
    squash: bool
    delete_source: bool

    def take(self, history: History) -> None:
        sha = pull_request(history, self.number).complete(
            squash=self.squash, delete_source=self.delete_source
        )
        history.commits.append(sha)


@dataclass(frozen=True)
class PushToFork:
    """A fork moves on, and with it a pull request of its branch."""

    branch: str

    def take(self, history: History) -> None:
        if history.fork:
            history.commit({}, history.commits[0])  # makes the next content another
            history.fork.push({"infra/fork.tf": history.content()}, self.branch)


@dataclass(frozen=True)
class Retarget:
    """A pull request leads to another branch from now on."""

    number: int
    target: str

    def take(self, history: History) -> None:
        pull_request(history, self.number).retarget(self.target)


@dataclass(frozen=True)
class Change:
    """A pull request is abandoned, active again, or changed where its code is not."""

    number: int
    what: str

    def take(self, history: History) -> None:
        one = pull_request(history, self.number)
        if self.what == "abandon":
            one.abandon()
        elif self.what == "reactivate":
            one.reactivate()
        else:
            one.vote("Bo Builder", 10)


def pull_request(history: History, number: int) -> PullRequest:
    return chosen(history.repository.pull_requests, number)


def chosen(among: Sequence[T], number: int) -> T:
    """Return one of what there is, counted from the newest. Raises GitError if that is nothing."""
    if not among:
        raise GitError("there is nothing yet")
    return among[-1 - number % len(among)]


branches = st.sampled_from(BRANCHES)
proposed = st.sampled_from(("topic", "fix", "release", "main"))
paths = st.sampled_from(PATHS)
numbers = st.integers(0, 5)
pushes = st.builds(
    Push,
    branches,
    st.lists(paths, min_size=1, max_size=2).map(tuple),
    st.none() | numbers,
    st.booleans(),
)
openings: st.SearchStrategy[Step] = st.builds(
    Open, proposed, st.sampled_from(("main", "release")), st.booleans(), st.booleans()
)
steps: st.SearchStrategy[Step] = st.one_of(
    pushes,
    st.builds(Push, proposed, st.tuples(paths)),
    st.builds(Open, proposed, branches, st.booleans(), st.booleans()),
    st.builds(Open, proposed, st.just("main")),
    st.builds(Open, proposed, st.just("release")),
    st.builds(Change, numbers, st.sampled_from(("vote", "abandon", "reactivate"))),
    st.builds(Complete, numbers, st.booleans(), st.booleans()),
    st.builds(Retarget, numbers, branches),
    st.builds(Reset, branches, numbers),
    st.builds(Rename, branches, paths, paths),
    st.builds(Merge, branches, branches),
    st.builds(PushSeveral, st.lists(branches, max_size=3, unique=True).map(tuple), paths, branches),
    st.builds(Delete, branches),
    st.builds(PushToFork, proposed),
    st.builds(Tag, numbers, st.sampled_from(("", "A version"))),
)
