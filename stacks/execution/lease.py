"""Keeping a run as long as its worker works on it, whatever that is busy with."""

import logging
import time
from threading import Event, Thread
from types import TracebackType

from django.db import DatabaseError, InterfaceError, connections

from stacks.execution import queue
from stacks.models import Run

logger = logging.getLogger(__name__)

RENEW_EVERY = 10  # seconds
# After a failure: the lease does not last for many.
RETRY_EVERY = 2


class Lease:
    """Renews a worker's lease of a run from a thread of its own, until the block ends."""

    def __init__(self, run: Run) -> None:
        self._run, self._worker = run.pk, run.worker
        self._is_over = Event()
        self._renewed_at = time.monotonic()
        self._thread = Thread(target=self._keep, name=f"lease of run {run.pk}", daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def may_have_ended(self) -> bool:
        """Whether nothing was heard of the database for so long that others may have the run."""
        return time.monotonic() > self._renewed_at + queue.LEASE.total_seconds()

    def _keep(self) -> None:
        wait = RENEW_EVERY
        try:
            while not self._is_over.wait(wait):
                wait = RENEW_EVERY if self._renew() else RETRY_EVERY
        finally:
            # They are this thread's own.
            connections.close_all()

    def _renew(self) -> bool:
        """Renew the lease once; return False if the database failed."""
        began = time.monotonic()
        try:
            queue.renew(self._run, self._worker)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A lease was not renewed: %s", error.__class__.__name__)
            connections.close_all()
            return False
        self._renewed_at = began
        return True
