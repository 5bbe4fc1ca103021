"""Deciding what events mean for each stack, and storing that in one transaction.

`vcs_integrations.webhooks.processing` hands deliveries over, `stacks.deciding.reconciliation` what
it found. What deciding needs from the provider is read before the transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import BigIntegerField, CharField, Q, QuerySet

from core.prepared import Given, Prepared
from core.transactions import transaction_in_line
from stacks.deciding import modules, pull_requests, pushes
from stacks.deciding.facts import Contradicted, Facts
from stacks.deciding.pushes import Pushed
from stacks.models import Decision, Stack
from stacks.module_registry import Following, PushedRef, Verdict, module_registry
from vcs_integrations.consumer import NotYet, Outdated, Settlement
from vcs_integrations.models import OUTCOME_TEXTS, Delivery, Integration, NoticeKind, Repository
from vcs_integrations.notices.records import notify
from vcs_integrations.providers.base import Client, Outcome
from vcs_integrations.providers.events import (
    Event,
    Hint,
    PullRequestChanged,
    PushAnnounced,
    RefChanged,
    Unspecified,
)

# How often other workers may be faster before a reconciliation fails.
ATTEMPTS = 20
# How soon repositories are read after a false claim, however many come.
READ_AFTER_REFUTED = timedelta(minutes=1)

# Why a delivery led to no decision
NO_STACK = "No stack uses this repository"
OTHER_MODULE_REFS = "Stacks use it as a module, and nothing that they follow moved"
OTHER_REFS = "It changed neither a branch nor a tag"
NO_DETAILS = "It has no details: the repositories are read instead"
UNREADABLE = "What happened could not be read: the repository is read again instead"


def _named() -> QuerySet[Repository]:
    return Repository.objects.filter(
        integration_id=Given("integration", BigIntegerField()),
        external_id=Given("repository", CharField()),
    )


_repository = Prepared(_named)
_locked_repository = Prepared(lambda: _named().select_for_update())
_stacks_of = Prepared(
    lambda: Stack.objects.filter(repository_id=Given("repository", BigIntegerField()))
)


@dataclass
class Entry:
    """Events that came with a delivery, or were found by a reconciliation, and their facts.

    `contradiction` says how the delivery is false. `decisions` and `verdicts`, those for modules,
    are the result, and `without` is the reason if there is none.
    """

    events: Sequence[Event]
    facts: Facts
    delivery: Delivery | None = None
    contradiction: str = ""
    decisions: list[Decision] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    without: str = NO_STACK


class Batch:
    """Events of one repository that are decided on together: a `consumer.Batch`."""

    def __init__(self, integration: Integration, repository_id: str) -> None:
        self._integration, self._repository_id = integration, repository_id
        self._stacks = self._read_stacks()
        self._followed = modules.followed_in(integration, repository_id)
        self._modules = module_registry().follow(integration, repository_id)
        self._entries: list[Entry] = []

    def read(self, delivery: Delivery, events: Sequence[Hint], *, gives_up: bool) -> None:
        """Add a delivery. Raises ProviderError or NotYet where it has to wait."""
        entry = Entry(events, Facts(self._integration, gives_up=gives_up), delivery)
        try:
            self.add(entry)
        except Contradicted as claim:
            if not delivery.failures:
                # A webhook may arrive before the provider's own answers are up to date.
                raise NotYet(str(claim)) from claim
            entry.contradiction = str(claim)
            self._entries.append(entry)

    def add(self, entry: Entry) -> None:
        """Add events, having read what they need. Raises ProviderError or Contradicted."""
        for event in entry.events if self._stacks or self._followed or self._modules else ():
            self._read_event(event, entry)
        self._entries.append(entry)

    def decide(self) -> list[Settlement]:
        """Store what the deliveries lead to; return the outcome of each. Raises Outdated."""
        self.store()
        return [_settlement(entry) for entry in self._entries]

    def store(self) -> list[Decision]:
        """Decide about all events, and store what that leads to. Raises Outdated."""
        stacks = self._read_stacks(and_lock=True)
        here = (self._integration, self._repository_id)
        followed = self._followed and modules.followed_in(*here)
        registered = self._modules and module_registry().follow(*here)
        known: list[Repository] = [stack.repository for stack in stacks]
        known += [one.repository for one in followed]
        repository = next(iter(known + ([registered.repository] if registered else [])), None)
        pushed = []
        for entry in self._entries:
            if entry.contradiction:
                _refute(self._integration, entry)
                continue
            for event in entry.events:
                if isinstance(event, Unspecified):
                    _make_repositories_due(self._integration, event)
                    entry.without = NO_DETAILS
                elif repository is None:
                    continue
                elif not isinstance(event, PullRequestChanged):
                    changes = _changes(repository, event, entry)
                    pushed += [(entry, change) for change in changes]
                elif stacks or registered:
                    _decide_pull_request(repository, stacks, registered, event, entry)
        for stack in stacks if pushed else ():
            _decide_pushes(stack, pushed)
        for entry, change in pushed if followed else ():
            entry.decisions += modules.decide(followed, change, entry.delivery)
            if not stacks:
                entry.without = OTHER_MODULE_REFS
        if registered and pushed:
            _decide_for_modules(registered, pushed)
        for entry in self._entries:
            if entry.delivery and entry.delivery.processed_at and not entry.contradiction:
                entry.decisions = _merge_with_earlier(entry.delivery, entry.decisions)
        return [decision for entry in self._entries for decision in entry.decisions]

    def _read_stacks(self, *, and_lock: bool = False) -> list[Stack]:
        """Return the stacks of the repository, which all have the same instance of it.

        A lock is held to the end of the transaction: one worker at a time stores for a repository.
        """
        if and_lock and self._followed:
            self._lock_with_users()
        query = _locked_repository if and_lock else _repository
        found = query.objects(integration=self._integration.pk, repository=self._repository_id)
        if not found:
            return []
        [repository] = found
        repository.integration = self._integration
        # Not in one statement with the lock: they would be as they were before it was waited for.
        stacks = _stacks_of.objects(repository=repository.pk)
        for stack in stacks:
            stack.repository = repository
        return stacks

    def _lock_with_users(self) -> None:
        """Lock the repositories whose stacks may run because of a module, too.

        Each time in the same order, so that no two workers wait for each other.
        """
        used = [one.run.stack.repository_id for one in self._followed]
        rows = self._integration.repositories.filter(
            Q(external_id=self._repository_id) | Q(pk__in=used)
        )
        list(rows.select_for_update().order_by("pk").values_list("pk"))

    def _read_event(self, event: Event, entry: Entry) -> None:
        registered = self._modules
        if isinstance(event, PullRequestChanged):
            if self._stacks:
                repository = self._stacks[0].repository
                pull_requests.read(repository, self._stacks, registered, event, entry.facts)
            elif registered:
                pull_requests.read(registered.repository, [], registered, event, entry.facts)
        elif not isinstance(event, Unspecified):
            found = entry.facts.read_push(event) if isinstance(event, PushAnnounced) else [event]
            for stack in self._stacks:
                pushes.read(stack, found or [], entry.facts, is_found=entry.delivery is None)
            if registered:
                registered.read_pushes(found or [], entry.facts)


def decide_events(
    integration: Integration,
    events: Sequence[PullRequestChanged | PushAnnounced | RefChanged],
    *,
    client: Client | None = None,
    gives_up: bool = False,
) -> list[Decision]:
    """Decide what events of one repository mean, found by a reconciliation; store that.

    Raises ProviderError, having stored nothing, where something has to be read from the provider
    and can't be; with `gives_up` that counts as unknown.
    """
    facts = Facts(integration, client, gives_up=gives_up)
    for _ in range(ATTEMPTS):
        batch = Batch(integration, events[0].repository_id)
        try:
            batch.add(Entry(events, facts))
            with transaction_in_line():
                return batch.store()
        except Contradicted:  # it was listed, and is gone since
            return []
        except (Outdated, IntegrityError):  # another worker was faster
            facts.forget_pull_requests()
    raise Outdated


def _decide_pull_request(
    repository: Repository,
    stacks: Sequence[Stack],
    registered: Following | None,
    event: PullRequestChanged,
    entry: Entry,
) -> None:
    decided = pull_requests.decide(
        repository, stacks, registered, event, entry.delivery, entry.facts
    )
    if decided is None:
        _read_instead(repository, entry)
    else:
        entry.decisions += decided.decisions
        entry.verdicts += decided.verdicts


def _decide_for_modules(registered: Following, pushed: Sequence[tuple[Entry, RefChanged]]) -> None:
    verdicts = registered.decide_pushes(
        [PushedRef(change, entry.facts, entry.delivery) for entry, change in pushed]
    )
    for (entry, _), found in zip(pushed, verdicts, strict=True):
        entry.verdicts += found


def _changes(
    repository: Repository, event: PushAnnounced | RefChanged, entry: Entry
) -> list[RefChanged]:
    """Return the branches and tags that a push changed."""
    changes = entry.facts.changes_of(event) if isinstance(event, PushAnnounced) else [event]
    if changes is None:
        _read_instead(repository, entry)
        return []
    pushed = [change for change in changes if change.is_branch_or_tag]
    if changes and not pushed:
        entry.without = OTHER_REFS
    return pushed


def _decide_pushes(stack: Stack, pushed: Sequence[tuple[Entry, RefChanged]]) -> None:
    decided = pushes.decide(
        stack, [Pushed(change, entry.facts, entry.delivery) for entry, change in pushed]
    )
    for (entry, _), decision in zip(pushed, decided, strict=True):
        if decision:
            entry.decisions.append(decision)


def _read_instead(repository: Repository, entry: Entry) -> None:
    """Have a repository read soon: what happened there could not be read."""
    Repository.objects.filter(pk=repository.pk).make_due()
    entry.without = UNREADABLE


def _refute(integration: Integration, entry: Entry) -> None:
    """Notify admins that a delivery's claim is false, and have the repositories read."""
    named = {event.repository_id for event in entry.events}
    integration.repositories.filter(external_id__in=named).read_within(READ_AFTER_REFUTED)
    notify(
        integration,
        NoticeKind.DELIVERY_REFUTED,
        "",
        f"A webhook delivery to {integration} made a false claim",
        f"{entry.contradiction}. Stackhook started nothing. Whoever sent the delivery knows the "
        f"webhook password: change it on the integration's page. Deliveries with the outcome "
        f"“{OUTCOME_TEXTS[Outcome.REFUTED]}” show what was claimed.",
    )


def _merge_with_earlier(delivery: Delivery, replayed: Sequence[Decision]) -> list[Decision]:
    """Keep what was decided for a replayed delivery where that named a run, else what is new."""
    kept = {(one.stack_id, one.subject): one for one in replayed}
    for earlier in delivery.decisions.exclude(pk__in=[one.pk for one in replayed]):
        key = (earlier.stack_id, earlier.subject)
        now = kept.get(key)
        if earlier.run_id and (now is None or now.run_id in {None, earlier.run_id}):
            if now:
                now.delete()
            kept[key] = earlier
        else:
            earlier.delete()
    return [*kept.values()]


def _make_repositories_due(integration: Integration, event: Unspecified) -> None:
    """Have the repositories read in which something happened that the event does not describe."""
    repositories = integration.repositories.all()
    if event.repository_id:
        repositories = repositories.filter(external_id=event.repository_id)
    else:
        repositories = repositories.filter(project_id=event.project_id)
    repositories.make_due()


def _settlement(entry: Entry) -> Settlement:
    if entry.contradiction:
        return Settlement(Outcome.REFUTED, entry.contradiction)
    return Settlement(*_outcome(entry.decisions, entry.verdicts, entry.without))


def _outcome(
    decisions: Sequence[Decision], verdicts: Sequence[Verdict], without: str
) -> tuple[Outcome, str]:
    """Return a delivery's outcome and a short reason; `without` says why nothing was decided."""
    runs = [decision.run for decision in decisions if decision.run]
    versions = [verdict.version for verdict in verdicts if verdict.version]
    sentences = [one.sentence for one in decisions] + [one.sentence for one in verdicts]
    if runs:
        led_to = [f"{runs[0]} of {runs[0].stack.name}"] if len(runs) == 1 else [f"{len(runs)} runs"]
        led_to += versions if len(versions) < 2 else [f"{len(versions)} versions"]
        return Outcome.RUN, ", ".join(led_to)
    if versions:
        several = f"{len(versions)} versions"
        return Outcome.VERSION, versions[0] if len(versions) == 1 else several
    if len(sentences) == 1:
        return Outcome.NO_RUN, sentences[0]
    if sentences:
        return Outcome.NO_RUN, f"Decided {len(sentences)} times: no run"
    return Outcome.NO_RUN, without
