"""Read the pushes that deliveries announce.

What a push changed never changes, so it is remembered for a while: all deliveries of a push share
one call, and many pushes of a repository that come at once share a list.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from django.core.cache import cache

from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.base import CallLimits, Client, ProviderError
from vcs_integrations.providers.events import PushAnnounced, RefChanged, RemoteCommit

KEEP_PUSHES = 600  # seconds
# From this many on, a list of pushes and one of their commits take fewer calls.
WORTH_A_LIST = 3
LISTED_PER_CALL = MOST_COMMITS = 100
MOST_LISTED = 1000
# Deliveries wait meanwhile, and each can still be read alone.
AHEAD = CallLimits(seconds_per_call=10, seconds_in_all=20, retries=0, obeys_pauses=True)


def read_push(
    integration: Integration, repository_id: str, position: int, client: Callable[[], Client]
) -> Sequence[RefChanged]:
    """Return what a push changed, from memory or with one call. Raises ProviderError."""
    key = _key(integration, repository_id, position)
    changes: Sequence[RefChanged] | None = cache.get(key)
    if changes is None:
        changes = client().push(repository_id, position)
        cache.set(key, changes, KEEP_PUSHES)
    return changes


def read_ahead(deliveries: Sequence[Delivery]) -> None:
    """Read together what deliveries of one repository announce, where that takes fewer calls.

    What can't be read this way is left to each delivery.
    """
    positions = {event.position for delivery in deliveries for event in _announced(delivery)}
    if len(positions) < WORTH_A_LIST:
        return
    integration, repository_id = deliveries[0].integration, deliveries[0].repository_id
    if not integration.repositories.in_use().filter(external_id=repository_id).exists():
        return
    with suppress(ProviderError):
        _read_together(integration, repository_id, positions)


def _announced(delivery: Delivery) -> list[PushAnnounced]:
    """Return the pushes that a delivery to a linked organization announces."""
    provider = delivery.integration.provider
    if delivery.event_type != provider.push_event or not delivery.integration.is_linked:
        return []
    events = delivery.events if isinstance(delivery.events, list) else []
    return [event for event in events if isinstance(event, PushAnnounced)]


def _read_together(
    integration: Integration, repository_id: str, positions: Collection[int]
) -> None:
    """Remember what pushes changed, as far as they are listed, with the commits.

    So are those remembered that are listed with them: in a backlog their deliveries come next.
    Raises ProviderError.
    """
    client = integration.client(AHEAD)
    keys = {position: _key(integration, repository_id, position) for position in positions}
    known: dict[str, Sequence[RefChanged]] = cache.get_many(keys.values())
    missing = [position for position in positions if keys[position] not in known]
    if missing:
        # In no more calls than it would take to read them one by one.
        most = min(len(missing) * LISTED_PER_CALL, MOST_LISTED)
        newest = islice(client.pushes_since(repository_id, min(missing) - 1), most)
        listed = {
            _key(integration, repository_id, one.position): one.changes
            for one in newest
            if one.changes
        }
        cache.set_many(listed, KEEP_PUSHES)
        known |= {key: listed[key] for key in keys.values() if key in listed}
    commits = _commits(client, repository_id, [one for all_ in known.values() for one in all_])
    whole = {
        key: [replace(one, commit=one.commit or commits.get(one.new_sha)) for one in changes]
        for key, changes in known.items()
    }
    cache.set_many(whole, KEEP_PUSHES)


def _commits(
    client: Client, repository_id: str, changes: Iterable[RefChanged]
) -> dict[str, RemoteCommit]:
    """Return the commits that branches were moved to, by sha; none where they can't be read."""
    unknown = (one for one in changes if one.branch and one.new_sha and not one.commit)
    shas = sorted({one.new_sha for one in unknown})
    try:
        read = client.commits(repository_id, shas[:MOST_COMMITS]) if shas else []
    except ProviderError:
        return {}
    return {commit.sha: commit for commit in read}


def _key(integration: Integration, repository_id: str, position: int) -> str:
    return f"push:{integration.pk}:{repository_id}:{position}"
