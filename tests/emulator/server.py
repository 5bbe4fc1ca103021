"""The emulator as a whole: its life, and which part answers a request."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import BadRequest
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from . import (
    git_http,
    rest_core,
    rest_git,
    rest_pull_requests,
    rest_security,
    rest_statuses,
    rest_threads,
)
from .clock import Clock
from .delivery import Deliveries
from .errors import RefusedError
from .faults import Faults, end_connection
from .locations import CORE_AREA, locations
from .model import Organization
from .pages import Pages
from .rest_hooks import Hooks
from .state import State
from .web import (
    ApiError,
    Call,
    Versions,
    authenticate,
    blocked,
    check_version,
    collection,
    json_response,
    not_found,
    token_of,
)

HOST = "127.0.0.1"
_REQUESTS_KEPT = 10_000
_PREVIEW_ONLY = rest_core.PREVIEW_ONLY | rest_git.PREVIEW_ONLY | rest_security.PREVIEW_ONLY


@dataclass(frozen=True)
class RecordedRequest:
    """One API or git request as it came, for counting and comparing."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    has_authorization: bool
    status: int | None


class Emulator:
    """A local Azure DevOps on a real port.

    `root` keeps its data (a second emulator on the same folder goes on with it), port 0 takes any
    free port, and `allow_local_hooks` lets webhooks go to http, loopback and private addresses.
    """

    def __init__(self, root: Path, port: int = 0, allow_local_hooks: bool = False) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self.requests: list[RecordedRequest] = []
        self.clock = Clock()
        self.versions = Versions()
        self.deliveries = Deliveries(allow_local_hooks, self.clock)
        self.state = State(root, allow_local_hooks, self.deliveries, self.clock)
        self.faults = Faults(self._stopping)
        self._pages = Pages(self.state, self.deliveries)
        self._routes = rest_core.ROUTES + rest_git.ROUTES + rest_pull_requests.ROUTES
        self._routes += rest_statuses.ROUTES + rest_threads.ROUTES + rest_security.ROUTES
        self._routes += Hooks(self.deliveries).routes()
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    # Life

    def start(self) -> None:
        """Serve in background threads; OSError if the port is taken."""
        self._server = _Server(self._port, self._wsgi)
        self.state.base_url = f"http://{HOST}:{self._server.port}"
        self.state.start()
        self._server.start()
        self.deliveries.start(self.state.organizations)

    def stop(self) -> None:
        """Stop serving and delivering; all connections are closed."""
        self._stopping.set()
        self.deliveries.stop()
        if self._server:
            self._server.stop()
            self.state.stop()

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # What tests and the demo use

    @property
    def url(self) -> str:
        """The address it serves at."""
        return self.state.base_url

    @property
    def organizations(self) -> list[Organization]:
        """All organizations."""
        return self.state.organizations

    def add_organization(self, name: str) -> Organization:
        """Add an organization without projects."""
        return self.state.add_organization(name)

    def organization(self, name: str) -> Organization | None:
        """Find an organization by name."""
        return self.state.organization(name)

    @property
    def retry_scale(self) -> float:
        """The factor on the pauses between retries of a delivery."""
        return self.deliveries.retry_scale

    @retry_scale.setter
    def retry_scale(self, value: float) -> None:
        self.deliveries.retry_scale = value

    def speak(self, latest: str, released: str | None = None, *, hides_newer: bool = False) -> None:
        """Speak API versions up to the latest, as an older server; see `Versions`."""
        self.versions = Versions(latest, released or latest, hides_newer)

    def wait_for_deliveries(self, timeout: float = 10) -> None:
        """Return when all webhooks are delivered or abandoned; else TimeoutError."""
        self.deliveries.wait(timeout)

    def request_counts(self) -> Counter[str]:
        """Return how many API and git requests came, by method and route.

        For example `GET git/repositories/{repository}/pushes`, or `git fetch` and `git push`.
        """
        with self._counting:
            return Counter(self._counts)

    def reset_requests(self) -> None:
        """Forget which requests came, and restart the count."""
        with self._counting:
            self._counts.clear()
            self.requests.clear()

    # Answering

    def _wsgi(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start)

    def _answer(self, request: Request) -> Response:
        if request.method == "POST" and request.headers.get("Origin", "") not in (
            "",
            request.host_url.rstrip("/"),
        ):
            return Response("This form belongs to another site.", 403)
        if request.path.rstrip("/") == "/_emulator/faults":
            return self._answer_faults(request)
        if request.path.rstrip("/") == "/_emulator/clock":
            return self._answer_clock(request)
        organization_name, _, path = request.path.lstrip("/").partition("/")
        if not _is_api(request.path) and not git_http.is_git_path(path):
            return self._pages.answer(request)
        try:
            response = self._answer_within_limit(request, organization_name, path)
        except ConnectionError:
            self._record(request, None)  # before anybody notices
            end_connection(request)
        self._record(request, response.status_code)
        return response

    def _answer_within_limit(self, request: Request, organization_name: str, path: str) -> Response:
        """Answer, and count the call where its person's calls are counted."""
        organization = self.state.organization(organization_name)
        token = token_of(request, organization) if organization else None
        if organization is None or token is None:
            return self._answer_with_faults(request, organization_name, path)
        usage, user = organization.usage, token.user
        if usage.admit(user, organization.now()):
            response = self._answer_with_faults(request, organization_name, path)
        else:
            request.get_data()  # what is not read would be taken for the next request
            response = blocked().response()
        response.headers.update(usage.headers(user, organization.now()))
        usage.note_pause(user, organization.now(), response.headers.get("Retry-After"))
        return response

    def _answer_with_faults(self, request: Request, organization_name: str, path: str) -> Response:
        response = self.faults.answer(request)
        response = response or self._answer_api(request, organization_name, path)
        self.faults.spoil(request, response)
        return response

    def _answer_faults(self, request: Request) -> Response:
        """Show, add or clear faults over HTTP."""
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            try:
                self.faults.add(**request.get_json(force=True))
            except (BadRequest, TypeError, ValueError, re.error) as error:
                return json_response({"message": str(error)}, 400)
        return collection(self.faults.active())

    def _answer_clock(self, request: Request) -> Response:
        """Show the clock, or move it by `{"hours": 36}` over HTTP."""
        if request.method == "POST":
            try:
                self.clock.move(**request.get_json(force=True))
            except (BadRequest, TypeError, ValueError, OverflowError) as error:
                return json_response({"message": str(error)}, 400)
        return json_response({"now": self.clock.now().isoformat()})

    def _answer_api(self, request: Request, organization_name: str, path: str) -> Response:
        if organization_name == "_apis":
            return self._answer_without_organization(request, path)
        organization = self.state.organization(organization_name)
        if organization is None:
            return not_found()
        if git_http.is_git_path(path):
            return git_http.answer(request, organization, path)
        if request.method == "OPTIONS":
            return collection(locations())
        try:
            return self._answer_rest(request, organization, path.rstrip("/"))
        except ApiError as error:
            return error.response()
        except RefusedError as error:
            return ApiError(error.status, error.type_key, str(error)).response()

    def _answer_without_organization(self, request: Request, path: str) -> Response:
        """Say where an organization is by its id; nobody needs to sign in for that."""
        if request.method == "OPTIONS":
            return collection([])
        host_id = request.args.get("hostId", "").lower()
        found = next((one for one in self.organizations if one.id == host_id), None)
        if path.lower() != f"resourceareas/{CORE_AREA}" or found is None:
            return not_found()
        return json_response({"id": CORE_AREA, "name": "Core", "locationUrl": found.url})

    def _answer_rest(self, request: Request, organization: Organization, path: str) -> Response:
        found = [(route, route.match(path)) for route in self._routes]
        fitting = [(route, values) for route, values in found if values is not None]
        if not fitting:
            return not_found()
        for route, values in fitting:
            if route.method == request.method:
                token = authenticate(request, organization, route.scopes)
                if isinstance(token, Response):
                    return token
                is_preview_only = route.handler in _PREVIEW_ONLY
                if refusal := check_version(request, is_preview_only, self.versions):
                    return refusal
                return route.handler(Call(request, organization, token, values))
        raise rest_core.method_not_allowed(request.method)

    def _record(self, request: Request, status: int | None) -> None:
        headers = dict(request.headers)
        has_authorization = headers.pop("Authorization", None) is not None
        query = request.query_string.decode("ascii", "replace")
        with self._counting:
            self._counts[self._route_name(request)] += 1
            self.requests.append(
                RecordedRequest(
                    request.method, request.path, query, headers, has_authorization, status
                )
            )
            del self.requests[:-_REQUESTS_KEPT]

    def _route_name(self, request: Request) -> str:
        path = request.path.strip("/").partition("/")[2]
        if git_http.is_git_path(path):
            return git_http.name_of(request)
        found = (one for one in self._routes if one.method == request.method and one.match(path))
        route = next(found, None)
        return route.name if route else f"{request.method} {path.removeprefix('_apis/')}"


def _is_api(path: str) -> bool:
    return "_apis" in path.lower().strip("/").split("/")[:3]


class _Handler(WSGIRequestHandler):
    """Handles one connection, silently; the server can end it."""

    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)  # type: ignore[attr-defined]

    def finish(self) -> None:
        self.server.connections.discard(self.connection)  # type: ignore[attr-defined]
        super().finish()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing about requests that were answered."""


class _Server:
    """A threaded HTTP server on one port of this machine."""

    def __init__(self, port: int, application: Callable[..., Any]) -> None:
        with socket.create_server((HOST, port), backlog=128) as listener:
            self.port: int = listener.getsockname()[1]
            self._server: BaseWSGIServer = make_server(
                HOST,
                self.port,
                application,
                threaded=True,
                request_handler=_Handler,
                fd=listener.fileno(),
            )
        self._connections: set[socket.socket] = set()
        self._server.connections = self._connections  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._serve, name="emulator", daemon=True)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
