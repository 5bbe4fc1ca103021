"""Statuses of commits and pull requests, and the branch policies that ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import RefusedError

if TYPE_CHECKING:
    from .model import Identity

STATES = ("notSet", "pending", "succeeded", "failed", "error", "notApplicable")
_PASSING = ("succeeded", "notApplicable")


@dataclass(frozen=True)
class Context:
    """What a status is about; a policy compares both parts. RefusedError without a name."""

    genre: str
    name: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise RefusedError("A status needs a context with a name that is not empty.")

    @classmethod
    def of(cls, text: str) -> Context:
        """Read `genre/name` as the policy's single field does: the last slash divides."""
        genre, _, name = text.rpartition("/")
        return cls(genre, name)

    def __str__(self) -> str:
        return f"{self.genre}/{self.name}" if self.genre else self.name


@dataclass(frozen=True)
class Status:
    """One status as it was posted; it is never changed. RefusedError if it cannot be posted."""

    id: int
    context: Context
    state: str
    description: str
    target_url: str
    created_by: Identity
    date: datetime
    iteration_id: int | None = None
    properties: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise RefusedError(f"The state '{self.state}' is none of {', '.join(STATES)}.")

    @property
    def passes(self) -> bool:
        """Whether a policy is content with it."""
        return self.state in _PASSING


@dataclass(frozen=True)
class StatusPolicy:
    """A branch policy: a pull request to the branch needs a status that passes."""

    context: Context
    target_ref: str
    reset_on_push: bool


def latest(statuses: Iterable[Status]) -> list[Status]:
    """Return the last one of each context, in the order in which they were posted."""
    found: dict[Context, Status] = {}
    for one in statuses:
        found.pop(one.context, None)
        found[one.context] = one
    return list(found.values())
