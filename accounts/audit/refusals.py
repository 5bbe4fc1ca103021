"""Refusals in the audit log: wrong passwords, and what somebody may not do.

Anybody can cause them, as often as they like. So one entry counts all refusals of a kind in an
hour, there is a most of such entries, and of a flood most is counted in memory first. They are
kept for some months only.
"""

import logging
from collections import Counter
from datetime import timedelta

from django.db import DatabaseError, InterfaceError
from django.db.models import F, Model, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from accounts.audit.records import new_entry
from accounts.models import AuditEntry, SecurityEvent, User

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
    SecurityEvent.TOKEN_REFUSED,
]
# What two refusals of an event and a person have in common that one entry counts.
IN_COMMON = ("address", "thing_kind", "thing_id", "thing", "note")
REST = "From further addresses or at further things"
# What is counted and not written yet, by the entry's key.
uncounted: Counter[int] = Counter()
MOST_WAITING = 1000


def record_refusal(
    request: HttpRequest,
    event: SecurityEvent,
    thing: Model | None = None,
    note: str = "",
    person: str = "",
) -> None:
    """Record that something was refused; if that can't be stored, the refusal still holds.

    `person` is the name of somebody known. What else came with the request, like a name that was
    typed, is not stored: it may be a password in the wrong field.
    """
    name = str(thing) if thing else f"{request.method} {request.path}"[:200]
    entry = new_entry(request, event, thing or User(), name, note, person)
    try:
        _count(entry)
    except (DatabaseError, InterfaceError) as error:
        logger.error("A refusal could not be recorded: %s", error.__class__.__name__)


def prune_refusals() -> None:
    """Remove refusals that were kept long enough; what people did stays."""
    AuditEntry.objects.filter(verb__in=REFUSALS, at__lt=timezone.now() - KEEP).delete()


def _count(entry: AuditEntry) -> None:
    """Add one to the entry of the same refusal in this hour, or store a new one."""
    hour = entry.at.replace(minute=0, second=0, microsecond=0)
    of_hour = AuditEntry.objects.filter(verb=entry.verb, person=entry.person, at__gte=hour)
    same = Q(**{name: getattr(entry, name) for name in IN_COMMON})
    found = of_hour.filter(same | Q(thing=REST)).order_by("pk").first()
    if found is None:
        if of_hour.count() >= MOST_ENTRIES:
            entry.thing, entry.thing_id, entry.address = REST, None, None
        entry.save()
    elif found.count >= WRITTEN_AT_ONCE and entry.at < found.until + BETWEEN_WRITES:
        uncounted[found.pk] += 1
    else:
        more = 1 + uncounted.pop(found.pk, 0)
        AuditEntry.objects.filter(pk=found.pk).update(count=F("count") + more, until=entry.at)
    if len(uncounted) > MOST_WAITING:  # what is left of floods that ended
        uncounted.clear()


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
