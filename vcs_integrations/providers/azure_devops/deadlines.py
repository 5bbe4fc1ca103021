"""Calls that end in time, whatever the other side does, and leave no thread behind.

A socket's timeout bounds neither a name's resolution nor an answer that comes byte by byte. So a
call runs in a thread; when its time is up, its connections are shut down, which ends the thread.
Only the resolution of a name continues, for as long as the system's resolver takes.
"""

import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

T = TypeVar("T")
# How long to wait for a thread whose connections were shut down.
SECONDS_TO_END = 0.3


class _TimeIsUp(Exception):
    """Ends what still runs after a call's time; none of the errors that urllib3 retries on."""


class _Connections:
    """The connections that one call uses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: list[socket.socket] = []
        self._is_over = False

    def add(self, used: socket.socket) -> None:
        """Keep a descriptor of our own: TLS takes the first one away from its socket.

        Raises _TimeIsUp, and closes the connection, where the call's time is up.
        """
        with self._lock:
            if self._is_over:
                used.close()
                raise _TimeIsUp
            self._copies.append(socket.socket(fileno=os.dup(used.fileno())))

    def shut_down(self) -> None:
        with self._lock:
            self._is_over = True
            for copy in self._copies:
                with suppress(OSError):
                    copy.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the copies; the connections may serve the next call."""
        with self._lock:
            for copy in self._copies:
                copy.close()
            self._copies.clear()


_call = threading.local()


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function, which uses a `DeadlineAdapter`, and wait this long at most.

    Raises TimeoutError then, and whatever the function raises.
    """
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()
    connections = _Connections()

    def run() -> None:
        _call.connections = connections
        try:
            results.put((function(), None))
        except Exception as error:
            results.put((None, error))
        finally:
            connections.release()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        value, error = results.get(timeout=seconds)
    except queue.Empty:
        connections.shut_down()
        thread.join(SECONDS_TO_END)
        raise TimeoutError from None
    if error:
        raise error
    return value  # type: ignore[return-value]


class _Watched(HTTPConnection):
    """Says which connection a call uses, a new one before anything comes over it."""

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        _call.connections.add(made)
        return made

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:  # kept from an earlier call
            _call.connections.add(self.sock)
        super().request(*args, **options)


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class DeadlineAdapter(HTTPAdapter):
    """Requests' adapter with connections that `within` can end."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        return manager
