"""A host that records every request, and answers as it is told to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

REFS = b"001e# service=git-upload-pack\n0000"


@dataclass(frozen=True)
class Sent:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Host:
    """What arrived, and the answer to everything; `more` is how many MB follow its body."""

    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = REFS
    more: int = 0


@contextmanager
def recording() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            host.sent.append(Sent(self.command, self.path, headers, body))
            kind = "result" if self.command == "POST" else "advertisement"
            self.send_response(host.status)
            known = {"Content-Type": f"application/x-git-upload-pack-{kind}"} | host.headers
            for name, value in known.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(host.body)
            for _ in range(host.more):
                self.wfile.write(bytes(1024 * 1024))

        do_GET = do_POST = do_PUT = do_CONNECT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield host
