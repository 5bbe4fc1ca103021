"""What somebody can send who knows the webhook password, and what deliveries look like."""

import json
from typing import Any

from tests.payloads import PAYLOADS

NOTHING = "0" * 40


def made_up(name: str, repository_id: str, number: int, **resource: Any) -> bytes:
    """Return a payload about a repository, its resource changed as it is said."""
    payload = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    payload["notificationId"] = number
    payload["resource"] |= resource
    payload["resource"]["repository"]["id"] = repository_id
    return json.dumps(payload).encode()


def made_up_push(
    repository_id: str, number: int, position: int, ref: str, old: str, new: str
) -> bytes:
    """Return the payload of a push of one ref."""
    boss = {"name": "The boss", "email": "boss@fabrikam.example"}
    commit = {"commitId": new, "comment": "Trust me", "author": boss}
    update = {"name": ref, "oldObjectId": old, "newObjectId": new}
    return made_up(
        "git_push__one_commit",
        repository_id,
        number,
        pushId=position,
        commits=[commit],
        refUpdates=[update],
    )
