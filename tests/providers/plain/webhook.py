"""Plain's webhook requests: who sent them and what they are."""

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.providers.plain.host import NOTHING, PROJECT
from vcs_integrations.providers.base import (
    SECRET_MISSING,
    SECRET_WRONG,
    Envelope,
    Outcome,
    Refused,
    S,
)
from vcs_integrations.providers.events import (
    BRANCHES,
    TAGS,
    Hint,
    Ignored,
    Malformed,
    PullRequestChanged,
    PushAnnounced,
    RefChanged,
)

EVENT, DELIVERY, SIGNATURE = "X-Plain-Event", "X-Plain-Delivery", "X-Plain-Signature"
PUSH, PULL_REQUEST, SAMPLE = "push", "pull_request", "ping"
# The one hook of an organization, which sends all events.
ALL = "all"
EVENTS = {PUSH: "Push", PULL_REQUEST: "Pull request"}
SINCE = datetime(2000, 1, 1, tzinfo=UTC)


def receive(
    headers: Mapping[str, str], read_body: Callable[[], bytes], secrets: Sequence[S]
) -> tuple[Envelope, S] | Refused:
    """See `Provider.receive`: the signature proves the secret, and the body with it."""
    signature = headers.get(SIGNATURE, "")
    if not signature:
        return Refused(SECRET_MISSING)
    body = read_body()
    for secret in secrets:
        # Without its value it proves nothing: an empty key would be everybody's.
        key = secret.value
        if key and hmac.compare_digest(signature.encode(), _sign(key, body)):
            return _envelope(headers, body), secret
    return Refused(SECRET_WRONG)


def _sign(key: str, body: bytes) -> bytes:
    return hmac.new(key.encode(), body, "sha256").hexdigest().encode()


def parse(headers: Mapping[str, str], body: bytes) -> list[Hint] | Ignored | Malformed:
    """Read what a request claims."""
    event, payload = headers.get(EVENT, ""), _payload(body)
    if event not in EVENTS:
        return Ignored(f"Nothing here uses the event {event}")
    repository_id = _text(_child(payload, "repository"), "id")
    if event == PULL_REQUEST:
        number = payload.get("number")
        if repository_id and type(number) is int and 0 < number < 2**31:
            return [PullRequestChanged(repository_id, number)]
    elif change := read_move(repository_id, payload):
        return [PushAnnounced(repository_id, change.position, (change,))]
    return Malformed("The body does not say what happened")


def read_move(repository_id: str, item: Mapping[str, Any]) -> RefChanged | None:
    """Read a move of a branch or tag; its moment orders the pushes of a repository."""
    try:
        at = datetime.fromisoformat(_text(item, "at")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    kind = "tag" if _text(item, "tag") else "branch"
    if not repository_id or at < SINCE or not _text(item, kind):
        return None
    before, after = _text(item, "before"), _text(item, "after")
    return RefChanged(
        repository_id=repository_id,
        position=(at - SINCE) // timedelta(microseconds=1),
        ref=f"{TAGS if kind == 'tag' else BRANCHES}{_text(item, kind)}",
        old_sha="" if before == NOTHING else before,
        new_sha="" if after == NOTHING else after,
        pushed_at=at,
    )


def _envelope(headers: Mapping[str, str], body: bytes) -> Envelope:
    event, payload = headers.get(EVENT, "")[:100], _payload(body)
    repository = _child(payload, "repository")
    outcome, reason = Outcome.STORED, ""
    if event == SAMPLE:
        outcome, reason = Outcome.TEST, "Sample data of Plain"
    elif event not in EVENTS:
        outcome, reason = Outcome.UNKNOWN_EVENT, f"Nothing here uses the event {event}"
    return Envelope(
        outcome=outcome,
        reason=reason,
        event_type=event,
        notification_id=headers.get(DELIVERY, "")[:100],
        repository_id=_text(repository, "id"),
        repository_name=_text(repository, "name"),
        project_id=PROJECT,
    )


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _child(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _text(item: Mapping[str, Any], key: str) -> str:
    """Return a text that a database takes."""
    value = item.get(key)
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:100]
