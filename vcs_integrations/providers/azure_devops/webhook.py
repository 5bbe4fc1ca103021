"""Azure DevOps' webhook requests: who sent them and what they are. Pure, never raises.

Shapes: Azure DevOps documentation, "Service hooks events" and "Webhooks"; what the Test
button sends is recognized by the ids of its made-up company.
"""

import hmac
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core import bounded_json
from core.basic_auth import read_basic
from vcs_integrations.providers.azure_devops.shapes import (
    child,
    guid,
    line,
    positive_integer,
    pull_request,
    ref_changes,
    text,
)
from vcs_integrations.providers.base import (
    SECRET_MISSING,
    SECRET_WRONG,
    Envelope,
    Outcome,
    Refused,
    S,
    digest,
)
from vcs_integrations.providers.events import (
    Hint,
    Ignored,
    Malformed,
    PullRequestChanged,
    PushAnnounced,
    Unspecified,
)

# What fills the 2 MB that Azure DevOps sends at most has far fewer.
MOST_PARTS = 200_000
PUSH = "git.push"
EVENTS = {
    PUSH: "Code pushed",
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
# The collection of all sample data, whatever the event.
SAMPLE_COLLECTION = "c12d0eb8-e382-443b-9f9c-c52cba5014c2"
# How an answer asks for the password.
CHALLENGE = 'Basic realm="Stackhook webhooks", charset="UTF-8"'
UNSAVED_SUBSCRIPTION = str(uuid.UUID(int=0))
# A reduced request identifies its repository only by an address.
RESOURCE_URL = re.compile(
    r"/_apis/git/repositories/([0-9a-f-]{36})/(?:pushes|pullrequests)/[0-9]{1,18}(?:\?|$)",
    re.IGNORECASE,
)


def receive(
    headers: Mapping[str, str], read_body: Callable[[], bytes], secrets: Sequence[S]
) -> tuple[Envelope, S] | Refused:
    """See `Provider.receive`: a Basic header proves the secret, with any user name."""
    if "Authorization" not in headers:  # a proxy may have dropped it
        return Refused(SECRET_MISSING, CHALLENGE)
    _, password = read_basic(headers["Authorization"]) or (b"", b"")
    proved = digest(password)
    for secret in secrets:
        if hmac.compare_digest(proved, secret.digest):
            return read_envelope(read_body()), secret
    return Refused(SECRET_WRONG, CHALLENGE)


def read_envelope(body: bytes) -> Envelope:
    """Read what identifies a request; whatever is unusable is left out."""
    payload = _payload(body)
    if isinstance(payload, Malformed):
        return Envelope(Outcome.UNREADABLE, payload.reason)
    event_type = line(payload, "eventType", 100)
    repository = child(child(payload, "resource"), "repository")
    outcome, reason = _outcome(payload, event_type, repository)
    subscription_id, notification_id = _ids(payload)
    return Envelope(
        outcome=outcome,
        reason=reason,
        event_type=event_type,
        subscription_id=subscription_id,
        notification_id=notification_id,
        repository_id=_repository_id(child(payload, "resource")),
        repository_name=_repository_name(repository),
        project_id=_project_id(payload),
    )


def parse(body: bytes) -> list[Hint] | Ignored | Malformed:
    """Read what a request claims."""
    payload = _payload(body)
    if isinstance(payload, Malformed):
        return payload
    event_type = line(payload, "eventType", 100)
    repository = child(child(payload, "resource"), "repository")
    outcome, reason = _outcome(payload, event_type, repository)
    if outcome == Outcome.UNREADABLE:
        return Malformed(reason)
    if outcome != Outcome.STORED:
        return Ignored(reason)
    resource = child(payload, "resource")
    events = _push(resource) if event_type == PUSH else _pull_request(resource)
    return events or _unspecified(payload)


def _push(resource: dict[str, Any]) -> list[Hint]:
    repository_id = _repository_id(resource)
    position = positive_integer(resource, "pushId")
    if not repository_id or position is None:
        return []
    return [PushAnnounced(repository_id, position, (*ref_changes(repository_id, resource),))]


def _pull_request(resource: dict[str, Any]) -> list[Hint]:
    repository_id = _repository_id(resource)
    number = positive_integer(resource, "pullRequestId")
    if not repository_id or number is None:
        return []
    return [PullRequestChanged(repository_id, number, claims=pull_request(resource))]


def _unspecified(payload: dict[str, Any]) -> list[Hint] | Malformed:
    """Return that something happened: a request with reduced details says no more."""
    project_id, repository_id = _project_id(payload), _repository_id(child(payload, "resource"))
    if not project_id and not repository_id:
        return Malformed("The body names neither a repository nor a project")
    return [Unspecified(project_id, repository_id)]


def _payload(body: bytes) -> dict[str, Any] | Malformed:
    try:
        payload = bounded_json.loads(body, MOST_PARTS)
    except bounded_json.TooMuch:
        return Malformed(
            "The body is not JSON of an event: it has too many parts, or nests them too deeply"
        )
    except ValueError:
        return Malformed("The body is not JSON")
    if not isinstance(payload, dict):
        return Malformed("The body is JSON, but not an object")
    return payload


def _outcome(
    payload: dict[str, Any], event_type: str, repository: dict[str, Any]
) -> tuple[Outcome, str]:
    if not event_type:
        return Outcome.UNREADABLE, "The body names no eventType"
    collection = child(child(payload, "resourceContainers"), "collection")
    is_sample = (
        guid(payload, "id") in SAMPLE_EVENTS
        or guid(repository, "id") in SAMPLE_REPOSITORIES
        or guid(collection, "id") == SAMPLE_COLLECTION
    )
    if is_sample or guid(payload, "subscriptionId") == UNSAVED_SUBSCRIPTION:
        return Outcome.TEST, "Sample data of the Test button of Azure DevOps"
    if event_type not in EVENTS:
        return Outcome.UNKNOWN_EVENT, f"Nothing here uses events of the type {event_type}"
    return Outcome.STORED, ""


def _ids(payload: dict[str, Any]) -> tuple[str, str]:
    """Return the ids of subscription and notification, which counts for its subscription only."""
    subscription_id = guid(payload, "subscriptionId")
    number = positive_integer(payload, "notificationId")
    if subscription_id in {"", UNSAVED_SUBSCRIPTION}:
        return "", ""
    return subscription_id, "" if number is None else str(number)


def _repository_id(resource: dict[str, Any]) -> str:
    named = guid(child(resource, "repository"), "id")
    match = RESOURCE_URL.search(text(resource, "url")[:2000])
    return named or (guid({"id": match[1]}, "id") if match else "")


def _project_id(payload: dict[str, Any]) -> str:
    repository = child(child(payload, "resource"), "repository")
    project = child(repository, "project") or child(child(payload, "resourceContainers"), "project")
    return guid(project, "id")


def _repository_name(repository: dict[str, Any]) -> str:
    names = [line(child(repository, "project"), "name", 64), line(repository, "name", 64)]
    return "/".join(name for name in names if name)
