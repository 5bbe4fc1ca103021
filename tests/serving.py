"""Servers of the tests' own, beside a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from threading import Thread

LOOK_EVERY = 0.01  # seconds, whether to end: half a second by default, which adds up


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Run a server in a thread meanwhile; its socket is closed at the end."""
    with server:
        thread = Thread(target=server.serve_forever, args=(LOOK_EVERY,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
