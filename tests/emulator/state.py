"""Keeping everything: git repositories under root/git, all else in root/state.json."""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .git import GitRepository
from .model import (
    Identity,
    Notification,
    Organization,
    Project,
    Push,
    RefUpdate,
    Repository,
    Subscription,
    Token,
)

_TEMPLATE_FILES = {
    "main.tf": 'resource "terraform_data" "service" {\n  input = var.name\n}\n',
    "variables.tf": 'variable "name" {\n  type    = string\n  default = "service"\n}\n',
}
_TEMPLATE_DATE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class State:
    """All organizations, saved after each change and read again at the next start."""

    def __init__(
        self,
        root: Path,
        allow_local_hooks: bool,
        push_recorded: Callable[[Repository, Push], None],
    ) -> None:
        self.root = root
        self.allow_local_hooks = allow_local_hooks
        self.push_recorded = push_recorded
        self.base_url = ""
        self.lock = threading.RLock()
        self.organizations: list[Organization] = []
        self._file = root / "state.json"
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
                repository.commit_files(
                    "main", _TEMPLATE_FILES, "Initial commit", author, None, _TEMPLATE_DATE
                )
        return repository

    def save(self) -> None:
        """Write the state file; a reader sees either the old one or the new one."""
        with self.lock:
            data = {"organizations": [_organization_data(one) for one in self.organizations]}
            self.root.mkdir(parents=True, exist_ok=True)
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(data, default=_date_text), encoding="utf-8")
            partial.replace(self._file)

    def _load(self) -> None:
        if self._file.exists():
            data = json.loads(self._file.read_text(encoding="utf-8"))
            self.organizations = [_organization(self, one) for one in data["organizations"]]


def _date_text(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
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
        "tokens": [asdict(token) for token in organization.tokens],
        "projects": [_project_data(project) for project in organization.projects],
        "subscriptions": [asdict(one) for one in organization.subscriptions],
        "notifications": [vars(one) for one in organization.notifications],
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
        "pushes": [asdict(push) for push in repository.pushes],
    }


def _organization(state: State, data: dict[str, Any]) -> Organization:
    projects, tokens = data.pop("projects"), data.pop("tokens")
    subscriptions, notifications = data.pop("subscriptions"), data.pop("notifications")
    organization = Organization(state, **data)
    organization.projects = [_project(organization, one) for one in projects]
    organization.tokens = [_token(one) for one in tokens]
    organization.subscriptions = [_subscription(one) for one in subscriptions]
    organization.notifications = [_notification(one) for one in notifications]
    return organization


def _token(data: dict[str, Any]) -> Token:
    scopes = frozenset(data["scopes"])
    return Token(data["secret"], data["user"], scopes, _date(data["expires_on"]))


def _project(organization: Organization, data: dict[str, Any]) -> Project:
    changed = datetime.fromisoformat(data["changed_date"])
    project = Project(organization, data["id"], data["name"], changed)
    project.repositories = [_repository(project, one) for one in data["repositories"]]
    return project


def _repository(project: Project, data: dict[str, Any]) -> Repository:
    pushes = [_push(one) for one in data.pop("pushes")]
    return Repository(project, **data, pushes=pushes)


def _push(data: dict[str, Any]) -> Push:
    return Push(
        data["id"],
        datetime.fromisoformat(data["date"]),
        Identity(**data["pushed_by"]),
        tuple(RefUpdate(**update) for update in data["ref_updates"]),
        tuple(data["commits"]),
    )


def _subscription(data: dict[str, Any]) -> Subscription:
    data["created_by"] = Identity(**data["created_by"])
    data["created_date"] = datetime.fromisoformat(data["created_date"])
    data["modified_date"] = datetime.fromisoformat(data["modified_date"])
    return Subscription(**data)


def _notification(data: dict[str, Any]) -> Notification:
    data["created_date"] = datetime.fromisoformat(data["created_date"])
    data["completed_date"] = _date(data["completed_date"])
    notification = Notification(**data)
    if notification.status != "completed":
        notification.status, notification.result = "completed", "failed"
        notification.error = "The emulator was stopped before this was delivered."
    return notification
