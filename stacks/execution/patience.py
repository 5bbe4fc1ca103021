"""Waiting for a database that is in trouble: what a job did is not lost over it."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections

T = TypeVar("T")
MOST_SECONDS = 3600
PAUSE = 1


def patiently(work: Callable[[], T]) -> T:
    """Return what some work on the database returns, tried again as long as it is in trouble."""
    until = time.monotonic() + MOST_SECONDS
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError):
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE)
            close_old_connections()
