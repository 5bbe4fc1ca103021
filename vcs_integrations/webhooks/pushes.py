"""Reading the pushes that deliveries announce.

What a push changed never changes, so it is remembered for a while: all deliveries of a push share
one call, and many pushes of a repository that come at once share a list.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from django.core.cache import cache

from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import Client, Patience, ProviderError
from vcs_integrations.providers.events import PushAnnounced, RefChanged, RemoteCommit

KEEP_PUSHES = 600  # seconds
# From so many on, a list of pushes and one of their commits take fewer calls.
WORTH_A_LIST = 3
MOST_LISTED = 100  # as many as one call returns
# Deliveries wait meanwhile, and each can still be read alone.
AHEAD = Patience(seconds_per_call=10, seconds_in_all=20, retries=0, obeys_pauses=True)


def read_push(
    integration: Integration, repository_id: str, push_id: int, client: Callable[[], Client]
) -> Sequence[RefChanged]:
    """Return what a push changed, from memory or with one call. Raises ProviderError."""
    key = _key(integration, repository_id, push_id)
    changes: Sequence[RefChanged] | None = cache.get(key)
    if changes is None:
        changes = client().push(repository_id, push_id)
        cache.set(key, changes, KEEP_PUSHES)
    return changes


def read_ahead(deliveries: Sequence[Delivery]) -> None:
    """Read together what deliveries announce, where that takes fewer calls than one by one.

    What can't be read this way is left to each delivery.
    """
    if len(deliveries) < WORTH_A_LIST:
        return
    announced = _announced(deliveries)
    together = {key: ids for key, ids in announced.items() if len(ids) >= WORTH_A_LIST}
    if not together:
        return
    ids = {repository_id for _, repository_id in together}
    used = set(
        Repository.objects.in_use()
        .filter(external_id__in=ids)
        .values_list("integration_id", "external_id")
    )
    for (integration, repository_id), push_ids in together.items():
        if (integration.pk, repository_id) in used:
            try:
                _read_together(integration, repository_id, push_ids)
            except ProviderError:
                continue


def _announced(
    deliveries: Iterable[Delivery],
) -> defaultdict[tuple[Integration, str], set[int]]:
    """Return the pushes of linked organizations that deliveries announce, by their repository."""
    found: defaultdict[tuple[Integration, str], set[int]] = defaultdict(set)
    for delivery in deliveries:
        integration = delivery.integration
        if delivery.event_type != integration.provider.push_event or not integration.is_linked:
            continue
        events = integration.provider.parse(bytes(delivery.body))
        for event in events if isinstance(events, list) else []:
            if isinstance(event, PushAnnounced):
                found[integration, event.repository_id].add(event.push_id)
    return found


def _read_together(integration: Integration, repository_id: str, push_ids: Collection[int]) -> None:
    """Remember what those of the pushes changed that are among the newest. Raises ProviderError."""
    client = integration.client(AHEAD)
    listed = islice(client.pushes_since(repository_id, min(push_ids) - 1), MOST_LISTED)
    found = {one.push_id: one.changes for one in listed if one.changes and one.push_id in push_ids}
    commits = _commits(client, repository_id, [one for all_ in found.values() for one in all_])
    for push_id, changes in found.items():
        whole = [replace(change, commit=commits.get(change.new_sha)) for change in changes]
        cache.set(_key(integration, repository_id, push_id), whole, KEEP_PUSHES)


def _commits(
    client: Client, repository_id: str, changes: Iterable[RefChanged]
) -> dict[str, RemoteCommit]:
    """Return the commits that branches were moved to, by sha; none where they can't be read."""
    shas = sorted({change.new_sha for change in changes if change.branch and change.new_sha})
    try:
        read = client.commits(repository_id, shas[:MOST_LISTED]) if shas else []
    except ProviderError:
        return {}
    return {commit.sha: commit for commit in read}


def _key(integration: Integration, repository_id: str, push_id: int) -> str:
    return f"push:{integration.pk}:{repository_id}:{push_id}"
