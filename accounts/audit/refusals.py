"""Refusals in the audit log: wrong passwords, and what somebody may not do.

Anybody can cause them, as often as they like. So one entry counts all refusals of a kind in an
hour, there is a most of such entries, and of a flood most is counted in memory first. They are
kept for some months only.
"""

import hashlib
import json
import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from accounts.audit.records import SecurityEvent, entries
from accounts.client_address import client_address
from accounts.models import User

logger = logging.getLogger(__name__)

# How many entries of one event and one person an hour has; the next ones share one entry.
MOST_ENTRIES = 50
# How many refusals are each written at once; then one write a second has to do.
WRITTEN_AT_ONCE = 20
BETWEEN_WRITES = timedelta(seconds=1)
KEEP = timedelta(days=90)
REFUSALS = [
    SecurityEvent.PASSWORD_WRONG,
    SecurityEvent.THROTTLED,
    SecurityEvent.ACCESS_REFUSED,
    SecurityEvent.WEBHOOK_REFUSED,
    SecurityEvent.RUN_PASSWORD_REFUSED,
]
REST = "From further addresses or at further things"
# What is counted and not written yet, by the entry's key.
_waiting: Counter[str] = Counter()
MOST_WAITING = 1000


def record_refusal(
    request: HttpRequest,
    event: SecurityEvent,
    thing: Model | None = None,
    note: str = "",
    person: str = "",
) -> None:
    """Note that something was refused; where that can't be stored, the refusal stands.

    `person` is the name of somebody known. What else came with the request, like a name that was
    typed, is not stored: it may be a password in the wrong field.
    """
    try:
        _count_in(_entry(request, event, thing, note, person))
    except (DatabaseError, InterfaceError) as error:
        logger.error("A refusal could not be recorded: %s", error.__class__.__name__)


def prune_refusals() -> None:
    """Remove refusals that were kept long enough; what people did stays."""
    old = entries().filter(timestamp__lt=timezone.now() - KEEP)
    old.filter(additional_data__verb__in=REFUSALS).delete()


def _entry(
    request: HttpRequest, event: SecurityEvent, thing: Model | None, note: str, person: str
) -> Any:
    if thing is None:
        thing, name = User(), f"{request.method} {request.path}"[:200]
    else:
        name = str(thing)
    return LogEntry(
        content_type=ContentType.objects.get_for_model(thing),
        object_pk="" if thing.pk is None else str(thing.pk),
        object_id=thing.pk,
        object_repr=name,
        action=LogEntry.Action.ACCESS,
        remote_addr=client_address(request) or None,
        timestamp=timezone.now(),
        additional_data={"verb": event, "person": person, "note": note},
    )


def _count_in(entry: Any) -> None:
    """Add one to the entry of the same refusal in this hour, or store a new one."""
    hour = entry.timestamp.replace(minute=0, second=0, microsecond=0)
    entry.cid, of_rest = _keys(entry, hour.isoformat())
    stored = {one.cid: one for one in LogEntry.objects.filter(cid__in=[entry.cid, of_rest])}
    found = stored.get(entry.cid, stored.get(of_rest))
    if found is None:
        if _is_full(entry, hour):
            entry.cid, entry.object_repr = of_rest, REST
            entry.remote_addr, entry.object_pk, entry.object_id = None, "", None
        _add_to(entry, entry.timestamp)
    elif _was_just_written(found, entry.timestamp):
        _waiting[found.cid] += 1
    else:
        with transaction.atomic():
            held = LogEntry.objects.select_for_update().get(pk=found.pk)
            _add_to(held, entry.timestamp)


def _keys(entry: Any, hour: str) -> tuple[str, str]:
    """Return by what an entry is found again, and by what the one of all further ones."""
    data = entry.additional_data
    rest = [data["verb"], data["person"], hour]
    whole = [*rest, entry.remote_addr, entry.object_pk, entry.object_repr, data["note"]]
    return _digest(whole), _digest(rest)


def _digest(words: list[str]) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _is_full(entry: Any, hour: datetime) -> bool:
    """Say whether an hour has the most entries of an event and a person."""
    data = entry.additional_data
    same = entries().filter(
        timestamp__gte=hour,
        additional_data__verb=data["verb"],
        additional_data__person=data["person"],
    )
    return len(same.values_list("pk")[:MOST_ENTRIES]) >= MOST_ENTRIES


def _was_just_written(entry: Any, now: datetime) -> bool:
    data = entry.additional_data
    rests_until = datetime.fromisoformat(data["until"]) + BETWEEN_WRITES
    return data["count"] >= WRITTEN_AT_ONCE and now < rests_until


def _add_to(entry: Any, now: datetime) -> None:
    data = entry.additional_data
    data["count"] = data.get("count", 0) + 1 + _waiting.pop(entry.cid, 0)
    data["until"] = now.isoformat()
    entry.save()
    if len(_waiting) > MOST_WAITING:  # what is left of floods that ended
        _waiting.clear()


class RefusalsMiddleware(MiddlewareMixin):
    """Records each 403: pages that are others', and forms that were forged."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.status_code == 403:
            record_refusal(request, SecurityEvent.ACCESS_REFUSED, person=_name(request))
        return response


def _name(request: HttpRequest) -> str:
    """Return who somebody signed in is; empty for others, and where that can't be read."""
    try:
        return request.user.get_username()
    except (DatabaseError, InterfaceError):
        return ""
