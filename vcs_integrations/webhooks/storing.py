"""Store deliveries: requests that arrive while one is being stored share the next commit.

A commit waits for the disk, and SQLite commits one at a time. So one request of a process stores
while the others queue. Then the first in the queue stores all that wait there in one statement,
over its own connection. A request that comes alone waits for nobody.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from itertools import islice
from threading import Lock
from typing import Any

from django.db import (
    DEFAULT_DB_ALIAS,
    IntegrityError,
    connection,
    connections,
)
from django.db.models import Field

from core.transactions import DATABASE_IS_AWAY
from vcs_integrations.models import Delivery
from vcs_integrations.providers.base import Outcome

# Some builds of SQLite allow 999 values in a statement, and a row has about 20.
MOST_TOGETHER = 40

# The first one is being stored, with those right behind it that were there when that began. The
# others' requests wait for their turn: True if they have to store, False if that is done.
_queue: "deque[tuple[Delivery, Future[bool]]]" = deque()
_lock = Lock()


def store(delivery: Delivery) -> None:
    """Store a new delivery, as a duplicate if it was received before; it is durable on return.

    The instance gets no key. Raises Django's errors if the database is away or refuses the row.
    """
    turn: Future[bool] = Future()
    with _lock:
        _queue.append((delivery, turn))
        is_first = len(_queue) == 1
    if is_first or turn.result():
        _store_queued()


def _store_queued() -> None:
    """Store what is queued, of which the first is this request's own, and pass the turn on."""
    with _lock:
        group = list(islice(_queue, MOST_TOGETHER))
    errors = list(_store_together([delivery for delivery, _ in group]))
    with _lock:
        for _ in group:
            _queue.popleft()
        following = _queue[0][1] if _queue else None
    if following:
        following.set_result(True)
    for (_, turn), error in zip(group[1:], errors[1:], strict=True):
        if error:
            turn.set_exception(error)
        else:
            turn.set_result(False)
    if errors[0]:
        raise errors[0]


def _store_together(deliveries: Sequence[Delivery]) -> Iterator[BaseException | None]:
    """Store deliveries; yield for each the error that it failed with."""
    try:
        _insert(deliveries)
    except DATABASE_IS_AWAY as error:
        yield from [error] * len(deliveries)
    except BaseException:  # a row is refused, mostly as a duplicate; the others must not fail too
        yield from _store_each(deliveries)
    else:
        yield from [None] * len(deliveries)


def _store_each(deliveries: Sequence[Delivery]) -> Iterator[BaseException | None]:
    """Store deliveries one at a time until the database is away; yield as above."""
    error: BaseException | None = None
    for delivery in deliveries:
        if not isinstance(error, DATABASE_IS_AWAY):
            error = _store_alone(delivery)
        yield error


def _store_alone(delivery: Delivery) -> BaseException | None:
    """Store a delivery, or the fact that it is a duplicate; return the error if that fails."""
    try:
        try:
            _insert([delivery])
        except IntegrityError:
            if not delivery.notification_id:
                raise
            delivery.outcome, delivery.due_at = Outcome.DUPLICATE, None
            delivery.reason = f"Notification {delivery.notification_id} was received before"
            _insert([delivery])
    except BaseException as error:  # whatever it is, the request that waits has to be answered
        return error
    return None


def _insert(deliveries: Sequence[Delivery]) -> None:
    """Insert rows in one statement, which is a transaction of its own.

    `bulk_create` takes twice as long, and locks a SQLite database before it builds its statement.
    """
    database = connections[DEFAULT_DB_ALIAS]  # once: `connection` would look it up for each value
    values = [
        field.get_db_prep_save(getattr(delivery, field.attname), database)
        for delivery in deliveries
        for field in _fields()
    ]
    with database.cursor() as cursor:
        cursor.execute(_statement(len(deliveries)), values)


@cache
def _fields() -> list["Field[Any, Any]"]:
    return [field for field in Delivery._meta.local_concrete_fields if not field.primary_key]


@cache
def _statement(rows: int) -> str:
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in _fields())
    row = ", ".join(["%s"] * len(_fields()))
    table = connection.ops.quote_name(Delivery._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([f'({row})'] * rows)}"  # noqa: S608
