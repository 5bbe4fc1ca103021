"""How requests arrive and answers leave: a slow client costs a buffer, not a thread.

Gunicorn's own worker gives a connection a thread with its first byte, and the thread waits for the
rest, then until its answer is read: eight clients that stop halfway would keep everybody waiting.
This worker receives requests in its main loop and hands over what has arrived. A thread writes its
answer to memory; the main loop sends it, and only then turns to the connection's next request.

Gunicorn's parser reads what was handed over and alone decides what the request is. Where bytes are
missing, reading raises RestIsMissing, and the worker waits for more, then hands the request over
from its start. A view is asked before a slow or large body has arrived, so that it can refuse a
wrong password; if it reads the body instead, it is asked again once the body is there. So a view
must not change anything before it reads the body.

An answer that is made piece by piece, like the export of the audit log, may be far ahead of its
reader; beyond that its thread waits, which is the one case where reading slowly takes a thread.

Settings of gunicorn can't replace this: it has none for how long a thread waits for a request. In
version 27 a silent connection takes a thread for five seconds (DEFAULT_WORKER_DATA_TIMEOUT), one
that sent a byte takes it until the rest arrives, and more threads only raise how many of them it
takes. The methods that are overridden are no public API, so a test names the version that they
were written for.
"""

import re
import selectors
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EPIPE
from functools import partial
from math import inf
from socket import MSG_DONTWAIT, SHUT_WR, SO_LINGER, SO_SNDBUF, SOL_SOCKET, socket
from types import SimpleNamespace
from typing import Any

from gunicorn import http
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

# A request arrives within this time, or its connection is closed; so is one that sends nothing.
SECONDS_TO_ARRIVE = 10
# At this rate it has more time: a state of 64 MB may take minutes.
BYTES_FOR_A_FURTHER_SECOND = 64 * 1024
# The view is asked without the body once this much of it is here, or this long after the headers.
BYTES_TO_FOLLOW = 64 * 1024
SECONDS_TO_FOLLOW = 0.3
LARGEST_HEAD = 64 * 1024
# More than any view reads: states have 64 MB, in chunks somewhat more.
LARGEST_REQUEST = 72 * 1024 * 1024
# Of all connections of a process together.
MOST_BUFFERED = 256 * 1024 * 1024
# After an answer, what still comes is read and dropped: closing at once could cut the answer.
SECONDS_TO_DRAIN = 2
BYTES_TO_DRAIN = 16 * 1024 * 1024
# An answer is read within this time, or its connection is closed; a large one has more time, at
# the same rate as a request.
SECONDS_TO_SEND = 10
# Of what all connections of a process together have not read, besides what threads are writing.
MOST_UNREAD = 256 * 1024 * 1024
# So far ahead of its reader an answer that is made piece by piece may be: as large as a state.
MOST_AHEAD = 64 * 1024 * 1024
# Then a thread waits this long for the reader to take a piece, as long as the reader has time.
SECONDS_FOR_A_PIECE = 2
READ_AT_ONCE = 64 * 1024
SENT_AT_ONCE = 256 * 1024
# The kernel doubles this, and else takes some megabytes, which would seem to be read at once.
HELD_BY_KERNEL = 256 * 1024
# What the kernel holds is dropped with the connection.
RESET = struct.pack("ii", 1, 0)

# The parser refuses a line that ends without CR, so there is nothing to wait for.
END_OF_HEAD = re.compile(rb"\r\n\r\n|(?<!\r)\n")


class RestIsMissing(BaseException):
    """More is read than has arrived; no `except Exception` of a view stops this."""


class Received(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """What has arrived over a connection, for gunicorn's parser and for the view."""

    def __init__(self, conn: "Connection") -> None:
        super().__init__()
        self._conn, self._at = conn, 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        ends = self._at + max(8192, min(size_hint or 0, 2**20))
        part = bytes(self._conn.arrived[self._at : ends])
        self._at += len(part)
        if not part and self._at > LARGEST_HEAD and not self._conn.head:
            raise LimitRequestHeaders("max buffer headers")
        if not part:
            raise RestIsMissing
        return part

    def rest(self) -> bytes:
        """Return what has not been read yet."""
        return bytes(self.buf.getvalue() + self._conn.arrived[self._at :])


class Answer:
    """What is answered over a connection: gunicorn writes it here as to a socket."""

    def __init__(self, link: socket) -> None:
        self._link = link
        self.waiting = bytearray()  # what is not sent yet
        self.ends_at = 0.0
        self._new = 0  # how much came since sending was last tried

    def sendall(self, data: bytes) -> None:
        if not self.waiting:
            self.ends_at = time.monotonic() + SECONDS_TO_SEND
        if len(self.waiting) > MOST_AHEAD:
            self._wait_for_reader()
        self.waiting += data
        self._new += len(data)
        if self._new > SENT_AT_ONCE:
            self.send_some()

    def send(self, data: bytes) -> None:
        """Send what comes before the answer: that the body may come."""
        with suppress(BlockingIOError):
            self._link.send(data, MSG_DONTWAIT)

    def shutdown(self, how: int) -> None:
        """Refuse to close, where an answer broke off: the main loop does, once the rest is sent."""
        raise OSError

    def close(self) -> None:
        """Leave closing to the main loop."""

    def end(self) -> None:
        """Send a piece, which mostly is all of it; the time to read the rest begins now."""
        self.ends_at = max(self.ends_at, time.monotonic() + SECONDS_TO_SEND)
        self.send_some()

    def send_some(self) -> None:
        """Send at most one piece, without waiting. Raises OSError if the other side is gone."""
        self._new = 0
        with suppress(BlockingIOError):
            if self.waiting:
                self._send_piece(MSG_DONTWAIT)

    def _wait_for_reader(self) -> None:
        """Wait until a piece is taken. Raises BrokenPipeError if that takes too long."""
        left = self.ends_at - time.monotonic()
        self._link.settimeout(max(0.001, min(left, SECONDS_FOR_A_PIECE)))
        try:
            self._send_piece()
        except TimeoutError:
            raise BrokenPipeError(EPIPE, "The answer is not read") from None
        finally:
            self._link.settimeout(None)

    def _send_piece(self, flags: int = 0) -> None:
        sent = self._link.send(self.waiting[:SENT_AT_ONCE], flags)
        del self.waiting[:sent]
        self.ends_at += sent / BYTES_FOR_A_FURTHER_SECOND


class Connection(TConn):  # type: ignore[misc]
    """A connection, what has arrived of its present request, and what is unsent of its answer."""

    then: Callable[["Connection"], None]  # what comes once the answer is sent

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.data_ready = True
        self.sock.setsockopt(SOL_SOCKET, SO_SNDBUF, HELD_BY_KERNEL)
        self.answer = Answer(self.sock)
        self.arrived = bytearray()
        self.wait_for_request(SECONDS_TO_ARRIVE)

    def wait_for_request(self, seconds: float) -> None:
        """Begin with the next request, which has that much time if nothing of it has arrived."""
        self.began = time.monotonic()
        self.ends_at = self.began + (SECONDS_TO_ARRIVE if self.arrived else seconds)
        self.asks_at = inf  # when the view is asked, even if no more arrives
        self.head = 0  # the size of the headers, once the parser has read them
        self.whole: int | None = None  # the size of it all; of a chunked body, only the end says so
        self.drained: int | None = None  # how much came after the answer
        self._searched = self._times_asked = 0

    def add(self, data: bytes) -> None:
        if not self.arrived:
            self.began = time.monotonic()
        self.arrived += data
        further = len(self.arrived) / BYTES_FOR_A_FURTHER_SECOND
        self.ends_at = self.began + SECONDS_TO_ARRIVE + further

    @property
    def is_whole(self) -> bool:
        """Whether all of the request seems to be here; of a chunked one, that is a guess."""
        if self.whole is None:
            return self.arrived.endswith(b"\r\n\r\n")
        return len(self.arrived) >= self.whole

    @property
    def is_enough(self) -> bool:
        """Whether a thread can do something with what has arrived."""
        if not self.head:
            from_here = max(0, self._searched - 3)
            self._searched = len(self.arrived)
            found = END_OF_HEAD.search(self.arrived, from_here)
            return found is not None or len(self.arrived) > LARGEST_HEAD
        if time.monotonic() >= self.asks_at:
            return True
        if not self._times_asked:
            return self.is_whole or len(self.arrived) >= self.head + BYTES_TO_FOLLOW
        return self.whole is not None and self.is_whole

    def wait_for_body(self, request: Any) -> None:
        """Note what the parser knows of a request whose headers are here."""
        if not self.head:
            self.head = len(self.arrived) - len(self.parser.unreader.rest())
            self.asks_at = time.monotonic() + SECONDS_TO_FOLLOW
            if isinstance(request.body.reader, LengthReader):
                self.whole = self.head + request.body.reader.length

    def ask(self) -> None:
        """Note that the view is asked; should it miss something, it is asked again."""
        self._times_asked += 1
        pause = SECONDS_TO_FOLLOW * 2**self._times_asked
        self.asks_at = time.monotonic() + pause if self.whole is None else inf

    def end_request(self, rest: bytes) -> None:
        """Forget the request, apart from what has arrived of the next one."""
        self.arrived = bytearray(rest)
        self.asks_at = inf


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's worker with threads, which slow connections don't occupy."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.connections: set[Connection] = set()
        self.watched: set[Connection] = set()  # those that no thread has

    def accept(self, listener: socket) -> None:
        try:
            client, address = listener.accept()
        except OSError:  # it went away again
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, client, address, listener.getsockname())
        self.connections.add(conn)
        if self.nr_conns >= self.worker_connections and self.watched:
            self.drop(min(self.watched, key=lambda one: one.ends_at))
        self.go_on(conn)

    def go_on(self, conn: Connection) -> None:
        """Give a connection a thread if enough of its request is here, else wait for more."""
        if conn.is_enough:
            self.hand_over(conn)
        else:
            self.watch(conn)

    def hand_over(self, conn: Connection) -> None:
        """Have a thread read what has arrived."""
        conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
        conn.parser.unreader = Received(conn)
        self.enqueue_req(conn)

    def watch(self, conn: Connection) -> None:
        """Wait until the other side reads its answer, or sends if it has read it."""
        conn.sock.setblocking(False)
        self.watched.add(conn)
        event = selectors.EVENT_WRITE if conn.answer.waiting else selectors.EVENT_READ
        self.poller.register(conn.sock, event, partial(self.turn_to, conn))

    def unwatch(self, conn: Connection) -> None:
        self.watched.discard(conn)
        self.poller.unregister(conn.sock)

    def turn_to(self, conn: Connection, client: socket) -> None:
        """Send or receive, unless another event of the same round had the connection dropped."""
        if conn not in self.watched:
            return
        if conn.answer.waiting:
            self.unwatch(conn)
            self.send(conn)
        else:
            self.receive(conn, client)

    def drop(self, conn: Connection) -> None:
        if conn in self.watched:
            self.unwatch(conn)
        if conn.answer.waiting:
            conn.sock.setsockopt(SOL_SOCKET, SO_LINGER, RESET)
        self.connections.discard(conn)
        self.nr_conns -= 1
        conn.close()

    def receive(self, conn: Connection, client: socket) -> None:
        """Read what there is."""
        try:
            data = client.recv(READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if conn.drained is not None:
            conn.drained += len(data)
            if not data or conn.drained > BYTES_TO_DRAIN:
                self.drop(conn)
            return
        conn.add(data)
        if not data or len(conn.arrived) > LARGEST_REQUEST:
            self.drop(conn)
        elif conn.is_enough:
            self.unwatch(conn)
            self.hand_over(conn)
        elif len(conn.arrived) > LARGEST_HEAD + BYTES_TO_FOLLOW:
            self.bound_memory()

    def bound_memory(self) -> None:
        """Drop the connection that has waited longest of those with much."""
        if sum(len(one.arrived) for one in self.connections) > MOST_BUFFERED:
            large = [one for one in self.watched if len(one.arrived) > BYTES_TO_FOLLOW]
            self.drop(min(large, key=lambda one: one.began))

    def send(self, conn: Connection) -> None:
        """Send what the other side takes, and go on once it has it all."""
        try:
            conn.answer.send_some()
        except OSError:
            self.drop(conn)
            return
        if conn.answer.waiting:
            conn.ends_at = conn.answer.ends_at
            self.watch(conn)
        else:
            conn.then(conn)

    def bound_unread(self) -> None:
        """Drop connections that read slowest while all of them have too much to read."""
        reading = [one for one in self.watched if one.answer.waiting]
        reading.sort(key=lambda one: one.ends_at, reverse=True)
        while sum(len(one.answer.waiting) for one in reading) > MOST_UNREAD:
            self.drop(reading.pop())

    def handle(self, conn: Connection) -> object:
        """Answer a request, in a thread; return what `finish_request` has to know."""
        try:
            return super().handle(conn)
        except RestIsMissing:
            # After the answer it is only missing for the next request.
            return False if conn.drained is not None else RestIsMissing

    def handle_request(self, req: Any, conn: Connection) -> bool:
        conn.wait_for_body(req)
        if not conn.is_enough:
            raise RestIsMissing
        if not conn.is_whole:  # its rest would be taken for the next request
            req.force_close()
        conn.ask()
        to_memory = SimpleNamespace(sock=conn.answer, client=conn.client, server=conn.server)
        keeps = bool(super().handle_request(req, to_memory))
        conn.drained = 0
        conn.answer.end()
        return keeps

    def finish_request(self, conn: Connection, done: Any) -> None:
        """Go on with a connection after its thread, in the main loop."""
        result = False if done.cancelled() or done.exception() else done.result()
        if result is RestIsMissing:
            self.go_on(conn)
            return
        conn.end_request(conn.parser.unreader.rest() if result else b"")
        conn.then = self.keep if result else self.drain
        self.send(conn)
        if conn.answer.waiting:
            self.bound_unread()

    def keep(self, conn: Connection) -> None:
        """Wait for the next request, or go on with what has arrived of it."""
        conn.wait_for_request(self.cfg.keepalive)
        self.go_on(conn)

    def drain(self, conn: Connection) -> None:
        """Say that nothing more is sent, and wait until the other side closes."""
        try:
            conn.sock.shutdown(SHUT_WR)
        except OSError:
            self.drop(conn)
            return
        conn.wait_for_request(SECONDS_TO_DRAIN)
        conn.drained = 0
        self.watch(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, at most until something is due."""
        due_at = min((min(one.asks_at, one.ends_at) for one in self.watched), default=inf)
        super().wait_for_and_dispatch_events(max(0.0, min(timeout, due_at - time.monotonic())))
        if time.monotonic() >= due_at or not self.alive:
            self.end_overdue()

    def end_overdue(self) -> None:
        """Ask the views whose bodies don't arrive, and close what took too long."""
        now = time.monotonic()
        for conn in list(self.watched):
            is_idle_at_the_end = not self.alive and not conn.arrived and conn.drained is None
            if now >= conn.asks_at:
                self.unwatch(conn)
                self.hand_over(conn)
            elif now >= conn.ends_at or is_idle_at_the_end:
                self.drop(conn)
