"""Faults on demand: every way in which Azure DevOps, or what is in front of it, has failed.

The wordings and headers are those reported for the real service; see "Rate and usage limits",
"Use personal access tokens" and "Troubleshoot" in the Azure DevOps documentation.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from werkzeug import Request, Response

from .web import (
    EXPIRED,
    JSON_TYPE,
    ApiError,
    blocked,
    not_found,
    repository_missing,
    unauthorized,
)

ANONYMOUS = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
_HTML = "text/html; charset=utf-8"
_MEBIBYTE = 1 << 20
# Faults of an answer to what was done already.
_AFTERWARD = ("delayed", "lost-answer")


class UnknownFaultError(ValueError):
    """There is no fault of that name."""


@dataclass
class Fault:
    """A fault that is switched on.

    `path` is a regular expression searched in the path of a request; after `times` answers the
    fault switches itself off. What `seconds` and `location` mean depends on the fault.
    """

    name: str
    path: str = ""
    times: int | None = None
    seconds: float | None = None
    location: str = "https://example.com/"


class Faults:
    """The faults that are switched on; the first that fits a request answers it."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._active: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        name: str,
        path: str = "",
        times: int | None = None,
        seconds: float | None = None,
        location: str = "https://example.com/",
    ) -> Fault:
        """Switch a fault on; UnknownFaultError lists the names there are."""
        if name not in names():
            raise UnknownFaultError(f"No fault '{name}'. There are: {', '.join(names())}")
        re.compile(path)
        fault = Fault(name, path, times, seconds, location)
        with self._lock:
            self._active.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._active.clear()

    def active(self) -> list[dict[str, Any]]:
        """Return what is switched on."""
        with self._lock:
            return [asdict(fault) for fault in self._active]

    def answer(self, request: Request) -> Response | None:
        """Return what a fault answers to this request; None lets it pass."""
        fault = self.take(request.path)
        if fault is None:
            return None
        request.get_data()  # what is not read would count as the next request
        if fault.name == "slow":
            self._stopping.wait(10 if fault.seconds is None else fault.seconds)
            return None
        if fault.name in _STREAMS:
            return _STREAMS[fault.name](self._stopping, request, fault)
        return _ANSWERS[fault.name](request, fault)

    def spoil(self, request: Request, response: Response) -> None:
        """Lose a good answer on its way, or have it ask for a pause in one way and then the other.

        "Rate and usage limits": Retry-After, or a limit of which nothing remains until a time.
        """
        fault = self.take(request.path, is_done=True)
        if fault and fault.name == "lost-answer":
            raise ConnectionResetError("cut on demand")
        if fault:
            seconds = int(fault.seconds or 5)
            response.headers["X-RateLimit-Remaining"] = "0"
            response.headers["X-RateLimit-Reset"] = str(int(time.time()) + seconds + 1)
            if fault.times is None or fault.times % 2:
                response.headers["Retry-After"] = str(seconds)

    def take(self, path: str, *, is_done: bool = False) -> Fault | None:
        with self._lock:
            fitting = (one for one in self._active if re.search(one.path, path))
            fault = next((f for f in fitting if (f.name in _AFTERWARD) == is_done), None)
            if fault and fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._active.remove(fault)
            return fault


def names() -> list[str]:
    """Return the names of all faults."""
    return sorted([*_ANSWERS, *_STREAMS, *_AFTERWARD, "slow"])


# Credentials


def _sign_in_page(request: Request, fault: Fault) -> Response:
    page = "<!DOCTYPE html><html><head><title>Azure DevOps Services | Sign In</title></head></html>"
    return Response(page, 203, content_type=_HTML)


def _unauthorized_json(request: Request, fault: Fault) -> Response:
    return _not_authorized("Ann Admin")


def _anonymous(request: Request, fault: Fault) -> Response:
    return _not_authorized(ANONYMOUS)


def _not_authorized(user: str) -> Response:
    message = f"TF400813: The user '{user}' is not authorized to access this resource."
    return ApiError(401, "UnauthorizedRequestException", message).response()


def _sign_in_redirect(request: Request, fault: Fault) -> Response:
    location = f"{request.host_url}_signin?realm={request.host}"
    body = "<html><head><title>Object moved</title></head><body>Object moved</body></html>"
    return Response(body, 302, {"Location": location}, content_type=_HTML)


def _token_expired(request: Request, fault: Fault) -> Response:
    return unauthorized(request, EXPIRED)


def _token_invalid(request: Request, fault: Fault) -> Response:
    return unauthorized(request)


def _conditional_access(request: Request, fault: Fault) -> Response:
    message = (
        "VS403463: The conditional access policy defined by your Azure Active Directory "
        "administrator has failed."
    )
    return ApiError(403, "AadConditionalAccessException", message).response()


def _permission_denied(request: Request, fault: Fault) -> Response:
    message = "TF401027: You need the Git 'GenericRead' permission to perform this action."
    return ApiError(403, "GitNeedsPermissionException", message).response()


def _refused(request: Request, fault: Fault) -> Response:
    message = "VS401000: The change was refused."
    return ApiError(400, "InvalidArgumentValueException", message).response()


def _version_refused(request: Request, fault: Fault) -> Response:
    message = (
        "The request matched route _apis/git/refs, but the requested REST API version was outside "
        "the valid version range for this route."
    )
    return ApiError(400, "VssVersionOutOfRangeException", message).response()


def _comment_missing(request: Request, fault: Fault) -> Response:
    message = "The comment does not exist."
    return ApiError(404, "GitPullRequestCommentNotFoundException", message).response()


# Load and outage


def _throttled(request: Request, fault: Fault) -> Response:
    pause = 5 if fault.seconds is None else fault.seconds
    response = blocked().response()
    response.headers["Retry-After"] = f"{pause:g}"
    response.headers["X-RateLimit-Resource"] = "Core"
    response.headers["X-RateLimit-Limit"] = "200"
    response.headers["X-RateLimit-Remaining"] = "0"
    response.headers["X-RateLimit-Reset"] = str(int(time.time() + pause))
    return response


def _unavailable(request: Request, fault: Fault) -> Response:
    message = "TF10216: Azure DevOps services are currently unavailable. Try again later."
    response = ApiError(503, "ServiceUnavailableException", message).response()
    if fault.seconds is not None:
        response.headers["Retry-After"] = f"{fault.seconds:g}"
    return response


def _stopped(request: Request, fault: Fault) -> Response:
    """Return what a stopped organization answers; the words are those of public reports."""
    message = (
        "TF24668: The following team project collection is stopped: fabrikam. Start the collection "
        "and then try again. Administrator Reason: The organization was deactivated due to "
        "inactivity."
    )
    return ApiError(503, "HostShutdownException", message).response()


def _bad_gateway(request: Request, fault: Fault) -> Response:
    return Response("<html><body>502 Bad Gateway</body></html>", 502, content_type=_HTML)


def _server_error(request: Request, fault: Fault) -> Response:
    message = "TF400898: An Internal Error Occurred. Activity Id: 5d6ad0ee."
    return ApiError(500, "Exception", message).response()


# Something else answers


def _other_site(request: Request, fault: Fault) -> Response:
    page = "<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head></html>"
    return Response(page, 200, content_type=_HTML)


def _broken_json(request: Request, fault: Fault) -> Response:
    return Response('{"count": 1, "value": [', 200, content_type=JSON_TYPE)


def _wrong_shape(request: Request, fault: Fault) -> Response:
    return Response('["not", "a", "collection"]', 200, content_type=JSON_TYPE)


def _redirect(request: Request, fault: Fault) -> Response:
    return Response("", 302, {"Location": fault.location}, content_type=_HTML)


def _organization_unknown(request: Request, fault: Fault) -> Response:
    return not_found()


def _repository_missing(request: Request, fault: Fault) -> Response:
    return repository_missing("infrastructure").response()


# The connection itself


def _drip(stopping: threading.Event, request: Request, fault: Fault) -> Response:
    body = b'{"count": 0, "value": []}'
    pause = 1.0 if fault.seconds is None else fault.seconds

    def stream() -> Iterator[bytes]:
        for byte in body:
            if stopping.wait(pause):
                return
            yield bytes([byte])

    return Response(stream(), 200, {"Content-Length": str(len(body))}, content_type=JSON_TYPE)


def _cut(stopping: threading.Event, request: Request, fault: Fault) -> Response:
    body = b'{"count": 1, "value": [{"id": "'

    def stream() -> Iterator[bytes]:
        yield body
        end_connection(request)

    length = {"Content-Length": str(2 * len(body))}
    return Response(stream(), 200, length, content_type=JSON_TYPE)


def _reset(stopping: threading.Event, request: Request, fault: Fault) -> Response:
    raise ConnectionResetError("cut on demand")


def end_connection(request: Request) -> NoReturn:
    """End the connection of a request, which whoever sent it notices at once."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):  # ended by the other side already
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("cut on demand")


def _huge(stopping: threading.Event, request: Request, fault: Fault) -> Response:
    def stream() -> Iterator[bytes]:
        yield b'{"count": 0, "value": ['
        while not stopping.is_set():
            yield b" " * _MEBIBYTE

    return Response(stream(), 200, content_type=JSON_TYPE)


_ANSWERS: dict[str, Callable[[Request, Fault], Response]] = {
    "credentials-203": _sign_in_page,
    "credentials-401-json": _unauthorized_json,
    "credentials-302": _sign_in_redirect,
    "token-expired": _token_expired,
    "token-invalid-401": _token_invalid,
    "scope-too-narrow": _token_invalid,
    "anonymous": _anonymous,
    "conditional-access": _conditional_access,
    "permission-denied": _permission_denied,
    "refused": _refused,
    "version-refused": _version_refused,
    "comment-missing": _comment_missing,
    "throttled": _throttled,
    "unavailable": _unavailable,
    "stopped": _stopped,
    "bad-gateway": _bad_gateway,
    "server-error": _server_error,
    "not-azure-devops": _other_site,
    "not-json": _broken_json,
    "wrong-shape": _wrong_shape,
    "redirect-elsewhere": _redirect,
    "organization-unknown": _organization_unknown,
    "repository-missing": _repository_missing,
}
_STREAMS: dict[str, Callable[[threading.Event, Request, Fault], Response]] = {
    "drip": _drip,
    "cut": _cut,
    "reset": _reset,
    "huge": _huge,
}
