"""Plain: a source-control host of the plainest kind, in this process, for tests alone.

Its webhooks are signed by HMAC over their body and name their event in a header. One hook of an
organization sends all events. Pushes have no ids, pull requests no revisions and no statuses of
their own, and nobody can ask for the result of a webhook request.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from vcs_integrations.providers.base import StatusReport

NOTHING = "0" * 40
# Plain has no projects: all repositories of an organization are in this one.
PROJECT = "all"
START = datetime(2026, 1, 1, tzinfo=UTC)
# Posts a webhook request: to a URL, with headers and a body.
Post = Callable[[str, Mapping[str, str], bytes], None]


@dataclass
class Commit:
    """A commit with all its files, content by path."""

    sha: str
    message: str
    files: Mapping[str, str]
    parent: "Commit | None"

    def ancestors(self) -> "list[Commit]":
        """Return it and those before it, the newest first."""
        return [self, *(self.parent.ancestors() if self.parent else [])]


@dataclass(frozen=True)
class Move:
    """A branch or tag that was created, moved or deleted; a sha that is missing is NOTHING."""

    at: datetime
    kind: str
    name: str
    before: str
    after: str


@dataclass
class PullRequest:
    number: int
    title: str
    source: str
    target: str
    status: str = "open"
    created_at: datetime = START
    comments: dict[int, str] = field(default_factory=dict)


@dataclass
class Hook:
    id: str
    url: str
    secret: str
    label: str = ""


@dataclass
class Repository:
    """A repository; `moves` are those of its branches and tags, the oldest first."""

    name: str
    id: str = field(default_factory=lambda: f"repository-{uuid4().hex[:8]}")
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    pull_requests: dict[int, PullRequest] = field(default_factory=dict)
    statuses: dict[str, list[StatusReport]] = field(default_factory=dict)


class Organization:
    """What Plain hosts at one address; `post` delivers its webhook requests."""

    def __init__(self, url: str, token: str, post: Post) -> None:
        self.url, self.token, self._post = url, token, post
        self.repositories: dict[str, Repository] = {}
        self.hooks: dict[str, Hook] = {}
        self._ticks = count(1)

    def add_repository(self, name: str) -> Repository:
        made = Repository(name)
        self.repositories[made.id] = made
        return made

    def push(self, where: Repository, branch: str, files: Mapping[str, str], message: str) -> str:
        """Add a commit with changed files to a branch, a new one begins at main; return its sha."""
        parent = where.branches.get(branch) or where.branches.get("main")
        sha = hashlib.sha1(f"{len(where.commits)} {message}".encode()).hexdigest()  # noqa: S324
        commit = Commit(sha, message, {**(parent.files if parent else {}), **files}, parent)
        where.commits[sha] = commit
        before = where.branches.get(branch)
        where.branches[branch] = commit
        self._move(where, "branch", branch, before.sha if before else NOTHING, sha)
        for one in where.pull_requests.values():
            if one.source == branch and one.status == "open":
                self._send("pull_request", where, {"number": one.number})
        return sha

    def tag(self, where: Repository, name: str, branch: str) -> str:
        """Let a tag name the newest commit of a branch; return its sha. Plain's have no text."""
        before, commit = where.tags.get(name), where.branches[branch]
        where.tags[name] = commit
        self._move(where, "tag", name, before.sha if before else NOTHING, commit.sha)
        return commit.sha

    def open_pull_request(self, where: Repository, source: str, target: str) -> int:
        number = len(where.pull_requests) + 1
        made = PullRequest(number, f"Merge {source}", source, target, created_at=self._now())
        where.pull_requests[number] = made
        self._send("pull_request", where, {"number": number})
        return number

    def close(self, where: Repository, number: int, *, merged: bool) -> None:
        one = where.pull_requests[number]
        one.status = "merged" if merged else "closed"
        self._send("pull_request", where, {"number": number})

    def ping(self, hook: Hook) -> str:
        """Send a sample by a hook; return the id of the request."""
        return self._deliver(hook, "ping", {"zen": "Keep it plain."})

    def _move(self, where: Repository, kind: str, name: str, before: str, after: str) -> None:
        move = Move(self._now(), kind, name, before, after)
        where.moves.append(move)
        self._send("push", where, move_as_json(move))

    def _send(self, event: str, where: Repository, body: Mapping[str, Any]) -> None:
        for hook in self.hooks.values():
            self._deliver(hook, event, {"repository": {"id": where.id, "name": where.name}, **body})

    def _deliver(self, hook: Hook, event: str, payload: Mapping[str, Any]) -> str:
        body, delivery_id = json.dumps(payload).encode(), str(uuid4())
        signature = hmac.new(hook.secret.encode(), body, "sha256").hexdigest()
        headers = {"X-Plain-Event": event, "X-Plain-Delivery": delivery_id}
        self._post(hook.url, headers | {"X-Plain-Signature": signature}, body)
        return delivery_id

    def _now(self) -> datetime:
        """Return a moment; no two things happen at the same one."""
        return datetime.now(UTC) + timedelta(microseconds=next(self._ticks))


def move_as_json(move: Move) -> dict[str, str]:
    """Return a move as webhooks and answers hold it."""
    return {
        "at": move.at.isoformat(),
        move.kind: move.name,
        "before": move.before,
        "after": move.after,
    }


# The organizations that there are, by their URLs.
ORGANIZATIONS: dict[str, Organization] = {}
