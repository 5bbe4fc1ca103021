"""What answers for Azure DevOps here: every push of which somebody tells is there."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

ONE_PUSH = re.compile(r"/pushes/([0-9]+)$")


def push(number: int) -> dict[str, Any]:
    """Return a push as webhooks and answers hold it."""
    sha = f"{number:040x}"
    branch = "main" if number % 2 else "topic"
    return {
        "pushId": number,
        "date": "2026-01-02T03:04:05Z",
        "commits": [{"commitId": sha, "comment": "Raise the limits", "author": {"name": "Ann"}}],
        "refUpdates": [
            {"name": f"refs/heads/{branch}", "oldObjectId": "1" * 40, "newObjectId": sha}
        ],
    }


def application(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """Answer with one push, or with an empty list."""
    one = ONE_PUSH.search(environ["PATH_INFO"])
    body = json.dumps(push(int(one[1])) if one else {"count": 0, "value": []}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
