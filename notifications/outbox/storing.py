"""Storing messages: whom an event of a run concerns."""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from accounts.models import User
from notifications.models import Channel, Event, Message, Subscription
from stacks.models import Run, Stack


def store_messages(runs: QuerySet[Run], event: Event) -> None:
    """Store one message to each target of an event of runs, unless there is one.

    To be called in the transaction in which it happens.
    """
    messages = [
        message for run in runs.select_related("stack") for message in _messages(run, event)
    ]
    channels = _kept(Channel, {one.channel_id for one in messages if one.channel_id})
    people = _kept(User, {one.person_id for one in messages if one.person_id})
    stored = [one for one in messages if one.channel_id in channels or one.person_id in people]
    Message.objects.bulk_create(stored, ignore_conflicts=True)


def _kept(model: type[Channel] | type[User], keys: set[int]) -> set[int]:
    """Return the keys of those targets that nobody deletes until the transaction ends.

    PostgreSQL looks at the end for what a message refers to, and a target that was deleted
    meanwhile would undo the move of the run. One that is being deleted in this moment is left out:
    to wait for it could be to wait for each other. SQLite lets one write at a time.
    """
    if not keys or connection.vendor != "postgresql":
        return keys
    rows = model._default_manager.filter(pk__in=keys).order_by().values("pk")
    sql, parameters = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} FOR KEY SHARE SKIP LOCKED", parameters)  # Django can't say it
        return {pk for (pk,) in cursor.fetchall()}


def _messages(run: Run, event: Event) -> Iterator[Message]:
    people = {one.person_id for one in _subscriptions(run.stack) if event in one.events}
    # What can't be e-mailed now would arrive in a heap once a mail server is set.
    for person in people if settings.SENDS_EMAIL else ():
        yield Message(run=run, event=event, person_id=person)
    for channel in Channel.objects.prefetch_related("stacks"):
        if event in channel.events and channel.concerns(run.stack):
            yield Message(run=run, event=event, channel=channel)


def _subscriptions(stack: Stack) -> QuerySet[Subscription]:
    """Return those that concern a stack, of people who are active."""
    scope = Q(stack=stack) | Q(stack=None, label="") | Q(label__in=stack.labels)
    return Subscription.objects.filter(scope, person__is_active=True)
