"""Threads of comments on a pull request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import RefusedError

if TYPE_CHECKING:
    from .model import Identity
    from .pull_requests import PullRequest

THREAD_STATES = ("unknown", "active", "fixed", "wontFix", "closed", "byDesign", "pending")
COMMENT_TYPES = ("unknown", "text", "codeChange", "system")
COMMENT_LIMIT = 150_000
COMMENTS_LIMIT = 500


@dataclass
class Comment:
    """A comment; a deleted one keeps its place and loses its content."""

    id: int
    parent_id: int
    author: Identity
    content: str
    comment_type: str
    published: datetime
    updated: datetime
    is_deleted: bool = False


@dataclass(eq=False)
class Thread:
    """Comments that belong together; both contexts are kept as they were given.

    It may be used whatever the state of the pull request. RefusedError if something cannot be done.
    """

    pull_request: PullRequest
    id: int
    published: datetime
    updated: datetime
    status: str = "unknown"
    properties: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] | None = None
    pull_request_context: dict[str, Any] | None = None
    comments: list[Comment] = field(default_factory=list)

    @property
    def is_deleted(self) -> bool:
        """Whether nothing is left of it."""
        return all(one.is_deleted for one in self.comments)

    def comment(self, number: int) -> Comment:
        """Return a comment by its id, a deleted one too."""
        found = next((one for one in self.comments if one.id == number), None)
        if found is None:
            raise RefusedError(
                f"The comment {number} of thread {self.id} does not exist.",
                "CommentNotFoundException",
                404,
            )
        return found

    def reply(
        self,
        content: str,
        user: str = "Ann Admin",
        *,
        parent: int = 0,
        comment_type: str = "text",
    ) -> Comment:
        """Add a comment."""
        _check_content(content)
        if comment_type not in COMMENT_TYPES:
            raise RefusedError(f"The comment type '{comment_type}' is not known.")
        with self.pull_request.repository.lock:
            if len(self.comments) >= COMMENTS_LIMIT:
                raise RefusedError(f"A thread cannot have more than {COMMENTS_LIMIT} comments.")
            number, person, moment = len(self.comments) + 1, self._person(user), self._now()
            made = Comment(number, parent, person, content, comment_type, moment, moment)
            self.comments.append(made)
            self._changed()
        return made

    def edit(self, number: int, content: str, user: str = "Ann Admin") -> Comment:
        """Change what a comment says; only its author may."""
        _check_content(content)
        with self.pull_request.repository.lock:
            found = self._own(number, user)
            found.content, found.updated = content, self._now()
            self._changed()
        return found

    def delete(self, number: int, user: str = "Ann Admin") -> None:
        """Delete a comment; only its author may."""
        with self.pull_request.repository.lock:
            found = self._own(number, user)
            found.content, found.is_deleted, found.updated = "", True, self._now()
            self._changed()

    def update(self, status: str | None = None, properties: dict[str, Any] | None = None) -> None:
        """Change the status, and add or replace properties."""
        if status is not None:
            check_thread_status(status)
        with self.pull_request.repository.lock:
            self.status = self.status if status is None else status
            self.properties = self.properties | (properties or {})
            self._changed()

    def _own(self, number: int, user: str) -> Comment:
        found = self.comment(number)
        if found.is_deleted:
            raise RefusedError(f"The comment {number} of thread {self.id} is deleted.")
        if found.author.id != self._person(user).id:
            raise RefusedError(
                f"The comment {number} of thread {self.id} belongs to {found.author.name}.",
                "GitPullRequestCommentCannotBeUpdatedException",
                403,
            )
        return found

    def _person(self, name: str) -> Identity:
        return self.pull_request.repository.organization.identity(name)

    def _now(self) -> datetime:
        return self.pull_request.repository.organization.now()

    def _changed(self) -> None:
        self.updated = self._now()
        self.pull_request.repository.organization.state.save()


def check_thread_status(status: str) -> None:
    """Raise RefusedError unless a thread can have this status."""
    if status not in THREAD_STATES:
        raise RefusedError(f"The status '{status}' is none of {', '.join(THREAD_STATES)}.")


def _check_content(content: str) -> None:
    if not content:
        raise RefusedError("A comment needs content.")
    if len(content) > COMMENT_LIMIT:
        raise RefusedError(
            f"A discussion comment cannot be longer than {COMMENT_LIMIT} characters."
        )
