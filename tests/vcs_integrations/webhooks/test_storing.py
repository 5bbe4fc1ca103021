"""Webhooks that arrive at once: they share a commit, and each gets the answer of its own row."""

import http.client
import json
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from tests.endpoint import Endpoint
from tests.processes import wait_for
from tests.vcs_integrations.webhooks.conftest import PUSH, Served, uses_sqlite, worker_of
from vcs_integrations.models import Delivery
from vcs_integrations.providers.base import Outcome

pytestmark = pytest.mark.on_postgresql

INSERT = "INSERT INTO"


def push(number: int) -> bytes:
    """Return a push as the notification of a number."""
    return json.dumps(json.loads(PUSH) | {"notificationId": number}).encode()


class Senders:
    """Threads that each post a delivery, all but the first one while that is being stored.

    `inserts` says which sender's connection each INSERT went over, in their order. It waits there
    until `go_on` is called.
    """

    busy_timeout_ms = 5000

    def __init__(self, endpoint: Endpoint, bodies: Sequence[bytes]) -> None:
        self.endpoint = endpoint
        self.inserts: list[int] = []
        self.answers: dict[int, tuple[int, str]] = {}
        self._may_insert = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._post, args=(number, body), daemon=True)
            for number, body in enumerate(bodies)
        ]

    def send(self) -> None:
        """Return once the first one's INSERT and all others wait."""
        first, *others = self._threads
        first.start()
        assert wait_for(lambda: self.inserts)
        for thread in others:
            thread.start()
        assert wait_for(lambda: all(_is_waiting(thread) for thread in others))

    def go_on(self, inserts: int) -> None:
        """Let some INSERTs happen; return once the next one waits, or all senders have ended."""
        until = len(self.inserts) + inserts
        self._may_insert.release(inserts)
        assert wait_for(lambda: len(self.inserts) == until or not self._are_sending())

    def end(self) -> list[tuple[int, str]]:
        """Let all the rest happen; return the answers in the order of the bodies."""
        self._may_insert.release(10_000)
        for thread in self._threads:
            thread.join(60)
        assert not self._are_sending()
        return [self.answers[number] for number in range(len(self._threads))]

    def _are_sending(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _post(self, number: int, body: bytes) -> None:
        def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
            if sql.startswith(INSERT):
                self.inserts.append(number)
                self._may_insert.acquire()
            return run(sql, *arguments)

        try:
            if connection.vendor == "sqlite":
                connection.cursor().execute(f"PRAGMA busy_timeout = {self.busy_timeout_ms}")
            with connection.execute_wrapper(execute):
                answer = self.endpoint.post(body)
            self.answers[number] = answer.status_code, answer.content.decode().strip()
        finally:
            connection.close()


def _is_waiting(thread: threading.Thread) -> bool:
    """Say whether a thread waits for another one."""
    frame = sys._current_frames().get(thread.ident or 0)
    return bool(frame) and frame.f_code is threading.Condition.wait.__code__  # type: ignore[union-attr]


def stored_numbers() -> list[int]:
    numbers = Delivery.objects.exclude(outcome=Outcome.DUPLICATE).values_list("notification_id")
    return sorted(int(number) for (number,) in numbers if number)


def outcomes() -> Counter[str]:
    return Counter(Delivery.objects.values_list("outcome", flat=True))


def test_webhooks_that_arrive_while_one_is_stored_share_a_commit(real_endpoint: Endpoint) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(8)])
    senders.send()
    assert senders.end() == [(200, "Stored")] * 8
    assert len(senders.inserts) == 2
    assert outcomes() == {Outcome.STORED: 8}
    assert stored_numbers() == [*range(8)]


def test_nobody_is_answered_before_their_own_row_is_stored(real_endpoint: Endpoint) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(4)])
    senders.send()
    assert not senders.answers
    assert not Delivery.objects.exists()
    senders.go_on(1)
    assert wait_for(lambda: 0 in senders.answers)
    assert list(senders.answers) == [0]  # the others' INSERT waits
    assert Delivery.objects.get().notification_id == "0"
    senders.end()
    assert Delivery.objects.count() == 4


def test_one_commit_has_a_bounded_number_of_rows(real_endpoint: Endpoint) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(66)])
    senders.send()
    assert set(senders.end()) == {(200, "Stored")}
    assert 2 < len(senders.inserts) < 5
    assert Delivery.objects.count() == 66


def test_of_the_same_notification_in_one_group_only_one_counts(real_endpoint: Endpoint) -> None:
    bodies = [push(1), push(2), push(2), push(1), push(3), push(2)]
    senders = Senders(real_endpoint, bodies)
    senders.send()
    answers = senders.end()
    assert answers[0] == answers[4] == (200, "Stored")
    assert answers[3] == (200, "Duplicate")
    of_two = Counter(answers[number] for number in (1, 2, 5))
    assert of_two == {(200, "Stored"): 1, (200, "Duplicate"): 2}
    assert outcomes() == {Outcome.STORED: 3, Outcome.DUPLICATE: 3}
    repeated = Delivery.objects.filter(outcome=Outcome.DUPLICATE)
    assert {one.reason for one in repeated} == {
        "Notification 1 was received before",
        "Notification 2 was received before",
    }
    assert not repeated.exclude(due_at=None).exists()


@pytest.fixture
def refuses_seven(real_endpoint: Endpoint) -> Iterator[None]:
    """Have the database refuse notification 7."""
    table = Delivery._meta.db_table
    refused = "notification_id <> '7'"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER seven BEFORE INSERT ON {table} WHEN NEW.notification_id = '7' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        else:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT seven CHECK ({refused})")
    yield
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER seven")
        else:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT seven")


def test_a_row_that_the_database_refuses_fails_alone(
    real_endpoint: Endpoint, refuses_seven: None
) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(5, 10)])
    senders.send()
    stored, refused = (200, "Stored"), (503, "The request could not be stored; send it again.")
    assert senders.end() == [stored, stored, refused, stored, stored]
    assert stored_numbers() == [5, 6, 8, 9]


def test_without_a_commit_no_answer_says_that_it_is_stored(real_endpoint: Endpoint) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(5)])
    senders.send()
    with _without_table():
        answers = senders.end()
    assert answers == [(503, "The request could not be stored; send it again.")] * 5
    assert not Delivery.objects.exists()
    assert real_endpoint.post(PUSH).status_code == 200


@contextmanager
def _without_table() -> Iterator[None]:
    table = Delivery._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@uses_sqlite
def test_a_busy_database_is_waited_for_once_for_all(real_endpoint: Endpoint) -> None:
    senders = Senders(real_endpoint, [push(number) for number in range(5)])
    senders.busy_timeout_ms = 100
    senders.send()
    lock = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    try:
        lock.execute("BEGIN IMMEDIATE")
        answers = senders.end()
    finally:
        lock.close()
    assert answers == [(503, "The request could not be stored; send it again.")] * 5
    assert len(senders.inserts) == 2
    assert not Delivery.objects.exists()


def test_a_webhook_that_comes_alone_waits_for_nobody(
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    def wait(*arguments: Any) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(threading.Condition, "wait", wait)
    monkeypatch.setattr("time.sleep", wait)
    with django_assert_num_queries(2):  # whose endpoint it is, and the row
        assert endpoint.post(PUSH).status_code == 200


# Behind the real web server


@uses_sqlite
def test_of_many_at_once_each_notification_counts_once(
    real_endpoint: Endpoint, served: Served
) -> None:
    def post(number: int) -> int:
        return served.ask(real_endpoint, push(number))[0]

    with ThreadPoolExecutor(16) as senders:
        assert set(senders.map(post, [*range(20)] * 4)) == {200}
    assert outcomes() == {Outcome.STORED: 20, Outcome.DUPLICATE: 60}
    assert stored_numbers() == [*range(20)]


@uses_sqlite
def test_what_was_answered_is_stored_if_the_server_is_killed(
    real_endpoint: Endpoint, served: Served
) -> None:
    answered: list[int] = []

    def post_until_killed(first: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            for number in count(first, 16):
                assert served.ask(real_endpoint, push(number))[0] == 200
                answered.append(number)

    with ThreadPoolExecutor(16) as senders:
        posting = [senders.submit(post_until_killed, first) for first in range(16)]
        assert wait_for(lambda: len(answered) > 100)
        for pid in (served.pid, worker_of(served)):
            os.kill(pid, signal.SIGKILL)
    for one in posting:
        one.result()
    assert set(answered) <= set(stored_numbers())
    assert Delivery.objects.count() == len(set(stored_numbers()))
