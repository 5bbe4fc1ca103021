"""Taking events in: what they mean for each stack is decided and stored in one transaction.

`vcs_integrations.webhooks.processing` hands deliveries over, `stacks.deciding.reconciliation` what
it found. Where a decision needs something from the provider, the transaction is given up, that is
read, and all begins anew.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from django.db import IntegrityError

from core.transactions import transaction_in_line
from stacks.deciding.facts import Contradicted, Facts, NotRead
from stacks.deciding.pull_requests import Outdated, take_pull_request
from stacks.deciding.pushes import take_push
from stacks.models import Decision
from vcs_integrations.models import OUTCOME_TEXTS, Delivery, Integration, NoticeKind, Repository
from vcs_integrations.notices.records import give
from vcs_integrations.providers.base import Client, Outcome
from vcs_integrations.providers.events import (
    Event,
    Hint,
    PullRequestChanged,
    PushAnnounced,
    RefChanged,
    Unspecified,
)
from vcs_integrations.webhooks.processing import NotYet

# How often other workers may be faster before it is put off.
ATTEMPTS = 20
# What is really there is read this soon after a false claim, however many come.
READ_AFTER_REFUTED = timedelta(minutes=1)

# Why a delivery led to no decision
NO_STACK = "No stack uses this repository"
OTHER_REFS = "It changed neither a branch nor a tag"
NO_DETAILS = "It tells no details: the repositories are read instead"
UNREADABLE = "What happened could not be read: the repository is read again instead"


class Settled(Exception):
    """Another worker has taken the same delivery in meanwhile."""


def take_in_delivery(delivery: Delivery, events: Sequence[Hint], gives_up: bool) -> None:
    """Take in what a delivery hints at and settle it.

    With `gives_up` what can't be read from the provider now is taken for unknown. Raises
    ProviderError or NotYet, having stored nothing.
    """
    take_in(delivery.integration, events, delivery, gives_up=gives_up)


def take_in(
    integration: Integration,
    events: Sequence[Event],
    delivery: Delivery | None = None,
    *,
    client: Client | None = None,
    gives_up: bool = False,
) -> list[Decision]:
    """Decide what events mean for an integration's stacks, and store that.

    Events without a delivery were found by a reconciliation, with its `client`. Raises
    ProviderError, having stored nothing, where something has to be read from the provider and
    can't be; with `gives_up` that is taken for unknown.
    """
    facts = Facts(integration, client, gives_up=gives_up)
    _read_first(integration, events, facts)
    attempts = 0
    while True:
        try:
            with transaction_in_line():
                return _take_in(integration, events, delivery, facts)
        except NotRead as missing:
            missing.read()
        except Settled:
            return []
        except (Outdated, IntegrityError):  # another worker was faster
            attempts += 1
            if attempts == ATTEMPTS:
                raise
            facts.forget_pull_requests()


def _read_first(integration: Integration, events: Sequence[Event], facts: Facts) -> None:
    """Read the pushes of repositories that stacks use before any transaction: each is needed.

    Raises ProviderError where one can't be read yet.
    """
    in_use = integration.repositories.filter(stacks__isnull=False)
    for event in events:
        if not isinstance(event, PushAnnounced):
            continue
        if in_use.filter(external_id=event.repository_id).exists():
            facts.read_first(event)


def _take_in(
    integration: Integration, events: Sequence[Event], delivery: Delivery | None, facts: Facts
) -> list[Decision]:
    decisions: list[Decision] = []
    without = NO_STACK
    for event in events:
        if isinstance(event, Unspecified):
            _hurry_reconciliation(integration, event)
            without = NO_DETAILS
            continue
        try:
            decided, without = _take(integration, event, delivery, facts)
        except Contradicted as claim:
            if delivery and not delivery.failures:
                # A webhook may be faster than what the provider answers from.
                raise NotYet(str(claim)) from claim
            return _refute(event, delivery, str(claim))
        decisions += decided
    if delivery:
        if delivery.processed_at:
            decisions = _merge_with_earlier(delivery, decisions)
        if not delivery.settle(*_outcome(decisions, without)):
            raise Settled
    return decisions


def _refute(
    event: RefChanged | PushAnnounced | PullRequestChanged, delivery: Delivery | None, because: str
) -> list[Decision]:
    """Record that a delivery's claim is false, and tell the admins."""
    if delivery is None:  # it was listed, and is gone since
        return []
    if not delivery.settle(Outcome.REFUTED, because):
        raise Settled
    integration = delivery.integration
    integration.repositories.filter(external_id=event.repository_id).read_within(READ_AFTER_REFUTED)
    give(
        integration,
        NoticeKind.DELIVERY_REFUTED,
        "",
        f"A webhook delivery to {integration} made a false claim",
        f"{because}. Stackhook started nothing. Whoever sent the delivery knows the webhook "
        f"password: change it on the integration's page. Deliveries with the outcome "
        f"“{OUTCOME_TEXTS[Outcome.REFUTED]}” show what was claimed.",
    )
    return []


def _merge_with_earlier(delivery: Delivery, replayed: Sequence[Decision]) -> list[Decision]:
    """Keep what a replayed delivery was told before where that named a run, else what is new."""
    told = {(one.stack_id, one.subject): one for one in replayed}
    for earlier in delivery.decisions.exclude(pk__in=[one.pk for one in replayed]):
        key = (earlier.stack_id, earlier.subject)
        now = told.get(key)
        if earlier.run_id and (now is None or now.run_id in {None, earlier.run_id}):
            if now:
                now.delete()
            told[key] = earlier
        else:
            earlier.delete()
    return [*told.values()]


def _take(
    integration: Integration,
    event: RefChanged | PushAnnounced | PullRequestChanged,
    delivery: Delivery | None,
    facts: Facts,
) -> tuple[list[Decision], str]:
    """Take one event in for every stack of its repository.

    Returns what was decided, and the reason where that is nothing.
    """
    # Held to the end: one worker at a time stores for a repository.
    held = integration.repositories.select_for_update().filter(external_id=event.repository_id)
    repository = held.first()
    followers = list(repository.stacks.all()) if repository else []
    if repository is None or not followers:
        return [], NO_STACK
    if isinstance(event, PullRequestChanged):
        taken = take_pull_request(repository, followers, event, delivery, facts)
        return (taken, NO_STACK) if taken is not None else _read_instead(repository)
    changes = facts.refs_of(event) if isinstance(event, PushAnnounced) else [event]
    if changes is None:
        return _read_instead(repository)
    pushed = [change for change in changes if change.is_branch_or_tag]
    decided = facts.all_of(
        partial(take_push, stack, change, delivery, facts)
        for change in pushed
        for stack in followers
    )
    without = OTHER_REFS if changes and not pushed else NO_STACK
    return [decision for decision in decided if decision], without


def _read_instead(repository: Repository) -> tuple[list[Decision], str]:
    """Have a repository read soon: what happened there could not be read."""
    Repository.objects.filter(pk=repository.pk).hurry()
    return [], UNREADABLE


def _hurry_reconciliation(integration: Integration, event: Unspecified) -> None:
    """Have the repositories read in which something happened that the event does not tell."""
    repositories = integration.repositories.all()
    if event.repository_id:
        repositories = repositories.filter(external_id=event.repository_id)
    else:
        repositories = repositories.filter(project_id=event.project_id)
    repositories.hurry()


def _outcome(decisions: Sequence[Decision], without: str) -> tuple[Outcome, str]:
    """Return what became of a delivery, in short; `without` is told where nothing was decided."""
    runs = [decision.run for decision in decisions if decision.run]
    if len(runs) == 1:
        return Outcome.RUN, f"{runs[0]} of {runs[0].stack.name}"
    if runs:
        return Outcome.RUN, f"{len(runs)} runs"
    if len(decisions) == 1:
        return Outcome.NO_RUN, decisions[0].sentence
    if decisions:
        return Outcome.NO_RUN, f"Decided {len(decisions)} times: no run"
    return Outcome.NO_RUN, without
