"""Unlinking an organization: its service hooks removed, its secrets erased."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from vcs_integrations.models import Credentials, Integration, Subscription
from vcs_integrations.providers.base import Patience, ProviderError, RemoteSubscription

# One request of a browser may remove many hooks; it must end before the web server's limit.
UNLINKING = Patience(seconds_per_call=6, seconds_in_all=20, retries=0)


def hooks(integration: Integration, patience: Patience) -> list[RemoteSubscription]:
    """Return the service hooks that post to this integration. Raises ProviderError."""
    return _hooks_of(integration, integration.client(patience).subscriptions())


def unlink(integration: Integration) -> tuple[list[Subscription], ProviderError | None]:
    """Remove our service hooks as far as possible, erase the secrets, and mark it unlinked.

    Returns the hooks that are left over and, where the hooks could not be read or removed,
    why.
    """
    hooks_found, removed, failure = _remove_hooks(integration)
    now = timezone.now()
    with transaction.atomic():
        for hook in hooks_found:
            Subscription.objects.update_or_create(
                integration=integration,
                external_id=hook.external_id,
                defaults={
                    "event_type": hook.event_type,
                    "project_id": hook.project_id,
                    "removed_at": now if hook.external_id in removed else None,
                },
            )
        Credentials.objects.filter(integration=integration).delete()
        integration.webhook_password_digest = ""
        integration.unlinked_at = now
        integration.refresh_at = integration.duplicate_of = None
        integration.problem = integration.problem_cause = integration.problem_fix = ""
        integration.save()
    return list(integration.subscriptions.filter(removed_at=None)), failure


def _remove_hooks(
    integration: Integration,
) -> tuple[list[RemoteSubscription], set[str], ProviderError | None]:
    """Return the hooks that there were, the ids of those removed, and the last failure."""
    removed: set[str] = set()
    failure = None
    try:
        client = integration.client(UNLINKING)
        found = _hooks_of(integration, client.subscriptions())
    except ProviderError as error:
        return _hooks_seen(integration), removed, error
    for hook in found:
        try:
            client.remove_subscription(hook.external_id)
        except ProviderError as error:
            failure = error
            if error.is_transient:  # the others would only wait as long
                break
        else:
            removed.add(hook.external_id)
    return found, removed, failure


def _hooks_seen(integration: Integration) -> list[RemoteSubscription]:
    """Return the hooks that delivered since linking: what is known when nobody can be asked."""
    seen = (
        integration.deliveries.filter(received_at__gte=integration.linked_at)
        .exclude(subscription_id=None)
        .exclude(project_id="")
        .values_list("subscription_id", "event_type", "project_id")
        .distinct()
        .order_by()
    )
    return [RemoteSubscription(str(id_), event, project, "") for id_, event, project in seen]


def _hooks_of(
    integration: Integration, subscriptions: Sequence[RemoteSubscription]
) -> list[RemoteSubscription]:
    """Return those that post to an endpoint of the integration, whoever made them."""
    endpoints = [integration, *integration.joined.all()]
    uuids = [str(one.endpoint_uuid) for one in endpoints]
    return [s for s in subscriptions if any(uuid in s.url.lower() for uuid in uuids)]
