"""Transactions of the background worker, which must not crowd others out."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet

# What is raised while there is no database: nothing was done, and it recovers.
DATABASE_IS_AWAY = (OperationalError, InterfaceError)
# For the others to come in, in seconds: they look again after growing pauses.
GAP = 0.002
DELETED_AT_ONCE = 500
_turn = threading.Lock()


@contextmanager
def transaction_in_line() -> Iterator[None]:
    """A transaction; on SQLite the threads of a process take turns, with a gap in between.

    SQLite lets one write at a time and has the others try again now and then. Without turns
    one of some busy threads would starve, and without a gap the webhooks would.
    """
    if connection.vendor != "sqlite":
        with transaction.atomic():
            yield
        return
    with _turn:
        with transaction.atomic():
            yield
        time.sleep(GAP)


def delete_in_portions(rows: QuerySet[Any]) -> None:
    """Delete rows, some at a time, so that a webhook gets its turn to write in between."""
    keys = rows.order_by().values_list("pk", flat=True)
    while portion := list(keys[:DELETED_AT_ONCE]):
        rows.model._default_manager.filter(pk__in=portion).delete()
