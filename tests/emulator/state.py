"""Keeping everything: git repositories under root/git, all else in root/state.json."""

import json
import threading
import time
import uuid
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from .clock import Clock
from .git import GitRepository
from .model import (
    Identity,
    Notification,
    Organization,
    Probation,
    Project,
    Push,
    RefUpdate,
    Repository,
    Subscription,
    Token,
)
from .pull_requests import Change, Iteration, PullRequest, Reviewer
from .rights import Place, Rule
from .statuses import Context, Status, StatusPolicy
from .threads import Comment, Thread

_TEMPLATE_FILES = {
    "main.tf": 'resource "terraform_data" "service" {\n  input = var.name\n}\n',
    "variables.tf": 'variable "name" {\n  type    = string\n  default = "service"\n}\n',
}
_TEMPLATE_DATE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


_PAUSE = 0.25


class Listener(Protocol):
    """Who is notified of what happens in repositories."""

    def push_recorded(self, where: Repository, push: Push) -> None:
        """Take note of a push."""

    def pull_request_changed(self, one: PullRequest, change: Change) -> None:
        """Take note of a change of a pull request."""


class State:
    """All organizations, saved soon after each change and read again at the next start."""

    def __init__(
        self, root: Path, allow_local_hooks: bool, listener: Listener, clock: Clock
    ) -> None:
        self.root = root
        self.clock = clock
        self.allow_local_hooks = allow_local_hooks
        self.listener = listener
        self.base_url = ""
        self.lock = threading.RLock()
        self.organizations: list[Organization] = []
        self._file = root / "state.json"
        self._changed, self._closed = threading.Event(), threading.Event()
        self._load()

    def add_organization(self, name: str) -> Organization:
        """Add an organization without projects."""
        organization = Organization(self, str(uuid.uuid4()), str(uuid.uuid4()), name)
        self.organizations.append(organization)
        self.save()
        return organization

    def organization(self, name: str) -> Organization | None:
        """Find an organization by name, in any letter case."""
        wanted = name.casefold()
        return next((one for one in self.organizations if one.name.casefold() == wanted), None)

    def template(self) -> GitRepository:
        """Return the repository that generated repositories are copies of."""
        repository = GitRepository(self.root / "git" / "template.git")
        with self.lock:
            if not repository.path.exists():
                repository.create()
                author = "Ann Admin <ann@fabrikam.example>"
                sha = repository.write_commit(
                    _TEMPLATE_FILES, [], "Initial commit", author, _TEMPLATE_DATE
                )
                repository.update_refs({"refs/heads/main": sha})
        return repository

    def start(self) -> None:
        """Write changes to the disk from now on, in the background."""
        threading.Thread(target=self._keep_saving, name="emulator-state", daemon=True).start()

    def stop(self) -> None:
        """Write the last changes to the disk."""
        self._closed.set()
        self._changed.set()
        self._write()

    def save(self) -> None:
        """Let what changed be written to the disk soon."""
        self._changed.set()

    def _keep_saving(self) -> None:
        """Write again and again, and spend little of the time on it however much there is."""
        while self._changed.wait() and not self._closed.is_set():
            started = time.monotonic()
            self._changed.clear()
            self._write()
            self._closed.wait(max(_PAUSE, 20 * (time.monotonic() - started)))

    def _write(self) -> None:
        """Write the state file; a reader sees either the old one or the new one."""
        with self.lock:
            data = {
                "clock_ahead": self.clock.ahead.total_seconds(),
                "organizations": [_organization_data(one) for one in self.organizations],
            }
            self.root.mkdir(parents=True, exist_ok=True)
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(data, default=_plain), encoding="utf-8")
            partial.replace(self._file)

    def _load(self) -> None:
        if self._file.exists():
            data = json.loads(self._file.read_text(encoding="utf-8"))
            # What an older version wrote has none.
            self.clock.ahead = timedelta(seconds=data.get("clock_ahead", 0))
            self.organizations = [_organization(self, one) for one in data["organizations"]]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, PullRequest):
        return vars(value) | {"repository": None, "source": value.source.id}
    if isinstance(value, Thread):
        return vars(value) | {"pull_request": None}
    if isinstance(value, Subscription):
        return vars(value) | {"organization": None}
    if is_dataclass(value):
        return vars(value)
    raise TypeError(f"cannot save {value!r}")


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _organization_data(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "account_id": organization.account_id,
        "name": organization.name,
        "last_push_id": organization.last_push_id,
        "last_unsaved_notification": organization.last_unsaved_notification,
        "last_pull_request_id": organization.last_pull_request_id,
        "last_thread_id": organization.last_thread_id,
        "tokens": organization.tokens,
        "projects": [_project_data(project) for project in organization.projects],
        "subscriptions": organization.subscriptions,
        "notifications": organization.notifications,
        "rules": organization.rules,
        "inactive_users": organization.inactive_users,
        "permissions_api": organization.permissions_api,
    }


def _project_data(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "changed_date": project.changed_date,
        "repositories": [_repository_data(repository) for repository in project.repositories],
    }


def _repository_data(repository: Repository) -> dict[str, Any]:
    return {
        "id": repository.id,
        "name": repository.name,
        "default_branch": repository.default_branch,
        "is_disabled": repository.is_disabled,
        "is_from_template": repository.is_from_template,
        "parent": repository.parent.id if repository.parent else None,
        "pushes": repository.pushes,
        "pull_requests": repository.pull_requests,
        "policies": repository.policies,
        "statuses": repository.statuses,
    }


def _organization(state: State, data: dict[str, Any]) -> Organization:
    projects, tokens = data.pop("projects"), data.pop("tokens")
    subscriptions, notifications = data.pop("subscriptions"), data.pop("notifications")
    rules = [_rule(one) for one in data.pop("rules", [])]
    organization = Organization(state, **data, rules=rules)
    organization.projects = [_project(organization, one) for one in projects]
    _connect(organization, projects)
    organization.tokens = [_token(one) for one in tokens]
    organization.subscriptions = [_subscription(organization, one) for one in subscriptions]
    organization.notifications = [_notification(one) for one in notifications]
    return organization


def _rule(data: dict[str, Any]) -> Rule:
    return Rule(**data | {"place": Place(**data["place"])})


def _token(data: dict[str, Any]) -> Token:
    scopes = frozenset(data["scopes"])
    return Token(data["secret"], data["user"], scopes, _date(data["expires_on"]))


def _project(organization: Organization, data: dict[str, Any]) -> Project:
    changed = datetime.fromisoformat(data["changed_date"])
    project = Project(organization, data["id"], data["name"], changed)
    project.repositories = [_repository(project, one) for one in data["repositories"]]
    return project


def _repository(project: Project, data: dict[str, Any]) -> Repository:
    pushes = [_push(one) for one in data["pushes"]]
    policies = [
        StatusPolicy(**one | {"context": Context(**one["context"])}) for one in data["policies"]
    ]
    statuses = {sha: [_status(one) for one in rows] for sha, rows in data["statuses"].items()}
    own = {"parent", "pushes", "pull_requests", "policies", "statuses"}
    fields = {name: value for name, value in data.items() if name not in own}
    return Repository(project, **fields, pushes=pushes, policies=policies, statuses=statuses)


def _connect(organization: Organization, projects: list[dict[str, Any]]) -> None:
    """Add what needs other repositories to be there: forks and pull requests."""
    everything = {one.id: one for one in organization.repositories}
    for data in (each for project in projects for each in project["repositories"]):
        repository = everything[data["id"]]
        # What an older version wrote has neither.
        if data.get("parent"):
            repository.become_fork_of(everything[data["parent"]])
        repository.pull_requests = [
            _pull_request(repository, everything[one["source"]], one)
            for one in data.get("pull_requests", [])
        ]


def _pull_request(repository: Repository, source: Repository, data: dict[str, Any]) -> PullRequest:
    closed_by = Identity(**data["closed_by"]) if data["closed_by"] else None
    made = {
        "repository": repository,
        "source": source,
        "created_by": Identity(**data["created_by"]),
        "creation_date": datetime.fromisoformat(data["creation_date"]),
        "closed_date": _date(data["closed_date"]),
        "closed_by": closed_by,
        "reviewers": [
            Reviewer(Identity(**one["person"]), one["vote"], one["is_required"])
            for one in data["reviewers"]
        ],
        "iterations": [_iteration(one) for one in data["iterations"]],
        "statuses": [_status(one) for one in data["statuses"]],
    }
    threads = data.pop("threads")
    one = PullRequest(**data | made)
    one.threads = [_thread(one, each) for each in threads]
    return one


def _iteration(data: dict[str, Any]) -> Iteration:
    made = {
        "author": Identity(**data["author"]),
        "date": datetime.fromisoformat(data["date"]),
        "commits": tuple(data["commits"]),
    }
    return Iteration(**data | made)


def _status(data: dict[str, Any]) -> Status:
    made = {
        "context": Context(**data["context"]),
        "created_by": Identity(**data["created_by"]),
        "date": datetime.fromisoformat(data["date"]),
    }
    return Status(**data | made)


def _thread(one: PullRequest, data: dict[str, Any]) -> Thread:
    made = {"pull_request": one, "comments": [_comment(each) for each in data["comments"]]}
    return Thread(**data | _moments(data) | made)


def _comment(data: dict[str, Any]) -> Comment:
    return Comment(**data | _moments(data) | {"author": Identity(**data["author"])})


def _moments(data: dict[str, Any]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(data[name]) for name in ("published", "updated")}


def _push(data: dict[str, Any]) -> Push:
    return Push(
        data["id"],
        datetime.fromisoformat(data["date"]),
        Identity(**data["pushed_by"]),
        tuple(RefUpdate(**update) for update in data["ref_updates"]),
        tuple(data["commits"]),
    )


def _subscription(organization: Organization, data: dict[str, Any]) -> Subscription:
    made = {
        "organization": organization,
        "created_by": Identity(**data["created_by"]),
        # What an older version wrote has none.
        "modified_by": Identity(**data.get("modified_by", data["created_by"])),
        "created_date": datetime.fromisoformat(data["created_date"]),
        "modified_date": datetime.fromisoformat(data["modified_date"]),
        "probation": _probation(data["probation"]) if data.get("probation") else None,
    }
    return Subscription(**data | made)


def _probation(data: dict[str, Any]) -> Probation:
    moments = {"due": datetime.fromisoformat(data["due"]), "last_retry": _date(data["last_retry"])}
    return Probation(**data | moments)


def _notification(data: dict[str, Any]) -> Notification:
    data["created_date"] = datetime.fromisoformat(data["created_date"])
    data["completed_date"] = _date(data["completed_date"])
    # What an older version wrote has neither.
    data["sent_date"] = _date(data.get("sent_date"))
    data["publisher_inputs"] = data.get("publisher_inputs", {})
    notification = Notification(**data)
    if notification.status != "completed":
        notification.status, notification.result = "completed", "failed"
        notification.error = "The emulator was stopped before this was delivered."
    return notification
