"""Webhook payloads of real events (Azure DevOps documentation, "Service hooks events")."""

import uuid
from typing import Any

from . import shapes
from .git import NO_OBJECT
from .model import Organization, Push, Repository
from .pull_requests import COMMIT_LIMIT, CREATED, Change, PullRequest

_KEY_FIELDS = ("id", "name", "url", "pushId", "pullRequestId")


def push_event(where: Repository, push: Push) -> dict[str, Any]:
    """Return the payload of `git.push` for one push, every ref included."""
    base = where.organization.url
    url = shapes.repository_url(base, where)
    resource = {
        "commits": _commits(where, push),
        "refUpdates": [
            {"name": update.name, "oldObjectId": update.old, "newObjectId": update.new}
            for update in push.ref_updates
        ],
        "repository": _repository(where),
        "pushedBy": shapes.identity(base, push.pushed_by),
        "pushId": push.id,
        "date": shapes.timestamp(push.date),
        "url": f"{url}/pushes/{push.id}",
        "_links": {
            "self": {"href": f"{url}/pushes/{push.id}"},
            "repository": {"href": url},
            "refs": {"href": f"{url}/refs"},
        },
    }
    return _event("git.push", where, resource, _push_message(where, push)) | {
        "detailedMessage": _push_details(where, push)
    }


def pull_request_event(one: PullRequest, change: Change) -> dict[str, Any]:
    """Return the payload of one of the three pull request events.

    The commits are in `updated` and `merged` only, and nothing but the message says what the
    update was.
    """
    where = one.repository
    resource = shapes.pull_request(where.organization.url, one) | {"repository": _repository(where)}
    if change.event_type != CREATED:
        base, shas = where.organization.url, one.iterations[-1].commits[:COMMIT_LIMIT]
        resource["commits"] = [shapes.commit_reference(base, where, sha) for sha in shas]
    message = dict.fromkeys(("text", "html", "markdown"), change.text)
    return _event(change.event_type, where, resource, message)


def _event(
    event_type: str, where: Repository, resource: dict[str, Any], message: dict[str, str]
) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "eventType": event_type,
        "publisherId": "tfs",
        "message": message,
        "detailedMessage": message,
        "resource": resource,
        "resourceVersion": "1.0",
        "resourceContainers": containers(where.organization, where.project.id),
        "createdDate": shapes.timestamp(where.organization.now()),
    }


def containers(organization: Organization, project_id: str) -> dict[str, Any]:
    """Return where an event happened."""
    base_url = f"{organization.url}/"
    return {
        "collection": {"id": organization.id, "baseUrl": base_url},
        "account": {"id": organization.account_id, "baseUrl": base_url},
        "project": {"id": project_id, "baseUrl": base_url},
    }


def reduced(event: dict[str, Any], inputs: dict[str, str], version: str) -> dict[str, Any]:
    """Return the event with as much detail as a subscription asked for.

    Without an explicit `resourceDetailsToSend` a subscription made over the API gets the minimal
    form, and a resource version other than 1.0 yields no resource at all.
    """
    event = dict(event)
    for field, key in (
        ("message", "messagesToSend"),
        ("detailedMessage", "detailedMessagesToSend"),
    ):
        event[field] = _message(event.get(field), inputs.get(key, "all"))
    details = inputs.get("resourceDetailsToSend", "minimal")
    if version != "1.0":
        event["resource"] = event["resourceVersion"] = None
    elif details == "minimal":
        event["resource"] = {
            key: value for key, value in event["resource"].items() if key in _KEY_FIELDS
        }
    elif details == "none":
        event["resource"] = None
    return event


def _message(message: dict[str, str] | None, wanted: str) -> dict[str, str] | None:
    if message is None or wanted == "none":
        return None
    return message if wanted == "all" else {wanted: message[wanted]}


def _repository(where: Repository) -> dict[str, Any]:
    base = where.organization.url
    shape = {
        "id": where.id,
        "name": where.name,
        "url": f"{base}/_apis/git/repositories/{where.id}",
        "project": {
            "id": where.project.id,
            "name": where.project.name,
            "url": f"{base}/_apis/projects/{where.project.id}",
            "state": "wellFormed",
            "visibility": "unchanged",
            "lastUpdateTime": "0001-01-01T00:00:00",
        },
        "remoteUrl": where.clone_url,
    }
    if where.default_branch:
        shape["defaultBranch"] = where.default_branch
    return shape


def _commits(where: Repository, push: Push) -> list[dict[str, Any]]:
    shas = push.commits[:COMMIT_LIMIT]
    base, git = where.organization.url, where.git
    return [shapes.commit(base, where, git.commit(sha)) for sha in shas]


def _push_message(where: Repository, push: Push) -> dict[str, str]:
    branch = push.ref_updates[0].name.removeprefix("refs/heads/").removeprefix("refs/tags/")
    link = where.clone_url
    who = f"{push.pushed_by.name} pushed updates to"
    return {
        "text": f"{who} {where.name}:{branch}.",
        "html": f'{who} <a href="{link}/">{where.name}</a>:<a href="{link}/">{branch}</a>.',
        "markdown": f"{who} [{where.name}]({link}/):[{branch}]({link}/).",
    }


def _push_details(where: Repository, push: Push) -> dict[str, str]:
    verbs = {"text": "\r\n - ", "html": "<br>", "markdown": "\r\n* "}
    deleted = [update.name for update in push.ref_updates if update.new == NO_OBJECT]
    lines = [sha[:8] for sha in push.commits[:COMMIT_LIMIT]]
    lines += [f"{name} deleted" for name in deleted]
    first = f"{push.pushed_by.name} pushed {len(push.commits)} commits to {where.name}"
    return {form: mark.join([first, *lines]) for form, mark in verbs.items()}
