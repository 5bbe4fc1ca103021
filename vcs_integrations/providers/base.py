"""What a provider is: the values that cross its boundary and the protocols it fulfills.

A provider turns a source-control host into these neutral values and knows nothing of
models or pages. See CONTRIBUTING.md, "Adding a provider".
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, Protocol, TypeVar

from vcs_integrations.providers.events import (
    Hint,
    Ignored,
    Malformed,
    PullRequestFacts,
    Push,
    RefChanged,
    RemoteCommit,
    Revision,
)


def digest(content: bytes) -> str:
    """Return a digest of bytes, to compare them by.

    That goes for passwords of ours, too: with 256 random bits a fast hash is enough.
    """
    return hashlib.sha256(content).hexdigest()


class Problem(StrEnum):
    """Why a call to a provider failed; the word is stored and shown, so it never changes."""

    NAME_NOT_RESOLVED = "name_not_resolved"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_CUT = "connection_cut"
    TLS_FAILURE = "tls_failure"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    NOT_THE_PROVIDER = "not_the_provider"
    ANSWER_TOO_LARGE = "answer_too_large"
    ORGANIZATION_UNKNOWN = "organization_unknown"
    ORGANIZATION_STOPPED = "organization_stopped"
    VERSION_REFUSED = "version_refused"
    TOKEN_REFUSED = "token_refused"
    TOKEN_EXPIRED = "token_expired"
    LACKS_CODE_ACCESS = "lacks_code_access"
    SIGN_IN_POLICY = "sign_in_policy"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    NOT_ALLOWED = "not_allowed"
    REFUSED = "refused"
    NOT_THE_AUTHOR = "not_the_author"
    WRONG_KEY = "wrong_key"


# The provider can't be reached right now; the same call may succeed later.
TRANSIENT = {
    Problem.NAME_NOT_RESOLVED,
    Problem.CONNECTION_REFUSED,
    Problem.CONNECTION_CUT,
    Problem.TLS_FAILURE,
    Problem.TIMEOUT,
    Problem.THROTTLED,
    Problem.UNAVAILABLE,
}


class ProviderError(Exception):
    """A call failed: what happened and what to do, each a sentence for people.

    `evidence` is what was seen, like "HTTP 401"; it never holds text of the answer that
    could carry a secret. `retry_after` is in seconds, where the provider named a time. `brief` is
    the cause without its details, for a place beside one that says them.
    """

    def __init__(
        self,
        problem: Problem,
        cause: str,
        fix: str,
        *,
        evidence: str = "",
        retry_after: int | None = None,
        brief: str = "",
    ) -> None:
        super().__init__(f"{cause} {fix}")
        self.problem = problem
        self.brief = brief or cause
        self.cause = cause
        self.fix = fix
        self.evidence = evidence
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.problem in TRANSIENT


class InvalidOrganizationUrl(ValueError):
    """An organization URL that can't be used; the text says why and what is accepted."""


@dataclass(frozen=True)
class OrganizationUrl:
    """An organization's address as people gave it, reduced to what matters.

    `url` is the base for API calls, `name` the organization's display name. Two addresses
    of one organization that are recognized without asking the provider have the same `key`.
    """

    url: str
    name: str
    key: str


@dataclass(frozen=True)
class RemoteRepository:
    """A repository as the provider lists it; `default_branch` is empty when it has no commit."""

    external_id: str
    name: str
    project_id: str
    project_name: str
    default_branch: str
    is_disabled: bool


@dataclass(frozen=True)
class RemoteBranch:
    """A branch by its short name (`main`, `feature/x`) and the commit it points to."""

    name: str
    sha: str


@dataclass(frozen=True)
class RemoteTag:
    """A tag by its name (`v1.2.3`), what it names, and the commit that this leads to.

    An annotated tag names an object of its own, which has a text; another one the commit itself.
    """

    name: str
    sha: str
    commit_sha: str

    @property
    def is_annotated(self) -> bool:
        return self.sha != self.commit_sha


@dataclass(frozen=True)
class RemoteChange:
    """A file that differs between two commits; after a rename it has an old path, too.

    `kind` is added, modified, deleted or renamed. Paths have no leading slash. An empty path, or
    an empty old path of a renamed file, could not be read: the file may be any. A submodule is
    one path, whatever changed in it.
    """

    kind: str
    path: str
    old_path: str = ""
    is_submodule: bool = False


@dataclass(frozen=True)
class ChangeSet:
    """All files that differ, and the merge base of the commits that were compared."""

    merge_base: str
    changes: Sequence[RemoteChange]


class HookStatus(StrEnum):
    """Whether the provider delivers by a service hook, and why not."""

    ENABLED = "enabled"
    ON_PROBATION = "on_probation"
    DISABLED_BY_USER = "disabled_by_user"
    DISABLED_BY_SYSTEM = "disabled_by_system"
    OWNER_INACTIVE = "owner_inactive"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Hook:
    """A service hook as it is asked for: of one project, with all details, to one URL.

    `event_type` is one of the provider's `hooks`. `username` is not secret; it says who made the
    hook and with which password.
    """

    event_type: str
    project_id: str
    url: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class RemoteSubscription:
    """A service hook that the provider holds and that posts to `url`.

    `event_type` is one of the provider's `hooks` where it is like one of those. `project_id` is
    empty where it is for all projects, `username` where it posts none.
    `filters` names what it leaves out, like "branch"; `owner` is the name of who made it,
    `changed_by` of who changed it last.
    `sends_all`: whether it says itself that whole resources are sent; `sends_less`: whether
    it says that they are not. One made in the provider's pages may say neither.
    """

    external_id: str
    event_type: str
    project_id: str
    url: str
    status: HookStatus = HookStatus.ENABLED
    username: str = ""
    owner: str = ""
    changed_by: str = ""
    filters: str = ""
    sends_all: bool = True
    sends_less: bool = False
    is_wrong_version: bool = False


@dataclass(frozen=True)
class RemoteNotification:
    """What the provider knows of one delivery it made, or is to make.

    `status_code` is that of the answer, None if there was none; `answer` is the beginning
    of its text and `error` what went wrong in the provider's words. `seconds` is how long the
    request took, None until then.
    """

    is_done: bool
    succeeded: bool
    status_code: int | None
    answer: str
    error: str
    seconds: float | None
    is_under_way: bool


class Status(StrEnum):
    """The state of a commit or of a pull request's revision, as reported to the provider."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ERROR = "error"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class StatusReport:
    """A status as it is posted; of those with the same genre and name the last one counts.

    `url` leads to a page about it, `description` is plain text of one line.
    """

    genre: str
    name: str
    status: Status | None
    description: str
    url: str


@dataclass(frozen=True)
class RemoteStatus:
    """A status of a pull request, as the provider holds it; an unknown revision is None.

    `report.status` is None for a status of another tool that uses a word of its own.
    """

    external_id: int
    revision: int | None
    report: StatusReport


@dataclass(frozen=True)
class RemoteComment:
    """The first comment of a thread of a pull request."""

    thread_id: int
    comment_id: int
    content: str


@dataclass(frozen=True)
class Connection:
    """What connecting to an organization showed.

    `organization_id`, and `owner`, the displayed name of the token's owner, are empty if unknown.
    """

    organization_id: str
    repositories: Sequence[RemoteRepository]
    owner: str = ""


class Right(StrEnum):
    """What a token is needed for; the word is stored, so it never changes."""

    READ_CODE = "read_code"
    WRITE_COMMIT_STATUSES = "write_commit_statuses"
    WRITE_PULL_REQUEST_STATUSES = "write_pull_request_statuses"
    COMMENT = "comment"
    SEE_HOOKS = "see_hooks"
    CREATE_HOOKS = "create_hooks"
    REMOVE_HOOKS = "remove_hooks"


class Judgment(StrEnum):
    """Whether a token has a right; if that can't be found out, it is unknown, never ok. Stored."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProjectInUse:
    """A project in which to check rights, with the repositories that are used, id to name.

    `repositories` are those that the token lists and that take writes, `unlisted` those that
    it does not list.
    """

    external_id: str
    name: str
    repositories: Mapping[str, str]
    unlisted: Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """Whether a token has a right, in the project of that name or, where that is empty, at all.

    Cause and fix are sentences for people and `evidence` is what was seen; they are empty where
    the right is there.
    """

    right: Right
    verdict: Judgment
    project: str = ""
    cause: str = ""
    fix: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class RepositoryPath:
    """A repository as a pasted clone URL or web address names it.

    `branch` is empty unless the address is a branch's page.
    """

    organization: OrganizationUrl
    project_name: str
    name: str
    branch: str = ""


class Outcome(StrEnum):
    """The outcome of a delivery: on arrival, and once it was processed."""

    STORED = "stored"
    RUN = "run"
    VERSION = "version"
    NO_RUN = "no_run"
    TEST = "test"
    DUPLICATE = "duplicate"
    UNKNOWN_EVENT = "unknown_event"
    UNREADABLE = "unreadable"
    REFUTED = "refuted"


class Secret(Protocol):
    """A webhook secret that is accepted at present; reading its value may take a query."""

    @property
    def digest(self) -> str:
        """What `digest` returns for its value."""
        ...

    @property
    def value(self) -> str | None:
        """The secret itself; None if it is not known any more. Raises WrongKey."""
        ...


S = TypeVar("S", bound=Secret)


@dataclass(frozen=True)
class Envelope:
    """What identifies a webhook request, read defensively: unusable values are empty.

    Each has at most 100 characters, the repository's name 200, and none of them is NUL.

    A hook has a `subscription_id`, each of its requests a `notification_id`: two requests with the
    same of both are one that was repeated. A host that numbers them for all hooks together leaves
    the first one empty.
    """

    outcome: Outcome
    reason: str
    event_type: str = ""
    subscription_id: str = ""
    notification_id: str = ""
    repository_id: str = ""
    repository_name: str = ""
    project_id: str = ""


# Read from our answers where a host keeps them, to say why a hook fails.
SECRET_MISSING = "The webhook password is missing."
SECRET_WRONG = "The webhook password is wrong."


@dataclass(frozen=True)
class Refused:
    """A webhook request that proves no secret: why, and the answer's WWW-Authenticate, if any."""

    reason: str
    challenge: str = ""


@dataclass(frozen=True)
class CallLimits:
    """Limits of calls: seconds for one call, seconds for all together, and retries.

    `obeys_pauses`: whether to wait when the provider asked for it in its last answer.
    """

    seconds_per_call: float
    seconds_in_all: float
    retries: int
    obeys_pauses: bool = False

    def rest(self, started: float) -> "CallLimits":
        """Return what is left of them since a moment of time.monotonic()."""
        left = max(0.0, started + self.seconds_in_all - time.monotonic())
        return replace(self, seconds_in_all=left)


# Somebody is waiting: Save, Test, a branch list.
INTERACTIVE = CallLimits(seconds_per_call=6, seconds_in_all=6, retries=0)
# A provider may delay an answer by half a minute where it limits calls.
BACKGROUND = CallLimits(seconds_per_call=40, seconds_in_all=600, retries=2, obeys_pauses=True)


class Client(Protocol):
    """Calls to one organization. Every method raises ProviderError and nothing else."""

    def connect(self) -> Connection:
        """Prove the address and the token, and return what they show."""
        ...

    def present_url(self, organization_id: str) -> str:
        """Return the present address of the organization with this id; empty if it is unknown."""
        ...

    def repository(self, repository_id: str) -> RemoteRepository:
        """Return one repository as it is called now."""
        ...

    def branches(self, repository_id: str) -> list[RemoteBranch]:
        """Return all branches of a repository, in the provider's order."""
        ...

    def branch(self, repository_id: str, name: str) -> RemoteBranch | None:
        """Return one branch by its short name, or None when there is none."""
        ...

    def tags(self, repository_id: str) -> list[RemoteTag]:
        """Return all tags of a repository, in the provider's order."""
        ...

    def tag(self, repository_id: str, name: str) -> RemoteTag | None:
        """Return one tag by its name, or None when there is none."""
        ...

    def tag_text(self, repository_id: str, sha: str) -> str:
        """Return the text of an annotated tag, by the id of its own object."""
        ...

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return one commit."""
        ...

    def commits(self, repository_id: str, shas: Sequence[str]) -> list[RemoteCommit]:
        """Return several commits with one call, in any order."""
        ...

    def files(self, repository_id: str, sha: str) -> list[str]:
        """Return the paths of all files of a commit, without leading slash."""
        ...

    def file_text(self, repository_id: str, sha: str, path: str) -> str | None:
        """Return the text of a file of a commit, None where it has no such file."""
        ...

    def changes(
        self, repository_id: str, base: str, head: str, *, from_merge_base: bool
    ) -> ChangeSet:
        """Return all files that differ between two commits, or between merge base and head."""
        ...

    def commits_behind(self, repository_id: str, base: str, head: str) -> int:
        """Return how many commits of `base` are not in `head`."""
        ...

    def push(self, repository_id: str, position: int) -> list[RefChanged]:
        """Return what one push changed."""
        ...

    def pushes_since(self, repository_id: str, position: int, *, ref: str = "") -> Iterator[Push]:
        """Yield the pushes after one, the newest first; those of one ref, if it is named."""
        ...

    def newest_push(self, repository_id: str, *, ref: str = "") -> Push | None:
        """Return the newest push, of one ref, if it is named; None if there is none."""
        ...

    def pull_request(self, repository_id: str, number: int) -> PullRequestFacts:
        """Return one pull request."""
        ...

    def revisions(self, repository_id: str, number: int) -> list[Revision]:
        """Return a pull request's revisions, the oldest first; none where the host has none."""
        ...

    def revision_changes(
        self, repository_id: str, number: int, revision: int
    ) -> list[RemoteChange]:
        """Return all files that a pull request changes as of a revision."""
        ...

    def pull_requests(self, repository_id: str, *, open_only: bool) -> Iterator[PullRequestFacts]:
        """Yield pull requests, the newest first."""
        ...

    def create_commit_status(self, repository_id: str, sha: str, report: StatusReport) -> None:
        """Add a status to a commit."""
        ...

    def commit_statuses(self, repository_id: str, sha: str) -> list[StatusReport]:
        """Return the statuses of a commit that count: the last of each genre and name."""
        ...

    def create_pull_request_status(
        self, repository_id: str, number: int, revision: int, report: StatusReport
    ) -> None:
        """Add a status to a revision of a pull request."""
        ...

    def pull_request_statuses(self, repository_id: str, number: int) -> list[RemoteStatus]:
        """Return all statuses of a pull request, the oldest first."""
        ...

    def create_thread(self, repository_id: str, number: int, content: str) -> RemoteComment:
        """Open a thread of a pull request with a comment that nobody has to resolve."""
        ...

    def edit_comment(
        self, repository_id: str, number: int, thread_id: int, comment_id: int, content: str
    ) -> None:
        """Change what a comment says; NOT_THE_AUTHOR where that is another's to do."""
        ...

    def first_comments(self, repository_id: str, number: int) -> list[RemoteComment]:
        """Return the first comment of every thread of a pull request that is not deleted."""
        ...

    def subscriptions(self) -> list[RemoteSubscription]:
        """Return all web-hook subscriptions of the organization that the token may see."""
        ...

    def subscription(self, external_id: str) -> RemoteSubscription | None:
        """Return one subscription, None if there is none."""
        ...

    def create_subscription(self, hook: Hook) -> str:
        """Make a subscription and return its id."""
        ...

    def replace_subscription(self, external_id: str, hook: Hook) -> None:
        """Change a subscription into what is asked for."""
        ...

    def remove_subscription(self, external_id: str) -> None:
        """Remove one subscription; one that is gone counts as removed."""
        ...

    def send_test(self, external_id: str) -> str:
        """Have sample data sent by a subscription and return the notification's id."""
        ...

    def notification(self, external_id: str, notification_id: str) -> RemoteNotification | None:
        """Return the state of a notification of a subscription; None if it is not known."""
        ...

    def check_rights(self, projects: Sequence[ProjectInUse]) -> list[Finding]:
        """Say what the token may do in projects, without changing anything there.

        Of what failed on the way, or had no time left, it is not known. Raises nothing.
        """
        ...


class Provider(Protocol):
    """A kind of source-control host. One instance each, listed in `providers.PROVIDERS`."""

    key: ClassVar[str]
    slug: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    # What the set-up form says of the address and of the token: form, where to click, scope.
    url_help: ClassVar[str]
    token_help: ClassVar[str]
    # A drawing of 24 × 24, as the data of an SVG path.
    icon: ClassVar[str]
    # Who may make service hooks, and where that is granted.
    hooks_help: ClassVar[str]
    # What a person does on a project's page of service hooks to make all of them, step by step.
    hook_steps: ClassVar[Sequence[str]]
    # Event type → the words the provider's own pages use for it.
    events: ClassVar[Mapping[str, str]]
    # The service hooks that each project needs → the words for what each sends.
    hooks: ClassVar[Mapping[str, str]]
    # Whether `Client.notification` can say what happened to a request.
    keeps_hook_history: ClassVar[bool]
    # Whether pull requests have statuses of their own; else those of their commits count.
    has_pull_request_statuses: ClassVar[bool]
    # The one of them that reports pushes.
    push_event: ClassVar[str]
    # The headers of a webhook request that are worth keeping; none of them is secret.
    kept_headers: ClassVar[Sequence[str]]
    # How long a comment may be, in UTF-16 code units.
    longest_comment: ClassVar[int]

    @property
    def own_servers(self) -> Sequence[str]:
        """The addresses of the operator's own servers that are listed for it."""
        ...

    def parse_organization_url(self, text: str) -> OrganizationUrl:
        """Reduce what was typed or pasted to an organization, or raise InvalidOrganizationUrl."""
        ...

    def parse_repository_url(self, text: str) -> RepositoryPath | None:
        """Read a pasted clone URL or web address of a repository; None when it is neither."""
        ...

    def client(self, organization_url: str, token: str, limits: CallLimits) -> Client:
        """Return a client for one organization. Raises ProviderError if none may be called."""
        ...

    def receive(
        self, headers: Mapping[str, str], read_body: Callable[[], bytes], secrets: Sequence[S]
    ) -> tuple[Envelope, S] | Refused:
        """Read what identifies a webhook request, and which of the secrets it proves.

        Headers are looked up by any case of their name. The body is waited for as late as the
        host's way of proving allows; nothing but `read_body` and a secret's value raises.
        """
        ...

    def parse(self, headers: Mapping[str, str], body: bytes) -> list[Hint] | Ignored | Malformed:
        """Read what a webhook request claims, given its kept headers by the names of
        `kept_headers`. Never raises, whatever the bytes are.
        """
        ...

    def hook_for(self, event_type: str) -> str:
        """Return which of `hooks` sends an event; empty for an event that none sends."""
        ...

    def refuses_endpoint(self, endpoint: str) -> str:
        """Say in a sentence why the provider would not deliver to this URL; empty if it would."""
        ...

    def service_hooks_url(self, organization_url: str, project_name: str) -> str:
        """Return the page on which a person sets up a project's service hooks."""
        ...

    def repository_url(self, organization_url: str, project_name: str, name: str) -> str:
        """Return the web page of a repository."""
        ...

    def clone_url(self, organization_url: str, project_name: str, name: str) -> str:
        """Return where git fetches a repository from."""
        ...

    def git_header(self, token: str) -> str:
        """Return the HTTP header by which git proves a token."""
        ...

    def git_addresses(self, organization_url: str) -> Sequence[str]:
        """Return how the addresses begin that git is given for repositories of an organization.

        Each ends with a slash or a colon. With the rest of an address behind it,
        `parse_repository_url` reads it.
        """
        ...

    def branch_url(self, repository_url: str, branch: str) -> str:
        """Return the web page of a branch."""
        ...

    def commit_url(self, repository_url: str, sha: str) -> str:
        """Return the web page of a commit."""
        ...

    def pull_request_url(self, repository_url: str, number: int) -> str:
        """Return the web page of a pull request."""
        ...

    def refs_of(self, number: int) -> Sequence[str]:
        """Return refs that lead to the commits of a pull request, for git to fetch."""
        ...

    def merge_ref(self, number: int) -> str:
        """Return the ref of a pull request's trial merge; empty if the host keeps none.

        The parents of its commit are the target and the source, perhaps as they were before.
        """
        ...
