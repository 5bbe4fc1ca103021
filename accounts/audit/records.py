"""The audit log: who did what, when, from where, and to what; and what was refused.

It holds no secrets. What people did is kept for good, refusals for 90 days.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet, TextChoices
from django.http import HttpRequest
from django.urls import reverse

from accounts.client_address import client_address
from accounts.models import User


class Verb(TextChoices):
    """What a person did."""

    LINKED = "linked", "Linked"
    EDITED = "edited", "Edited"
    TESTED = "tested", "Tested"
    TOKEN_REPLACED = "token_replaced", "Replaced the token"
    PASSWORD_REVEALED = "password_revealed", "Revealed the webhook password"
    PASSWORD_ROTATED = "password_rotated", "Changed the webhook password"
    HOOKS_CREATED = "hooks_created", "Had service hooks created"
    HOOKS_LEFT = "hooks_left", "Stopped repairing service hooks"
    HOOK_TESTED = "hook_tested", "Tested a service hook"
    UNLINKED = "unlinked", "Unlinked"
    REPLAYED = "replayed", "Replayed deliveries"
    RECONCILED = "reconciled", "Had repositories reconciled"
    STACK_CREATED = "stack_created", "Created a stack"
    STACK_CHANGED = "stack_changed", "Changed a stack"
    STACK_DELETED = "stack_deleted", "Deleted a stack"
    ENVIRONMENT_CHANGED = "environment_changed", "Changed an environment"
    STATE_DOWNLOADED = "state_downloaded", "Downloaded a state"
    STATE_UPLOADED = "state_uploaded", "Uploaded a state"
    STATE_UNLOCKED = "state_unlocked", "Unlocked a state"
    RUN_CONFIRMED = "run_confirmed", "Confirmed a run"
    RUN_DISCARDED = "run_discarded", "Discarded a run"
    RUN_CANCELED = "run_canceled", "Canceled a run"
    FORK_ALLOWED = "fork_allowed", "Allowed a commit of a fork"
    PULL_REQUESTS_PLANNED = "pull_requests_planned", "Had open pull requests planned"
    RUN_RETRIED = "run_retried", "Retried a run"
    PERSON_ADDED = "person_added", "Added a person"
    PERSON_CHANGED = "person_changed", "Changed a person"
    PERSON_REMOVED = "person_removed", "Removed a person"


class SecurityEvent(TextChoices):
    """Who came in and went out, and what was refused."""

    SIGNED_IN = "signed_in", "Signed in"
    SIGNED_OUT = "signed_out", "Signed out"
    PASSWORD_WRONG = "password_wrong", "Wrong password"
    THROTTLED = "throttled", "Too many wrong passwords"
    ACCESS_REFUSED = "access_refused", "Access refused"
    WEBHOOK_REFUSED = "webhook_refused", "Webhook password refused"
    RUN_PASSWORD_REFUSED = "run_password_refused", "Run password refused"


LABELS = {str(one): one.label for one in (*Verb, *SecurityEvent)}


@dataclass(frozen=True)
class Line:
    """An entry as a page shows it.

    `person` is empty where nobody known acted, `address` where the entry is older than addresses;
    `page` is the URL of the thing, empty where it has none. A refusal happened `count` times
    between `at` and `until`.
    """

    person: str
    address: str
    did: str
    thing: str
    page: str
    note: str
    at: datetime
    count: int
    until: datetime


def record(
    request: HttpRequest, verb: Verb | SecurityEvent, thing: Model, note: str = "", name: str = ""
) -> None:
    """Note that the person who asks did something to a stored thing.

    The note is for people and has no secrets; the name is that of the thing, where its text
    alone does not tell which it is.
    """
    LogEntry.objects.log_create(
        thing,
        force_log=True,
        object_repr=name or str(thing),
        # The package's own words are too few.
        action=LogEntry.Action.ACCESS,
        actor=request.user,
        remote_addr=client_address(request) or None,
        # The name stays when the person is removed.
        additional_data={"verb": verb, "person": request.user.get_username(), "note": note},
    )


def entries() -> "QuerySet[Any]":
    """Return the whole log, newest first."""
    found: QuerySet[Any] = LogEntry.objects.order_by("-pk")
    return found


def entries_about(*things: Model) -> "QuerySet[Any]":
    """Return what was done to things of one kind, newest first."""
    kind = ContentType.objects.get_for_model(things[0])
    return entries().filter(content_type=kind, object_id__in=[thing.pk for thing in things])


def matching(log: "QuerySet[Any]", person: str, verb: str, thing: str) -> "QuerySet[Any]":
    """Return the entries with that in the names of person and thing; empty is any."""
    wanted = Q()
    if person:
        wanted &= Q(additional_data__person__icontains=person)
    if verb:
        wanted &= Q(additional_data__verb=verb)
    if thing:
        wanted &= Q(object_repr__icontains=thing)
    return log.filter(wanted)


def lines(log: list[Any], reader: User) -> list[Line]:
    """Return entries as a page shows them, with one query for each kind of thing among them."""
    pages = _pages_of(log, reader)
    return [
        Line(
            person=entry.additional_data["person"],
            address=entry.remote_addr or "",
            did=LABELS.get(entry.additional_data["verb"], ""),
            thing=entry.object_repr,
            page=pages.get((entry.content_type_id, entry.object_id), ""),
            note=entry.additional_data["note"],
            at=entry.timestamp,
            count=_count(entry),
            until=_until(entry),
        )
        for entry in log
    ]


def json_lines(log: "QuerySet[Any]") -> Iterator[str]:
    """Yield each entry as a line of JSON, oldest first, however many there are."""
    for entry in log.select_related("content_type").order_by("pk").iterator(chunk_size=1000):
        about = {
            "id": entry.pk,
            "at": entry.timestamp.isoformat(),
            "event": entry.additional_data["verb"],
            "person": entry.additional_data["person"] or None,
            "address": entry.remote_addr,
            "thing": entry.object_repr,
            "thing_kind": f"{entry.content_type.app_label}.{entry.content_type.model}",
            "thing_id": entry.object_id,
            "note": entry.additional_data["note"],
            "count": _count(entry),
            "until": _until(entry).isoformat(),
        }
        yield json.dumps(about) + "\n"


def _count(entry: Any) -> int:
    count: int = entry.additional_data.get("count", 1)
    return count


def _until(entry: Any) -> datetime:
    """Return when what an entry says happened last."""
    until = entry.additional_data.get("until")
    return datetime.fromisoformat(until) if until else entry.timestamp


def _pages_of(log: list[Any], reader: User) -> dict[tuple[int, int], str]:
    """Return the addresses of the things that are still there, by kind and key."""
    keys = defaultdict(set)
    for entry in log:
        if entry.object_id is not None:
            keys[entry.content_type_id].add(entry.object_id)
    pages: dict[tuple[int, int], str] = {}
    for kind, of_kind in keys.items():
        model: Any = ContentType.objects.get_for_id(kind).model_class()
        # With what a thing belongs to, which its address may name.
        things = model._default_manager.select_related().in_bulk(of_kind)
        pages |= {(kind, pk): _address_of(thing, reader) for pk, thing in things.items()}
    return pages


def _address_of(thing: Any, reader: User) -> str:
    if isinstance(thing, User):  # the one kind that is not ours
        # Nobody can change their own role: that page is none for them.
        return "" if thing == reader else reverse("accounts:edit_person", args=[thing.pk])
    address: str = thing.get_absolute_url()
    return address
