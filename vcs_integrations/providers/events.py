"""What happened in a repository, in words that no single provider owns.

A webhook request is read into hints: whoever knows the webhook password can send one, so it only
says what to read. A reconciliation finds facts. Both then go the same way.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

BRANCHES = "refs/heads/"
TAGS = "refs/tags/"


@dataclass(frozen=True)
class RemoteCommit:
    """A commit; `message` is what the provider holds of it, perhaps more than one line.

    `written_by` are the e-mail addresses of its author and its committer, empty if that of the
    author is unknown. git believes whoever commits. `pushed_by` is the account that the provider
    knows to have pushed it, as its person signs in there, and empty if unknown.
    """

    sha: str
    message: str
    author: str
    authored_at: datetime | None
    written_by: tuple[str, ...] = ()
    pushed_by: str = ""

    @property
    def title(self) -> str:
        """The first line of the message, cut to what a list shows."""
        return self.message.strip().partition("\n")[0][:200]


@dataclass(frozen=True)
class RefChanged:
    """A push created, moved or deleted a ref; the old or the new sha is then empty.

    `position` orders the pushes of a repository. `commit` is the new one, if it is known.
    `pushed_by` is the account that pushed, as its person signs in there, and empty if unknown.
    """

    repository_id: str
    position: int
    ref: str
    old_sha: str
    new_sha: str
    pushed_at: datetime | None = None
    commit: RemoteCommit | None = None
    pushed_by: str = ""

    @property
    def branch(self) -> str:
        """The branch's short name; empty if the ref is no branch."""
        return self.ref.removeprefix(BRANCHES) if self.ref.startswith(BRANCHES) else ""

    @property
    def is_branch_or_tag(self) -> bool:
        """Whether people pushed it; other refs are kept by hosts, like those of trial merges."""
        return self.ref.startswith((BRANCHES, TAGS))

    @property
    def is_creation(self) -> bool:
        return not self.old_sha

    @property
    def is_deletion(self) -> bool:
        return not self.new_sha


@dataclass(frozen=True)
class Push:
    """One push and all that it changed; nothing if that is unknown."""

    repository_id: str
    position: int
    pushed_at: datetime | None
    changes: tuple[RefChanged, ...]

    @property
    def is_internal(self) -> bool:
        """Whether it is known to have changed no branch and no tag."""
        return bool(self.changes) and not any(one.is_branch_or_tag for one in self.changes)


class PullRequestStatus(StrEnum):
    """The state of a pull request."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class TrialMerge(StrEnum):
    """The result of a pull request's trial merge, as far as the provider reports it."""

    UNKNOWN = ""
    PENDING = "pending"
    CLEAN = "clean"
    CONFLICTS = "conflicts"
    FAILED = "failed"


@dataclass(frozen=True)
class PullRequestFacts:
    """A pull request as the provider describes it at one moment.

    Branches are short names; the source branch of a fork's pull request lives in the fork.
    """

    number: int
    title: str
    author: str
    status: PullRequestStatus
    is_draft: bool
    is_from_fork: bool
    source_branch: str
    target_branch: str
    source_sha: str
    trial_merge: TrialMerge
    created_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status == PullRequestStatus.OPEN

    @property
    def has_conflicts(self) -> bool:
        return self.trial_merge == TrialMerge.CONFLICTS


@dataclass(frozen=True)
class Revision:
    """One state of a pull request's source: its commit, and the push that brought it.

    `old_target` is the branch that was the target before, where the revision is its change.
    """

    number: int
    source_sha: str
    position: int | None
    created_at: datetime | None
    old_target: str = ""


@dataclass(frozen=True)
class PullRequestChanged:
    """Something about a pull request changed; reading it shows what.

    `facts` is how the provider lists it; `claims` is how a delivery describes it, which may be
    late or false.
    """

    repository_id: str
    number: int
    facts: PullRequestFacts | None = None
    claims: PullRequestFacts | None = None


@dataclass(frozen=True)
class PushAnnounced:
    """There was a push; reading it shows what it changed.

    `claims` is what a delivery says that it changed, which may be false.
    """

    repository_id: str
    position: int
    claims: tuple[RefChanged, ...] = ()


@dataclass(frozen=True)
class Unspecified:
    """Something happened in a repository, or in a project where that is empty."""

    project_id: str
    repository_id: str = ""


@dataclass(frozen=True)
class Ignored:
    """A readable request that nothing here uses."""

    reason: str


@dataclass(frozen=True)
class Malformed:
    """A request that can't be understood."""

    reason: str


Hint = PullRequestChanged | PushAnnounced | Unspecified
Event = RefChanged | Hint
