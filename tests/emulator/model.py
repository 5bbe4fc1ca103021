"""What an Azure DevOps holds: organizations, people, projects, repositories, pushes, hooks.

The objects change themselves and save the state they belong to; REST answers, payloads and
pages are made from them elsewhere.
"""

from __future__ import annotations

import secrets
import shutil
import string
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from .git import NO_OBJECT, GitError, GitRepository
from .hook_rules import check_inputs
from .pull_requests import PullRequest, PullRequestError
from .rights import Place, Rule, is_allowed, with_rule
from .statuses import Context, Status, StatusPolicy
from .usage import Limit, Usage

if TYPE_CHECKING:
    from .state import State

_Named = TypeVar("_Named", "Project", "Repository")
NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
SUBSCRIPTION_STATES = (
    "enabled",
    "onProbation",
    "disabledByUser",
    "disabledBySystem",
    "disabledByInactiveIdentity",
)
HISTORY_LIMIT = 500
HISTORY_KEPT = timedelta(days=7)
_AUTHOR = "Ann Admin <ann@fabrikam.example>"


@dataclass(frozen=True)
class Identity:
    """A person of an organization."""

    id: str
    name: str
    email: str


# Who pushes the trial merges of pull requests, as recorded answers name it.
SYSTEM = Identity(
    "000007f5-0000-8888-8000-000000000000",
    "Microsoft.TeamFoundation.System",
    "000007F5-0000-8888-8000-000000000000@00000000-0000-0000-0000-000000000000",
)


@dataclass(frozen=True)
class Token:
    """A personal access token."""

    secret: str
    user: str
    scopes: frozenset[str]
    expires_on: datetime | None

    def is_expired(self, moment: datetime) -> bool:
        """Return whether its last moment has passed."""
        return self.expires_on is not None and self.expires_on <= moment

    def allows(self, scopes: frozenset[str]) -> bool:
        """Whether one of the scopes is granted, directly or by a wider one."""
        granted = set(self.scopes)
        if "vso.code_write" in granted:
            granted |= {"vso.code", "vso.code_status", "vso.threads_full"}
        return not scopes or bool(granted & scopes)


@dataclass(frozen=True)
class RefUpdate:
    """One ref moved by a push; forty zeros mean "did not exist"."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Push:
    """One push: everything that one `git push` changed."""

    id: int
    date: datetime
    pushed_by: Identity
    ref_updates: tuple[RefUpdate, ...]
    commits: tuple[str, ...]


@dataclass
class Probation:
    """How a subscription fares with the notification that failed; `due` is the next retry."""

    notification_id: int
    due: datetime
    retries: int = 0
    last_retry: datetime | None = None


@dataclass
class Subscription:
    """One service-hook subscription, with its secrets in plain text."""

    organization: Organization = field(repr=False, compare=False)
    id: str
    tfs_subscription_id: str
    event_type: str
    resource_version: str
    publisher_inputs: dict[str, str]
    consumer_inputs: dict[str, str]
    created_by: Identity
    created_date: datetime
    modified_by: Identity
    modified_date: datetime
    status: str = "enabled"
    notification_count: int = 0
    probation: Probation | None = None

    @property
    def project(self) -> Project | None:
        """The project whose events it is about."""
        return self.organization.project(self.publisher_inputs["projectId"])

    def set_status(self, status: str) -> None:
        """Give it one of the five statuses, as a person or the system may behind one's back."""
        if status not in SUBSCRIPTION_STATES:
            raise ValueError(f"No status '{status}'. There are: {', '.join(SUBSCRIPTION_STATES)}")
        self.status = status
        if status == "enabled":
            self.probation = None
        self.organization.state.save()

    def edit(
        self,
        url: str | None = None,
        password: str | None = None,
        username: str | None = None,
        publisher_inputs: Mapping[str, str] | None = None,
        user: str = "Ann Admin",
        **consumer_inputs: str,
    ) -> None:
        """Change what is named, as a person does on the service-hooks page.

        HookRuleError if the result may not be kept.
        """
        given = {"url": url, "basicAuthPassword": password, "basicAuthUsername": username}
        named = {name: value for name, value in given.items() if value is not None}
        self.replace(
            self.event_type,
            self.resource_version,
            self.publisher_inputs | dict(publisher_inputs or {}),
            self.consumer_inputs | named | consumer_inputs,
            self.organization.identity(user),
        )

    def replace(
        self,
        event_type: str,
        resource_version: str,
        publisher_inputs: dict[str, str],
        consumer_inputs: dict[str, str],
        modified_by: Identity,
    ) -> None:
        """Replace all its settings; HookRuleError says what is wrong with them."""
        check_inputs(self.organization, event_type, publisher_inputs, consumer_inputs)
        with self.organization.state.lock:
            self.event_type, self.resource_version = event_type, resource_version
            self.publisher_inputs, self.consumer_inputs = publisher_inputs, consumer_inputs
            self.modified_by, self.modified_date = modified_by, self.organization.now()
            self.organization.state.save()


@dataclass
class Notification:
    """One notification of a subscription and its result (the delivery log)."""

    id: int
    subscription_id: str
    event: dict[str, Any]
    publisher_inputs: dict[str, str]
    consumer_inputs: dict[str, str]
    is_test: bool
    created_date: datetime
    status: str = "queued"
    result: str = "pending"
    attempts: int = 0
    request: str = ""
    response_status: int | None = None
    response_body: str = ""
    error: str = ""
    error_detail: str = ""
    duration: float = 0.0
    sent_date: datetime | None = None
    completed_date: datetime | None = None


@dataclass(eq=False)
class Repository:
    """A git repository; its files come into being when they are first needed."""

    project: Project
    id: str
    name: str
    default_branch: str | None = None
    is_disabled: bool = False
    is_from_template: bool = False
    parent: Repository | None = None
    pushes: list[Push] = field(default_factory=list)
    pull_requests: list[PullRequest] = field(default_factory=list)
    policies: list[StatusPolicy] = field(default_factory=list)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    # Where its answers lead for objects of Git LFS, if not to itself
    lfs_elsewhere: str = ""
    # Whether refs/pull/N/merge is kept, and whether a moved target waits until it is read
    has_merge_refs: bool = True
    merges_lazily: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        self._pushed = {sha for push in self.pushes for sha in push.commits}

    def become_fork_of(self, parent: Repository) -> None:
        """Belong to another repository; a pull request between them changes both."""
        self.parent, self.lock = parent, parent.lock

    @property
    def organization(self) -> Organization:
        """The organization it belongs to."""
        return self.project.organization

    @property
    def clone_url(self) -> str:
        """The HTTPS-form clone URL, without user information."""
        return f"{self.project.url}/_git/{quote(self.name, safe='')}"

    @property
    def git(self) -> GitRepository:
        """The bare repository on disk, made now if nobody needed it before."""
        state = self.organization.state
        repository = GitRepository(state.root / "git" / f"{self.id}.git")
        with self.lock:
            if not repository.path.exists():
                self._create_on_disk(repository)
        return repository

    def _create_on_disk(self, repository: GitRepository) -> None:
        if not self.is_from_template:
            repository.create()
            return
        template = self.organization.state.template()
        partial = repository.path.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(template.path, partial)
        partial.rename(repository.path)
        owner = self.organization.identity("Ann Admin")
        values = repository.ref_values()
        updates = tuple(RefUpdate(name, NO_OBJECT, sha) for name, sha in values.items())
        commits = repository.new_commits(values.values(), [])
        self._append_push(owner, updates, commits)

    # Reading

    def ref_values(self) -> dict[str, str]:
        """Return what every ref points at, those that the server keeps for itself left out."""
        values = self.git.ref_values()
        return {name: sha for name, sha in values.items() if not name.startswith("refs/pull/")}

    def tip(self, branch: str | None = None) -> str | None:
        """Return what a branch (the default branch) points at, None if there is no such branch."""
        ref = f"refs/heads/{branch}" if branch else self.default_branch or ""
        return self.ref_values().get(ref)

    def sha(self, name: str) -> str:
        """Return what a ref, a branch, a tag or a sha names; GitError if there is no such thing."""
        values = self.ref_values()
        found = (values.get(f"{start}{name}") for start in ("", "refs/heads/", "refs/tags/"))
        named = next((sha for sha in found if sha), name)
        if self.git.objects.read(named) is None:
            raise GitError(f"There is no branch, tag or commit '{name}' in {self.name}.")
        return named

    # Pushing

    def push(
        self,
        files: Mapping[str, str | None],
        branch: str = "main",
        message: str = "Change files",
        author: str = _AUTHOR,
        start: str | None = None,
    ) -> str:
        """Commit files (None deletes one) to a branch as one push and return the commit's sha.

        A branch that does not exist yet starts from the default branch. `start`, a branch, tag or
        sha, is what the commit follows instead: a force push if the branch held something else.
        """
        ref = f"refs/heads/{branch}"
        with self.lock:
            before = self.ref_values()
            parent = self.sha(start) if start else before.get(ref) or self.tip()
            sha = self.commit(files, [parent] if parent else [], message, author)
            self._move(before, {ref: sha}, self._person(author))
        return sha

    def push_refs(self, values: Mapping[str, str | None], author: str = _AUTHOR) -> Push | None:
        """Move several refs by one push: full ref name to branch, tag or sha, None to delete.

        Returns the push, or None if everything was so already.
        """
        with self.lock:
            shas = {name: self.sha(value) if value else None for name, value in values.items()}
            return self._move(self.ref_values(), shas, self._person(author))

    def tag(
        self, name: str, start: str | None = None, message: str = "", author: str = _AUTHOR
    ) -> str:
        """Push a tag of a branch or sha (the default branch); annotated if it has a message.

        Returns what the tag's ref names: the commit, or the tag's own object.
        """
        sha = self.sha(start or self.default_branch or "")
        if message:
            sha = self.git.write_tag(name, sha, message, author, self.organization.now())
        self.push_refs({f"refs/tags/{name}": sha}, author)
        return sha

    def delete_branch(self, branch: str, user: str = "Ann Admin") -> None:
        """Delete a branch; that is a push as well."""
        with self.lock:
            person = self.organization.identity(user)
            self._move(self.ref_values(), {f"refs/heads/{branch}": None}, person)

    def commit(
        self,
        files: Mapping[str, str | None],
        parents: Sequence[str] = (),
        message: str = "Change files",
        author: str = _AUTHOR,
    ) -> str:
        """Write a commit without pushing it; the files change those of the first parent."""
        return self.git.write_commit(files, parents, message, author, self.organization.now())

    def prune(self) -> None:
        """Forget commits that no ref reaches, as the server does some time after a force push."""
        with self.lock:
            self.git.prune()

    def _person(self, author: str) -> Identity:
        return self.organization.identity(*parseaddr(author))

    def _move(
        self, before: Mapping[str, str], values: Mapping[str, str | None], pushed_by: Identity
    ) -> Push | None:
        self.git.update_refs(values)
        return self.record_push(before, pushed_by)

    def record_push(self, before: Mapping[str, str], pushed_by: Identity) -> Push | None:
        """Record as one push whatever differs from the refs before, and notify the hooks."""
        after = self.ref_values()
        names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        if not names:
            return None
        updates = tuple(
            RefUpdate(name, before.get(name, NO_OBJECT), after.get(name, NO_OBJECT))
            for name in names
        )
        commits = self._new_commits(updates, set(before.values()))
        self._choose_default_branch(after)
        push = self._append_push(pushed_by, updates, commits)
        self.organization.state.listener.push_recorded(self, push)
        for one in self._related_pull_requests():
            one.refs_moved(self, push)
        return push

    def push_trial_merge(self, number: int, sha: str) -> None:
        """Keep a pull request's merge commit: a push by the server itself, sent to no hook."""
        if not self.has_merge_refs:
            return
        ref = f"refs/pull/{number}/merge"
        update = RefUpdate(ref, self.git.ref_values().get(ref, NO_OBJECT), sha)
        self.git.update_refs({ref: sha})
        self._append_push(SYSTEM, (update,), [sha])

    def _new_commits(self, updates: Sequence[RefUpdate], known: set[str]) -> list[str]:
        """Return the commits that came with a push, newest first.

        New commits on top of known ones need no walk through the history.
        """
        added = {update.new for update in updates} - known - {NO_OBJECT}
        git = self.git
        if added.isdisjoint(self._pushed) and all(
            git.is_commit(sha) and known.issuperset(git.commit(sha).parents) for sha in added
        ):
            return sorted(added)
        return git.new_commits(added, known)

    def _related_pull_requests(self) -> list[PullRequest]:
        own = [one for one in self.pull_requests if one.is_active]
        others = self.parent.pull_requests if self.parent else []
        return own + [one for one in others if one.is_active and one.source is self]

    # Pull requests and forks

    def open_pull_request(
        self,
        source: str,
        target: str | None = None,
        title: str = "",
        description: str = "",
        *,
        is_draft: bool = False,
        fork: Repository | None = None,
        reviewers: Sequence[str] = (),
        user: str = "Ann Admin",
    ) -> PullRequest:
        """Open a pull request from a branch, of this repository or of a fork, to another branch.

        Branches are short names, the target is the default branch unless it is named, and
        reviewers are names of people. PullRequestError if a branch is missing or there is one
        already.
        """
        person = self.organization.identity
        default = (self.default_branch or "refs/heads/main").removeprefix("refs/heads/")
        with self.lock:
            made = PullRequest(
                self,
                fork or self,
                f"refs/heads/{source}",
                f"refs/heads/{target or default}",
                title or f"Merge {source}",
                description,
                person(user),
                self.organization.now(),
                is_draft,
            )
            made.open([person(name) for name in reviewers])
        return made

    def pull_request(self, number: int) -> PullRequest:
        """Return one of its pull requests; PullRequestError if there is none of that number."""
        found = next((one for one in self.pull_requests if one.id == number), None)
        if found is None:
            raise PullRequestError(
                f"TF401180: The requested pull request {number} was not found.",
                "GitPullRequestNotFoundException",
                404,
            )
        return found

    def fork(self, name: str, project: Project | None = None) -> Repository:
        """Copy it with its branches and tags; pull requests may come from the copy."""
        target = project or self.project
        made = Repository(target, str(uuid.uuid4()), name)
        made.become_fork_of(self)
        with self.lock:
            made.git.fetch_all(self.git.path)
            target.repositories.append(made)
            made.record_push({}, self.organization.identity("Ann Admin"))
        return made

    # Statuses and policies

    def post_status(
        self,
        sha: str,
        context: str | Context,
        state: str = "succeeded",
        *,
        description: str = "",
        target_url: str = "",
        user: str = "Ann Admin",
    ) -> Status:
        """Add a status to a commit, which a branch may name too.

        A context given as text is `genre/name`, divided by the last slash. GitError if there is no
        such commit, RefusedError if the status cannot be posted.
        """
        where = Context.of(context) if isinstance(context, str) else context
        with self.lock:
            sha = self.sha(sha)
            posted = self.statuses.get(sha, [])
            person = self.organization.identity(user)
            moment = self.organization.now()
            made = Status(len(posted) + 1, where, state, description, target_url, person, moment)
            self.statuses[sha] = [*posted, made]
            self.organization.state.save()
        return made

    def require_status(
        self, context: str, branch: str = "main", *, reset_on_push: bool = True
    ) -> StatusPolicy:
        """Ask for a status (`genre/name`) before pull requests to a branch may be completed.

        With `reset_on_push` it must be posted on an iteration, and only the newest one counts.
        A second policy for the same status and branch takes the place of the first.
        """
        made = StatusPolicy(Context.of(context), f"refs/heads/{branch}", reset_on_push)
        self.drop_policy(context, branch)
        self.policies.append(made)
        return made

    def drop_policy(self, context: str, branch: str = "main") -> None:
        """Ask for a status no longer."""
        key = (Context.of(context), f"refs/heads/{branch}")
        with self.lock:
            self.policies = [one for one in self.policies if (one.context, one.target_ref) != key]
            self.organization.state.save()

    def push_on_paper(self, values: Mapping[str, str], author: str = _AUTHOR) -> Push:
        """Add a push that made refs, of commits that are stored nowhere; no hook is notified."""
        updates = (RefUpdate(name, NO_OBJECT, sha) for name, sha in values.items())
        return self._append_push(self._person(author), tuple(updates), [])

    def _append_push(
        self, pushed_by: Identity, updates: tuple[RefUpdate, ...], commits: list[str]
    ) -> Push:
        with self.organization.state.lock:
            self.organization.last_push_id += 1
            push_id = self.organization.last_push_id
            push = Push(push_id, self.organization.now(), pushed_by, updates, tuple(commits))
            self.pushes.append(push)
            self._pushed.update(commits)
            self.organization.state.save()
        return push

    def _choose_default_branch(self, refs: Mapping[str, str]) -> None:
        branches = sorted(name for name in refs if name.startswith("refs/heads/"))
        if self.default_branch is None and branches:
            usual = ["refs/heads/main", "refs/heads/master"]
            self.default_branch = next((name for name in usual if name in branches), branches[0])
            self.git.set_default_branch(self.default_branch)

    def disable(self) -> None:
        """Disable it: listed, but every other call says that it does not exist."""
        self.is_disabled = True
        self.organization.state.save()

    def enable(self) -> None:
        """Take a disabled repository back into use."""
        self.is_disabled = False
        self.organization.state.save()

    def rename(self, name: str) -> None:
        """Give it another name; its id stays, and its old address is unknown."""
        self.name = name
        self.organization.state.save()

    def delete(self) -> None:
        """Move it to the recycle bin: it is neither listed nor found."""
        self.project.repositories.remove(self)
        self.organization.state.save()


@dataclass(eq=False)
class Project:
    """A project: a name around repositories."""

    organization: Organization
    id: str
    name: str
    changed_date: datetime
    repositories: list[Repository] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address in the browser."""
        return f"{self.organization.url}/{quote(self.name, safe='')}"

    @property
    def service_hooks_url(self) -> str:
        """The page that plays the part of Azure DevOps' service-hooks page."""
        return f"{self.url}/_settings/serviceHooks"

    def add_repository(
        self, name: str, files: Mapping[str, str | None] | None = None
    ) -> Repository:
        """Add a repository; without files it is empty and has no default branch."""
        repository = Repository(self, str(uuid.uuid4()), name)
        self.repositories.append(repository)
        self.organization.state.save()
        if files:
            repository.push(files, message="Initial commit")
        return repository

    def add_repositories(self, count: int, prefix: str = "service") -> list[Repository]:
        """Add many repositories that share one template and cost nothing until used."""
        self.organization.state.template()
        added = [
            Repository(
                self,
                str(uuid.uuid4()),
                f"{prefix}-{number:05}",
                default_branch="refs/heads/main",
                is_from_template=True,
            )
            for number in range(1, count + 1)
        ]
        self.repositories.extend(added)
        self.organization.state.save()
        return added

    def repository(self, key: str) -> Repository | None:
        """Find a repository by name or id, in any letter case."""
        return _find(self.repositories, key)

    def rename(self, name: str) -> None:
        """Give it another name; its id stays."""
        self.name, self.changed_date = name, self.organization.now()
        self.organization.state.save()


@dataclass(eq=False)
class Organization:
    """An organization: people, tokens, projects, hooks and the history of deliveries."""

    state: State
    id: str
    account_id: str
    name: str
    tokens: list[Token] = field(default_factory=list)
    projects: list[Project] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    inactive_users: list[str] = field(default_factory=list)
    permissions_api: bool = True
    usage: Usage = field(default_factory=Usage, repr=False)
    last_push_id: int = 0
    last_pull_request_id: int = 0
    last_unsaved_notification: int = 0
    last_thread_id: int = 0

    @property
    def url(self) -> str:
        """Its base URL: what one types into another product's set-up form."""
        return f"{self.state.base_url}/{quote(self.name, safe='')}"

    def rename(self, name: str) -> None:
        """Give it another name, and with it another URL; its id stays, the old URL is unknown."""
        self.name = name
        self.state.save()

    def now(self) -> datetime:
        """Return the present moment of the emulator's clock."""
        return self.state.clock.now()

    @property
    def repositories(self) -> list[Repository]:
        """All repositories of all projects."""
        return [repository for project in self.projects for repository in project.repositories]

    def identity(self, name: str, email: str | None = None) -> Identity:
        """Return the person of that name; the id stays the same for a name."""
        address = email or f"{name.split()[0].lower()}@{self.name.lower()}.example"
        return Identity(str(uuid.uuid5(uuid.UUID(self.id), name)), name, address)

    def add_token(
        self,
        scopes: set[str] | frozenset[str] = frozenset({"vso.code_write"}),
        user: str = "Ann Admin",
        expires_on: datetime | None = None,
        secret: str | None = None,
    ) -> str:
        """Issue a personal access token and return its text."""
        alphabet = string.ascii_letters + string.digits
        text = secret or "".join(secrets.choice(alphabet) for _ in range(84))
        self.tokens.append(Token(text, user, frozenset(scopes), expires_on))
        self.state.save()
        return text

    def revoke_token(self, secret: str) -> None:
        """Forget a token; from now on it is unknown."""
        self.tokens = [token for token in self.tokens if token.secret != secret]
        self.state.save()

    def token(self, secret: str) -> Token | None:
        """Find a token by its text; those of people who are gone are not found."""
        active = (token for token in self.tokens if token.user not in self.inactive_users)
        return next((token for token in active if token.secret == secret), None)

    def deactivate(self, user: str) -> None:
        """Let a person leave: their tokens are refused, their subscriptions disabled."""
        with self.state.lock:
            self.inactive_users.append(user)
            for one in self.subscriptions:
                if one.created_by.name == user:
                    one.set_status("disabledByInactiveIdentity")

    # Rate limit

    def limit(self, calls: int = 200, seconds: float = 300) -> None:
        """Let each person make that many calls within that many seconds, and refuse more."""
        self.usage.limit = Limit(calls, seconds)

    @property
    def overruns(self) -> int:
        """How many calls came before the end of a Retry-After that their person had been sent."""
        return self.usage.overruns

    @property
    def pauses(self) -> int:
        """How many pauses were asked for; one that is asked for within another is the same."""
        return self.usage.pauses

    # Rights

    def deny(
        self,
        user: str,
        right: str,
        project: Project | None = None,
        repository: Repository | None = None,
    ) -> None:
        """Deny a person a right in the organization, in a project or in a repository.

        ValueError lists the rights there are.
        """
        self._add_rule(user, right, project, repository, is_allowed=False)

    def allow(
        self,
        user: str,
        right: str,
        project: Project | None = None,
        repository: Repository | None = None,
    ) -> None:
        """Give a person a right that was denied, there and in everything within."""
        self._add_rule(user, right, project, repository, is_allowed=True)

    def may(
        self, user: str, right: str, project: Project, repository: Repository | None = None
    ) -> bool:
        """Return whether a person has a right; the rule nearest to the place decides."""
        return is_allowed(self.rules, user, right, _place(project, repository))

    def _add_rule(
        self,
        user: str,
        right: str,
        project: Project | None,
        repository: Repository | None,
        *,
        is_allowed: bool,
    ) -> None:
        rule = Rule(user, right, _place(project, repository), is_allowed)
        with self.state.lock:
            self.rules = with_rule(self.rules, rule)
            self.state.save()

    def add_project(self, name: str) -> Project:
        """Add a project without repositories."""
        project = Project(self, str(uuid.uuid4()), name, self.now())
        self.projects.append(project)
        self.state.save()
        return project

    def project(self, key: str) -> Project | None:
        """Find a project by name or id, in any letter case."""
        return _find(self.projects, key)

    def add_subscription(
        self,
        project: Project,
        event_type: str,
        url: str,
        password: str = "",
        username: str = "",
        publisher_inputs: Mapping[str, str] | None = None,
        **consumer_inputs: str,
    ) -> Subscription:
        """Subscribe a webhook to one event of a project, as the service-hooks page does."""
        everything = ("resourceDetailsToSend", "messagesToSend", "detailedMessagesToSend")
        consumer = dict.fromkeys(everything, "all") | {"url": url} | consumer_inputs
        if username:
            consumer["basicAuthUsername"] = username
        if password:
            consumer["basicAuthPassword"] = password
        publisher = {"projectId": project.id, "repository": "", "branch": ""}
        publisher |= publisher_inputs or {}
        return self.subscribe(event_type, publisher, consumer, self.identity("Ann Admin"))

    def subscribe(
        self,
        event_type: str,
        publisher_inputs: dict[str, str],
        consumer_inputs: dict[str, str],
        owner: Identity,
        resource_version: str = "1.0",
    ) -> Subscription:
        """Check the inputs (HookRuleError says what is wrong) and keep a new subscription."""
        check_inputs(self, event_type, publisher_inputs, consumer_inputs)
        moment = self.now()
        subscription = Subscription(
            self,
            str(uuid.uuid4()),
            str(uuid.uuid4()),
            event_type,
            resource_version,
            publisher_inputs,
            consumer_inputs,
            owner,
            moment,
            owner,
            moment,
        )
        with self.state.lock:
            self.subscriptions.append(subscription)
            self.state.save()
        return subscription

    def subscription(self, key: str) -> Subscription | None:
        """Find a subscription by its id."""
        return next((one for one in self.subscriptions if one.id == key.lower()), None)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        with self.state.lock:
            self.subscriptions.remove(subscription)
            self.state.save()

    @property
    def history(self) -> list[Notification]:
        """The notifications that are not forgotten yet, oldest first."""
        start = self.now() - HISTORY_KEPT
        return [one for one in self.notifications if one.created_date > start]

    def add_notification(
        self,
        subscription: Subscription | None,
        event: dict[str, Any],
        consumer_inputs: dict[str, str],
        is_test: bool,
    ) -> Notification:
        """Log a notification to deliver, numbered within its subscription."""
        with self.state.lock:
            if subscription is None:
                self.last_unsaved_notification += 1
                number, owner_id = self.last_unsaved_notification, NO_SUBSCRIPTION
            else:
                subscription.notification_count += 1
                number, owner_id = subscription.notification_count, subscription.id
            event = {"subscriptionId": owner_id, "notificationId": number, **event}
            notification = Notification(
                number,
                owner_id,
                event,
                dict(subscription.publisher_inputs) if subscription else {},
                dict(consumer_inputs),
                is_test,
                self.now(),
            )
            self.notifications = [*self.history, notification][-HISTORY_LIMIT:]
            self.state.save()
        return notification


def _place(project: Project | None, repository: Repository | None) -> Place:
    if repository:
        return Place(repository.project.id, repository.id)
    return Place(project.id) if project else Place()


def _find(items: list[_Named], key: str) -> _Named | None:
    wanted = key.casefold()
    return next((item for item in items if wanted in (item.id, item.name.casefold())), None)
