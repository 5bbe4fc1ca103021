"""A stand-in for Azure DevOps: every push that a delivery announces exists, with its commit."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

NEWEST = re.compile(r"^/newest/([0-9]+)$")
ONE_PUSH = re.compile(r"/pushes/([0-9]+)$")
REPOSITORY = re.compile(r"/repositories/([0-9a-f-]+)$")
PUSHES = re.compile(r"/repositories/([0-9a-f-]+)/pushes$")
REFS = re.compile(r"/repositories/([0-9a-f-]+)/refs$")
ONE_COMMIT = re.compile(r"/commits/([0-9a-f]{40})$")
# One after the other, the pushes go to so many repositories in turn.
REPOSITORIES = 10

newest = 0


def commit(sha: str) -> dict[str, Any]:
    """Return a commit as answers hold it."""
    return {"commitId": sha, "comment": "Raise the limits", "author": {"name": "Ann"}}


def push(number: int) -> dict[str, Any]:
    """Return a push as webhooks and answers hold it."""
    sha = f"{number:040x}"
    return {
        "pushId": number,
        "date": "2026-01-02T03:04:05Z",
        "commits": [commit(sha)],
        "refUpdates": [{"name": ref(number), "oldObjectId": "1" * 40, "newObjectId": sha}],
    }


def ref(number: int) -> str:
    """Return which ref a push moves: all pushes to one repository move the same."""
    return "refs/heads/main" if number % 2 else "refs/heads/topic"


def external_id(number: int) -> str:
    """Return the id of a repository."""
    return str(UUID(int=number + 1))


def repository(repository_id: str) -> dict[str, Any]:
    """Return a repository as answers hold it."""
    project = {"id": external_id(0), "name": "bench"}
    return {"id": repository_id, "name": f"r{_number_of(repository_id)}", "project": project}


def pushes(repository_id: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return a page of a repository's pushes, the newest first, perhaps of one ref only."""
    skip, top = int(query.get("$skip", ["0"])[0]), int(query.get("$top", ["100"])[0])
    last = _newest_of(repository_id)
    if query.get("searchCriteria.refName", [ref(last)]) != [ref(last)]:
        return []
    return [push(number) for number in range(last, 0, -REPOSITORIES)[skip : skip + top]]


def refs(repository_id: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return the refs of a repository whose names begin as asked for."""
    last = _newest_of(repository_id)
    begin = f"refs/{query.get('filter', [''])[0]}"
    is_found = last > 0 and ref(last).startswith(begin)
    return [{"name": ref(last), "objectId": f"{last:040x}"}] if is_found else []


def application(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """Answer about repositories, pushes, refs and commits; to anything else with an empty list."""
    global newest
    path, query, answer = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"]), {}
    values: list[object] = []
    if found := NEWEST.search(path):
        newest = int(found[1])
    elif found := REPOSITORY.search(path):
        answer = repository(found[1])
    elif found := ONE_PUSH.search(path):
        answer = push(int(found[1]))
    elif found := PUSHES.search(path):
        values = [*pushes(found[1], query)]
    elif found := REFS.search(path):
        values = [*refs(found[1], query)]
    elif found := ONE_COMMIT.search(path):
        answer = commit(found[1])
    elif path.endswith("/commitsbatch"):
        size = int(environ["CONTENT_LENGTH"])
        values = [commit(sha) for sha in json.loads(environ["wsgi.input"].read(size))["ids"]]
    body = json.dumps(answer or {"count": len(values), "value": values}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _number_of(repository_id: str) -> int:
    return UUID(repository_id).int - 1


def _newest_of(repository_id: str) -> int:
    """Return the number of the newest push to a repository; not above 0 if it has none."""
    number = _number_of(repository_id)
    return newest - (newest - number) % REPOSITORIES if number < REPOSITORIES else 0
