"""REST routes about threads ("Pull Request Threads" in the REST API reference)."""

from __future__ import annotations

from typing import Any

from werkzeug import Response

from . import shapes
from .errors import RefusedError
from .rest_pull_requests import PULL_REQUEST, WRITE, pull_request_of
from .threads import COMMENT_TYPES, THREAD_STATES, Comment, Thread
from .web import Call, Route, collection, done, json_response

# Threads


def list_threads(call: Call) -> Response:
    """List the threads of a pull request, oldest first."""
    one = pull_request_of(call)
    return collection(shapes.thread(call.base, each) for each in one.threads)


def create_thread(call: Call) -> Response:
    """Open a thread with its first comment."""
    one, body = pull_request_of(call, WRITE), call.json()
    comments = body.get("comments")
    if not isinstance(comments, list) or [type(each) for each in comments] != [dict]:
        raise RefusedError("A thread is opened with a list of one comment.")
    made = one.add_thread(
        **_posted(comments[0]),
        status=_word(body.get("status") or 0, THREAD_STATES),
        properties=_object(body, "properties"),
        context=_object(body, "threadContext"),
        pull_request_context=_object(body, "pullRequestThreadContext"),
        user=call.user.name,
    )
    return json_response(shapes.thread(call.base, made))


def show_thread(call: Call) -> Response:
    """Show a thread with its comments."""
    return json_response(shapes.thread(call.base, _thread(call)))


def update_thread(call: Call) -> Response:
    """Change the status or the properties."""
    one, body = _thread(call, WRITE), call.json()
    status = _word(body["status"], THREAD_STATES) if body.get("status") is not None else None
    one.update(status, _object(body, "properties"))
    return json_response(shapes.thread(call.base, one))


# Comments


def list_comments(call: Call) -> Response:
    """List the comments of a thread, oldest first."""
    one = _thread(call)
    return collection(shapes.comment(call.base, one, each) for each in one.comments)


def create_comment(call: Call) -> Response:
    """Add a comment to a thread."""
    one = _thread(call, WRITE)
    return _answer(call, one, one.reply(**_posted(call.json()), user=call.user.name))


def show_comment(call: Call) -> Response:
    """Show one comment."""
    one = _thread(call)
    return _answer(call, one, one.comment(_number(call)))


def update_comment(call: Call) -> Response:
    """Change what a comment says."""
    one, content = _thread(call, WRITE), _posted(call.json())["content"]
    return _answer(call, one, one.edit(_number(call), content, call.user.name))


def delete_comment(call: Call) -> Response:
    """Delete a comment."""
    _thread(call, WRITE).delete(_number(call), call.user.name)
    return done()


# Shared


def _answer(call: Call, one: Thread, comment: Comment) -> Response:
    return json_response(shapes.comment(call.base, one, comment))


def _thread(call: Call, right: str = "read") -> Thread:
    one, key = pull_request_of(call, right), call.values["thread"]
    found = next((each for each in one.threads if str(each.id) == key), None)
    if found is None:
        raise RefusedError(
            f"The thread {key} of pull request {one.id} does not exist.",
            "GitPullRequestCommentThreadNotFoundException",
            404,
        )
    return found


def _number(call: Call) -> int:
    key = call.values["comment"]
    return int(key) if key.isascii() and key.isdigit() else 0


def _posted(comment: dict[str, Any]) -> dict[str, Any]:
    """Return what the body says of a comment, in the words of the model."""
    content, parent = comment.get("content") or "", comment.get("parentCommentId") or 0
    if not isinstance(content, str) or type(parent) is not int:
        raise RefusedError("The content of a comment is a text, its parentCommentId a number.")
    kind = _word(comment.get("commentType") or "text", COMMENT_TYPES)
    return {"content": content, "parent": parent, "comment_type": kind}


def _word(value: object, words: tuple[str, ...]) -> str:
    """Return the word that a word or a number means."""
    if type(value) is int and 0 <= value < len(words):
        return words[value]
    if value not in words:
        raise RefusedError(f"The value '{value}' is none of {', '.join(words)}.")
    return str(value)


def _object(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = body.get(name)
    if not isinstance(value, dict | None):
        raise RefusedError(f"The value of {name} must be a JSON object.")
    return value


_READ, _WRITE = (frozenset({scope, "vso.threads_full"}) for scope in ("vso.code", "vso.code_write"))
_ALL = f"{PULL_REQUEST}/threads"
_ONE = f"{_ALL}/{{thread}}"
_COMMENTS = f"{_ONE}/comments"
_COMMENT = f"{_COMMENTS}/{{comment}}"
ROUTES = [
    Route("GET", _ALL, list_threads, _READ),
    Route("POST", _ALL, create_thread, _WRITE),
    Route("GET", _ONE, show_thread, _READ),
    Route("PATCH", _ONE, update_thread, _WRITE),
    Route("GET", _COMMENTS, list_comments, _READ),
    Route("POST", _COMMENTS, create_comment, _WRITE),
    Route("GET", _COMMENT, show_comment, _READ),
    Route("PATCH", _COMMENT, update_comment, _WRITE),
    Route("DELETE", _COMMENT, delete_comment, _WRITE),
]
