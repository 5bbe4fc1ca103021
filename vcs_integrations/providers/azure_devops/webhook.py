"""Azure DevOps' webhook requests: who sent them and what they are. Pure, never raises.

Shapes: Azure DevOps documentation, "Service hooks events" and "Webhooks"; what the Test
button sends is recognised by the ids of its made-up company.
"""

import base64
import binascii
import hmac
import json
import uuid
from typing import Any

from vcs_integrations.providers.base import Envelope, Outcome, digest

EVENTS = {
    "git.push": "Code pushed",
    "git.pullrequest.created": "Pull request created",
    "git.pullrequest.merged": "Pull request merge attempted",
    "git.pullrequest.updated": "Pull request updated",
}
# The event ids of the sample data; those of real events are never the same twice.
SAMPLE_EVENTS = {
    "03c164c2-8912-4d5e-8009-3707d5f83734",
    "2ab4e3d3-b7a6-425e-92b1-5a9982c1269e",
    "6872ee8c-b333-4eff-bfb9-0d5274943566",
    "af07be1b-f3ad-44c8-a7f1-c4835f2df06b",
}
SAMPLE_REPOSITORIES = {
    "278d5cd2-584d-4b63-824a-2ba458937249",
    "4bc14d40-c903-45e2-872e-0462c7748079",
}
UNSAVED_SUBSCRIPTION = str(uuid.UUID(int=0))
LARGEST_BIGINT = 2**63 - 1


def authenticate(authorization: str, password_digest: str) -> bool:
    """Say whether a Basic header holds the password; any user name will do."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or not password_digest:
        return False
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    _, _, password = decoded.partition(b":")
    return hmac.compare_digest(digest(password), password_digest)


def read_envelope(body: bytes) -> Envelope:
    """Read what identifies a request; whatever is unusable is left out."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return Envelope(Outcome.UNREADABLE, "The body is not JSON")
    if not isinstance(payload, dict):
        return Envelope(Outcome.UNREADABLE, "The body is JSON, but not an object")
    event_type = _text(payload, "eventType", 100)
    repository = _object(_object(payload, "resource"), "repository")
    project = _object(repository, "project") or _object(
        _object(payload, "resourceContainers"), "project"
    )
    outcome, reason = _outcome(payload, event_type, repository)
    subscription_id = _guid(payload, "subscriptionId")
    return Envelope(
        outcome=outcome,
        reason=reason,
        event_type=event_type,
        subscription_id=None if subscription_id == UNSAVED_SUBSCRIPTION else subscription_id,
        notification_id=_positive_integer(payload, "notificationId"),
        repository_id=_guid(repository, "id") or "",
        repository_name=_repository_name(repository),
        project_id=_guid(project, "id") or "",
    )


def _outcome(
    payload: dict[str, Any], event_type: str, repository: dict[str, Any]
) -> tuple[Outcome, str]:
    if not event_type:
        return Outcome.UNREADABLE, "The body names no eventType"
    is_sample = (
        _guid(payload, "id") in SAMPLE_EVENTS or _guid(repository, "id") in SAMPLE_REPOSITORIES
    )
    if is_sample or payload.get("subscriptionId") == UNSAVED_SUBSCRIPTION:
        return Outcome.TEST, "Sample data of the Test button of Azure DevOps"
    if event_type not in EVENTS:
        return Outcome.UNKNOWN_EVENT, f"Nothing here uses events of the type {event_type}"
    return Outcome.STORED, ""


def _object(item: dict[str, Any], key: str) -> dict[str, Any]:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _text(item: dict[str, Any], key: str, length: int) -> str:
    """Return a text that every database takes: no control characters, no lone surrogates."""
    value = item.get(key)
    if not isinstance(value, str):
        return ""
    kept = value.encode("utf-8", "ignore").decode()[: length * 2]
    return "".join(c for c in kept if c.isprintable())[:length]


def _guid(item: dict[str, Any], key: str) -> str | None:
    value = item.get(key)
    if not isinstance(value, str) or len(value) != 36:
        return None
    try:
        guid = str(uuid.UUID(value))
    except ValueError:
        return None
    return guid if guid == value.lower() else None


def _positive_integer(item: dict[str, Any], key: str) -> int | None:
    value = item.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= LARGEST_BIGINT else None


def _repository_name(repository: dict[str, Any]) -> str:
    names = [_text(_object(repository, "project"), "name", 64), _text(repository, "name", 64)]
    return "/".join(name for name in names if name)
