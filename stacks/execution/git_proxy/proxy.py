"""A git server for one run, on the worker's loopback: what the code fetches goes through it.

Terraform fetches modules with git, inside the sandbox, where the token must never be. Git there is
told to ask this server in place of the organization's addresses. It knows the run by a secret of
its own, passes on nothing but fetches of repositories that the stack may read, and adds the token
outside. It listens while a run is initialized, and never again.
"""

import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from django.conf import settings

from stacks.execution.git_proxy.asking import Asked, Refusal, read_asked, read_head
from stacks.execution.git_proxy.forwarding import answered
from stacks.execution.isolation.system import MEGABYTE
from stacks.models import Run
from stacks.sources.reach import NotReadable, Readable
from vcs_integrations.models import Repository

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
# Git asks one question at a time; more wait until one is answered.
AT_ONCE = 4
# A client that sends or reads nothing for so long is left.
SILENT_SECONDS = 60
# A request has to be there after this, however slowly it comes.
REQUEST_SECONDS = 120
END_SECONDS = 5
OF_ANOTHER_RUN = "This is the git server of another run, or of none."


class GitProxy:
    """The place of one run's git server: a port that nobody else gets, and a secret."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind((LOOPBACK, 0))  # nobody is answered before it listens
        self.port: int = self._listener.getsockname()[1]
        self.secret = secrets.token_urlsafe(32)

    @property
    def _address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @contextmanager
    def serving(self, run: Run, token: str) -> Iterator["Served"]:
        """Answer the git of a run as long as the context lasts; once for each proxy."""
        served = Served(self._listener, self._address, self.secret, run, token)
        try:
            yield served
        finally:
            served.end()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def git_proxy() -> Iterator[GitProxy]:
    """Yield the place of a git server, which does not listen yet."""
    proxy = GitProxy()
    try:
        yield proxy
    finally:
        proxy.close()


class Served:
    """A git server that listens.

    `fetched` are the repositories that were fetched, by their keys; `readable` are those that may
    be.
    """

    def __init__(
        self, listener: socket.socket, address: str, secret: str, run: Run, token: str
    ) -> None:
        integration = run.stack.integration
        self._address = address
        self._proof = f"Bearer {secret}".encode()
        self._header = integration.provider.git_header(token)
        self._beginnings = integration.provider.git_addresses(integration.organization_url)
        self._is_refused = run.is_of_fork and not run.stack.runs_forks
        self.readable = Readable(run.stack)
        self.fetched: dict[int, Repository] = {}
        self._listener = listener
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._has_ended = False
        self._places = threading.BoundedSemaphore(AT_ONCE)
        listener.listen(AT_ONCE)
        self._thread = threading.Thread(target=self._accept, name="git proxy", daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        """Return what leads git to this server ("git-config", GIT_CONFIG_COUNT and url.insteadOf).

        Variables, as no file that the code can change is to be obeyed, and no command line to be
        read by others.
        """
        configuration = {
            f"http.{self._address}/.extraHeader": f"Authorization: {self._proof.decode()}",
            f"http.{self._address}/.proxy": "",  # an operator's own is not asked for loopback
        }
        for place, beginning in enumerate(self._beginnings):
            configuration[f"url.{self._address}/{place}/.insteadOf"] = beginning
        environment = {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(configuration)),
        }
        for number, (name, value) in enumerate(configuration.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = name
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment

    def end(self) -> None:
        """Answer nothing any more; what is being answered is cut off."""
        with self._lock:
            self._has_ended = True
            clients = list(self._clients)
        # The port stays taken until the run ends, so that no other run gets it meanwhile.
        for one in (self._listener, *clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join(END_SECONDS)

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was shut down
                return
            with self._lock:
                if self._has_ended:
                    client.close()
                    return
                self._clients.add(client)
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(SILENT_SECONDS)
                self._answer(client)
        except OSError:  # it went away, or was cut off
            pass
        except Exception:
            logger.exception("The git proxy could not answer")
        finally:
            with self._lock:
                self._clients.discard(client)
            self._places.release()

    def _answer(self, client: socket.socket) -> None:
        """Answer one request: a connection has no second one."""
        has_begun = False
        try:
            with _ending(client, REQUEST_SECONDS), client.makefile("rb") as stream:
                asked = self._read(stream)
            repository = self._find(asked)
            most = settings.RUN_DISK_MB * MEGABYTE
            with answered(asked, repository.clone_url, self._header, most) as parts:
                has_begun = True
                kind = "advertisement" if asked.body is None else "result"
                send_head(client, "200 OK", f"application/x-git-upload-pack-{kind}")
                send_chunks(client, parts)
            if asked.body is not None:
                self.fetched[repository.pk] = repository
        except Refusal as refusal:
            if has_begun:  # without its last chunk an answer is not whole
                return
            send_head(client, f"{refusal.status} Refused", "text/plain; charset=utf-8")
            send_chunks(client, [f"Stackhook: {refusal}\n".encode()])

    def _read(self, stream: BinaryIO) -> Asked:
        head = read_head(stream)
        said = head.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(said, self._proof):
            raise Refusal(403, OF_ANOTHER_RUN)
        if self._is_refused:
            raise Refusal(403, "Code of forks may not read other repositories.")
        return read_asked(head, stream)

    def _find(self, asked: Asked) -> Repository:
        if asked.place >= len(self._beginnings):
            raise Refusal(403, "The address begins like none of the organization's.")
        try:
            return self.readable.find(f"{self._beginnings[asked.place]}{asked.rest}")
        except NotReadable as error:
            raise Refusal(403, str(error)) from error


@contextmanager
def _ending(client: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a client off that has not sent its request after some seconds, however slowly it goes."""

    def cut_off() -> None:
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def send_head(client: socket.socket, status: str, kind: str) -> None:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        "Cache-Control: no-cache",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]
    client.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))


def send_chunks(client: socket.socket, parts: Iterable[bytes]) -> None:
    """Send a body whose end shows that it is whole."""
    for part in parts:
        if part:
            client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    client.sendall(b"0\r\n\r\n")
