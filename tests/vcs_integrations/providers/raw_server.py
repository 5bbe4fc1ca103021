"""A server on a socket, for answers that no web server would give."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

from tests.processes import wait_for

Answer = Callable[[socket.socket], None]


class RawServer:
    """Takes connections on a port of this machine, keeps what came, and answers as configured.

    `answer` writes to the connection, which is closed when it returns; it may write until the
    other side hangs up.
    """

    def __init__(self, answer: bytes | Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer: Answer = (
            (lambda c: c.sendall(answer)) if isinstance(answer, bytes) else answer
        )
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}/fabrikam"
        self.connections = 0
        self.requests: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "RawServer":
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def wait_until_idle(self) -> bool:
        """Wait until no connection is open, also none that came meanwhile; say whether it is so."""
        return wait_for(lambda: not self._open)

    def _start(self, target: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=target, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with talk:
                request = b""
                while b"\r\n\r\n" not in request and (part := talk.recv(65536)):
                    request += part
                self.requests.append(request)
                self._answer(talk)
                with contextlib.suppress(OSError):
                    talk.shutdown(socket.SHUT_WR)
        connection.close()
        self._open.discard(connection)
