"""A server for Terraform's `http` backend that is not Stackhook: the backend that code names."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving


class StateServer(ThreadingHTTPServer):
    """Keeps one state for each path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.states: dict[str, bytes] = {}

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: StateServer

    def do_GET(self) -> None:
        state = self.server.states.get(self.path)
        self._answer(404 if state is None else 200, state or b"")

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.states[self.path] = self.rfile.read(length)
        self._answer(200, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def state_server() -> Iterator[StateServer]:
    server = StateServer()
    with serving(server):
        yield server
