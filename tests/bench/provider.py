"""A stand-in for Azure DevOps: every push that a delivery announces exists."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

NEWEST = re.compile(r"^/newest/([0-9]+)$")
ONE_PUSH = re.compile(r"/pushes/([0-9]+)$")
PUSHES = re.compile(r"/repositories/([0-9a-f-]+)/pushes$")
# One after the other, the pushes go to so many repositories in turn.
REPOSITORIES = 10

newest = 0


def commit(sha: str) -> dict[str, Any]:
    """Return a commit as answers hold it."""
    return {"commitId": sha, "comment": "Raise the limits", "author": {"name": "Ann"}}


def push(number: int) -> dict[str, Any]:
    """Return a push as webhooks and answers hold it."""
    sha = f"{number:040x}"
    branch = "main" if number % 2 else "topic"
    return {
        "pushId": number,
        "date": "2026-01-02T03:04:05Z",
        "commits": [commit(sha)],
        "refUpdates": [
            {"name": f"refs/heads/{branch}", "oldObjectId": "1" * 40, "newObjectId": sha}
        ],
    }


def external_id(number: int) -> str:
    """Return the id of a repository."""
    return str(UUID(int=number + 1))


def pushes(repository_id: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return a page of a repository's pushes, the newest first."""
    skip, top = int(query.get("$skip", ["0"])[0]), int(query.get("$top", ["100"])[0])
    number = UUID(repository_id).int - 1
    last = newest - (newest - number) % REPOSITORIES
    numbers = range(last, 0, -REPOSITORIES)[skip : skip + top]
    return [push(number) for number in numbers]


def application(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """Answer with pushes and commits; with an empty list to whatever else is asked."""
    global newest
    path, answer = environ["PATH_INFO"], {}
    values: list[object] = []
    if found := NEWEST.search(path):
        newest = int(found[1])
    elif one := ONE_PUSH.search(path):
        answer = push(int(one[1]))
    elif of := PUSHES.search(path):
        values = [*pushes(of[1], parse_qs(environ["QUERY_STRING"]))]
    elif path.endswith("/commitsbatch"):
        size = int(environ["CONTENT_LENGTH"])
        values = [commit(sha) for sha in json.loads(environ["wsgi.input"].read(size))["ids"]]
    body = json.dumps(answer or {"count": len(values), "value": values}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
