"""Retry work on a database that fails, so that what a job did is not lost."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import close_old_connections

from core.transactions import DATABASE_IS_AWAY

T = TypeVar("T")
MOST_SECONDS = 3600
PAUSE = 1


def with_retries(work: Callable[[], T]) -> T:
    """Return what work on the database returns, retried for up to MOST_SECONDS while it fails."""
    until = time.monotonic() + MOST_SECONDS
    while True:
        try:
            return work()
        except DATABASE_IS_AWAY:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE)
            close_old_connections()
