"""Storing messages: whom an event of a run concerns."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q, QuerySet

from notifications.models import Channel, Event, Message, Subscription
from stacks.models import Run, Stack


def store_messages(runs: QuerySet[Run], event: Event) -> None:
    """Store one message to each target of an event of runs, unless there is one.

    To be called in the transaction in which it happens.
    """
    messages = [
        message for run in runs.select_related("stack") for message in _messages(run, event)
    ]
    Message.objects.bulk_create(messages, ignore_conflicts=True)


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
