"""The audit log: who did what, when, from where, and to what; and what was refused.

It holds no secrets. What people did is kept for good, refusals for 90 days.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.client_address import client_address
from accounts.models import AuditEntry, SecurityEvent, User, Verb

__all__ = [
    "SecurityEvent",
    "Verb",
    "entries",
    "entries_about",
    "json_lines",
    "matching",
    "new_entry",
    "record",
    "with_pages",
]


def record(
    request: HttpRequest, verb: Verb | SecurityEvent, thing: Model, note: str = "", name: str = ""
) -> None:
    """Note that the person who asks did something to a stored thing.

    The note is for people and has no secrets; the name is that of the thing, where its text
    alone does not say which it is.
    """
    person = request.user.get_username()
    new_entry(request, verb, thing, name or str(thing), note, person).save()


def new_entry(
    request: HttpRequest,
    verb: Verb | SecurityEvent,
    thing: Model,
    name: str,
    note: str,
    person: str,
) -> AuditEntry:
    """Return an entry of this moment that is not stored yet."""
    now = timezone.now()
    return AuditEntry(
        verb=verb,
        person=person,
        address=client_address(request) or None,
        thing_kind=thing._meta.label_lower,
        thing_id=thing.pk,
        thing=name,
        note=note,
        at=now,
        until=now,
    )


def entries() -> QuerySet[AuditEntry]:
    """Return the whole log, newest first."""
    return AuditEntry.objects.order_by("-pk")


def entries_about(things: QuerySet[Any]) -> QuerySet[AuditEntry]:
    """Return what was done to stored things, newest first."""
    keys = things.order_by().values("pk")
    return entries().filter(thing_kind=things.model._meta.label_lower, thing_id__in=keys)


def matching(log: QuerySet[AuditEntry], person: str, verb: str, thing: str) -> QuerySet[AuditEntry]:
    """Return the entries with that in the names of person and thing; empty is any."""
    if person:
        log = log.filter(person__icontains=person)
    if verb:
        log = log.filter(verb=verb)
    if thing:
        log = log.filter(thing__icontains=thing)
    return log


def with_pages(log: list[AuditEntry], reader: User) -> list[AuditEntry]:
    """Set the `page` of each entry whose thing is still there, and return them.

    It takes one query for each kind of thing among them.
    """
    known = {model._meta.label_lower for model in apps.get_models()}
    for kind in {entry.thing_kind for entry in log} & known:
        of_kind = [entry for entry in log if entry.thing_kind == kind]
        keys = {entry.thing_id for entry in of_kind} - {None}
        # With what a thing belongs to, which its address may name.
        things = apps.get_model(kind)._default_manager.select_related().in_bulk(keys)
        for entry in of_kind:
            if entry.thing_id in things:
                entry.page = _address_of(things[entry.thing_id], reader)
    return log


def json_lines(log: QuerySet[AuditEntry]) -> Iterator[str]:
    """Yield each entry as a line of JSON, oldest first, however many there are."""
    for entry in log.order_by("pk").iterator(chunk_size=1000):
        about = {
            "id": entry.pk,
            "at": entry.at.isoformat(),
            "event": entry.verb,
            "person": entry.person or None,
            "address": entry.address,
            "thing": entry.thing,
            "thing_kind": entry.thing_kind,
            "thing_id": entry.thing_id,
            "note": entry.note,
            "count": entry.count,
            "until": entry.until.isoformat(),
        }
        yield json.dumps(about) + "\n"


def _address_of(thing: Any, reader: User) -> str:
    if isinstance(thing, User):  # its own address is Django's
        # Nobody can change their own role: that page is none for them.
        return "" if thing == reader else reverse("accounts:edit_person", args=[thing.pk])
    address: str = thing.get_absolute_url()
    return address
