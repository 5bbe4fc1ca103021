"""Claiming work: one worker at a time does what is due, and another does what a dead one left.

Work is a row that says when it is due. A worker claims it by a lease, which ends unless it is
renewed. Each claim has a token of its own: who holds an old one can neither renew the lease nor
release the row or change what a later holder stored through `held`.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from django.db import DatabaseError, InterfaceError, connections, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.crypto import get_random_string

from core.backoff import wait_after
from core.prepared import Given, Prepared
from core.transactions import transaction_in_line

logger = logging.getLogger(__name__)

M = TypeVar("M", bound="Leased", covariant=True)
TOKEN_LENGTH = 32
NOW = Given("now", models.DateTimeField())
Moment = datetime | Given | None


class LeaseLost(Exception):
    """Another worker claimed the row, or it is gone."""


class LeasedQuerySet(models.QuerySet[M]):
    """Rows of work. A subclass may narrow `due` to what can be done at present.

    What `at` names is the time that counts, now if it is left out.
    """

    def free(self, at: Moment = None) -> Self:
        """Those that no worker holds."""
        at = at or timezone.now()
        return self.filter(Q(lease_until=None) | Q(lease_until__lte=at))

    def due(self, at: Moment = None) -> Self:
        """Those to be worked on now, the longest due first."""
        at = at or timezone.now()
        return self.free(at).filter(due_at__lte=at).order_by("due_at", "pk")

    def claim_one(self, duration: timedelta) -> M | None:
        """Claim the row that has been due longest; None if none is due."""
        return next(iter(self.claim(duration)), None)

    def claim(self, duration: timedelta, most: int = 1) -> list[M]:
        """Claim due rows, the longest due first; return those that are this worker's now."""
        if not _any_due(self.model).rows(now=timezone.now()):  # mostly; it needs no transaction
            return []
        with transaction_in_line():
            return self.due().claim_these(duration, most)

    def claim_these(self, duration: timedelta, most: int = 1) -> list[M]:
        """Claim free rows in the order of this query, whether they are due or not."""
        with transaction.atomic(savepoint=False):
            return self.hold(list(self.free().locked()[:most]), duration)

    def locked(self) -> Self:
        """Those that no other worker is about to claim."""
        return self.select_for_update(skip_locked=True, of=("self",))

    def hold(self, rows: list[M], duration: timedelta) -> list[M]:
        """Claim free rows that this transaction has locked; return them."""
        token, until = get_random_string(TOKEN_LENGTH), timezone.now() + duration
        self.model._default_manager.filter(pk__in=[row.pk for row in rows]).update(
            lease_until=until, lease_token=token
        )
        for row in rows:
            row.lease_until, row.lease_token = until, token
        return rows


@cache
def _any_due(model: type[M]) -> Prepared[M]:
    """Return the query whether any row of a model is due; workers ask it all the time."""
    rows: LeasedQuerySet[M] = model._default_manager.all()  # type: ignore[assignment]
    return Prepared(lambda: rows.due(NOW).values("pk")[:1])


class Leased(models.Model):
    """A row of work: when it is due, who holds it, and how often it failed in a row."""

    due_at = models.DateTimeField(null=True, blank=True, help_text="empty: nothing is to be done")
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.CharField(max_length=TOKEN_LENGTH, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="since it last went well")

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        """Store the row, but not its lease: a worker may have claimed it since it was read."""
        is_stored = self.pk is not None and not self._state.adding
        if is_stored and options.get("update_fields") is None:
            stored = {
                field.attname for field in self._meta.concrete_fields if not field.primary_key
            }
            left = self.get_deferred_fields() | {"lease_until", "lease_token"}
            options["update_fields"] = stored - left
        super().save(*args, **options)

    @property
    def is_held(self) -> bool:
        """Whether a worker is at it."""
        return self.lease_until is not None and self.lease_until > timezone.now()

    def held(self) -> "models.QuerySet[Self]":
        """Return the row, to be updated; nothing once another worker has claimed it."""
        return type(self)._default_manager.filter(pk=self.pk, lease_token=self.lease_token)

    def renew(self, duration: timedelta) -> None:
        """Hold the row for that long from now. Raises LeaseLost."""
        until = timezone.now() + duration
        if not self.held().update(lease_until=until):
            raise LeaseLost
        self.lease_until = until

    def release(self, due_at: datetime | None, *, failures: int = 0, **fields: Any) -> bool:
        """Give the row back, due again then or never, with other fields changed.

        Where somebody asked for it at another time meanwhile, that counts. Returns False, having
        changed nothing, where the lease was lost.
        """
        as_claimed = When(due_at=self.due_at, then=Value(due_at)) if self.due_at else None
        next_at = Case(as_claimed, default=F("due_at")) if as_claimed else Value(due_at)
        return bool(
            self.held().update(
                due_at=next_at, lease_until=None, lease_token="", failures=failures, **fields
            )
        )

    def retry_later(
        self,
        first: timedelta,
        most: timedelta,
        asked: int | None = None,
        **fields: Any,
    ) -> bool:
        """Give the row back to be tried again: after `first`, then less and less often.

        `most` is the longest wait, unless the provider `asked` for more seconds.
        """
        wait = wait_after(self.failures, first, most, asked)
        return self.release(timezone.now() + wait, failures=self.failures + 1, **fields)


class Keeping:
    """Renews the leases of rows from one claim, from a thread of its own, until the block ends.

    So a lease may be short, and a dead worker's rows are claimed soon, however long a call takes.
    """

    def __init__(self, rows: Sequence[Leased], duration: timedelta) -> None:
        self._rows, self._duration = rows, duration
        self._is_over = Event()
        self._renewed_at = time.monotonic()
        self._thread = Thread(target=self._keep, name="leases", daemon=True)

    def __enter__(self) -> "Keeping":
        if self._rows:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        if self._rows:
            self._thread.join()

    @property
    def may_have_ended(self) -> bool:
        """Whether the database was away for so long that others may have claimed the rows."""
        return time.monotonic() > self._renewed_at + self._duration.total_seconds()

    def _keep(self) -> None:
        renew_every = self._duration.total_seconds() / 6
        retry_every = renew_every / 5
        wait = renew_every
        try:
            while not self._is_over.wait(wait):
                wait = renew_every if self._renew() else retry_every
        finally:
            connections.close_all()  # they are this thread's own

    def _renew(self) -> bool:
        """Renew the leases once; return False if the database failed."""
        began = time.monotonic()
        keys = [row.pk for row in self._rows]
        held = type(self._rows[0])._default_manager.filter(
            pk__in=keys, lease_token=self._rows[0].lease_token
        )
        try:
            held.update(lease_until=timezone.now() + self._duration)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A lease was not renewed: %s", error.__class__.__name__)
            connections.close_all()
            return False
        self._renewed_at = began
        return True
