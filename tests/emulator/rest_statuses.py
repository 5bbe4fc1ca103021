"""REST routes about statuses (Azure DevOps documentation, "Statuses" in the REST API reference)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from werkzeug import Response

from . import shapes
from .errors import RefusedError
from .pull_requests import PullRequest
from .rest_git import commit_of
from .rest_pull_requests import PULL_REQUEST, WRITE, iteration_of, pull_request_of
from .shapes import Json
from .statuses import Context, Status, latest
from .web import Call, Route, collection, done, json_response

PAGE_SIZE = 1000
_REMOVE_PATH = re.compile(r"/([0-9]+)", re.ASCII)


# Commits


def post_commit_status(call: Call) -> Response:
    """Add a status to a commit."""
    where = call.repository("contribute")
    sha = commit_of(where, call.values["commit"]).sha
    made = where.post_status(sha, **_posted(call))
    return json_response(shapes.status(call.base, where, f"commits/{sha}", made), 201)


def list_commit_statuses(call: Call) -> Response:
    """List the statuses of a commit, newest first; `latestOnly` shows one of each context."""
    where, query = call.repository(), call.query
    sha = commit_of(where, call.values["commit"]).sha
    found = where.statuses.get(sha, [])
    found = list(reversed(latest(found) if query.flag("latestOnly") else found))
    skip = query.number("skip", 0)
    shown = found[skip : skip + query.number("top", PAGE_SIZE)]
    return collection(shapes.status(call.base, where, f"commits/{sha}", one) for one in shown)


# Pull requests and iterations


def post_status(call: Call) -> Response:
    """Add a status to a pull request; the path or else the body may name an iteration."""
    one = pull_request_of(call, WRITE)
    named = iteration_of(call, one) if "iteration" in call.values else None
    body = call.json()
    number = named.id if named else body.get("iterationId")
    if number is not None and type(number) is not int:
        raise RefusedError(f"The value '{number}' is not valid for iterationId.")
    properties = body.get("properties") or {}
    if not isinstance(properties, dict):
        raise RefusedError("The properties must be a JSON object.")
    made = one.post_status(**_posted(call), iteration=number, properties=properties)
    return json_response(_shape(call, one, made))


def list_statuses(call: Call) -> Response:
    """List all statuses of a pull request or of an iteration, oldest first."""
    one = pull_request_of(call)
    return collection(_shape(call, one, each) for each in _statuses(call, one))


def show_status(call: Call) -> Response:
    """Show one status."""
    one = pull_request_of(call)
    return json_response(_shape(call, one, _status(call, one)))


def delete_status(call: Call) -> Response:
    """Remove one status."""
    one = pull_request_of(call, WRITE)
    one.remove_statuses(_status(call, one).id)
    return done()


def remove_statuses(call: Call) -> Response:
    """Remove statuses by JSON Patch: `remove` of `/{id}`, all of them or none."""
    one = pull_request_of(call, WRITE)
    shown = _statuses(call, one)
    numbers = [_removed_number(each) for each in _operations(call)]
    if missing := set(numbers) - {each.id for each in shown}:
        raise one.status_missing(str(min(missing)))
    one.remove_statuses(*numbers)
    return done()


def _statuses(call: Call, one: PullRequest) -> Iterable[Status]:
    """Return the statuses that the path is about: all, or those of an iteration."""
    if "iteration" not in call.values:
        return list(one.statuses)
    number = iteration_of(call, one).id
    return [each for each in one.statuses if each.iteration_id == number]


def _status(call: Call, one: PullRequest) -> Status:
    key = call.values["status"]
    found = next((each for each in _statuses(call, one) if str(each.id) == key), None)
    if found is None:
        raise one.status_missing(key)
    return found


def _shape(call: Call, one: PullRequest, status: Status) -> Json:
    return shapes.status(call.base, one.repository, f"pullRequests/{one.id}", status)


def _operations(call: Call) -> list[Any]:
    body = call.request.get_json(force=True, silent=True)
    if not isinstance(body, list):
        raise RefusedError("The body must be a JSON Patch document, which is a list.")
    return body


def _removed_number(operation: Any) -> int:
    given = operation if isinstance(operation, dict) else {}
    found = _REMOVE_PATH.fullmatch(str(given.get("path")))
    if given.get("op") != "remove" or found is None:
        raise RefusedError("The only operation is 'remove', and its path is '/' and a status id.")
    return int(found[1])


# Shared


def _posted(call: Call) -> dict[str, Any]:
    """Return what the body says of a status, in the words of the model."""
    body = call.json()
    context = body.get("context")
    if not isinstance(context, dict):
        raise RefusedError("A status needs a context.")
    return {
        "context": Context(_text(context, "genre"), _text(context, "name")),
        "state": _text(body, "state") or "notSet",
        "description": _text(body, "description"),
        "target_url": _text(body, "targetUrl"),
        "user": call.user.name,
    }


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str | None):
        raise RefusedError(f"The value '{value}' is not valid for {name}: it must be a text.")
    return value or ""


_READ, _WRITE = (frozenset({scope, "vso.code_status"}) for scope in ("vso.code", "vso.code_write"))
_COMMIT = "[{project}/]_apis/git/repositories/{repository}/commits/{commit}/statuses"
_ALL = [f"{PULL_REQUEST}/statuses", f"{PULL_REQUEST}/iterations/{{iteration}}/statuses"]
ROUTES = [
    Route("POST", _COMMIT, post_commit_status, _WRITE),
    Route("GET", _COMMIT, list_commit_statuses, _READ),
    *(Route("POST", path, post_status, _WRITE) for path in _ALL),
    *(Route("GET", path, list_statuses, _READ) for path in _ALL),
    *(Route("PATCH", path, remove_statuses, _WRITE) for path in _ALL),
    *(Route("GET", f"{path}/{{status}}", show_status, _READ) for path in _ALL),
    *(Route("DELETE", f"{path}/{{status}}", delete_status, _WRITE) for path in _ALL),
]
