"""Unlinking an organization: its service hooks removed, its secrets erased."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from vcs_integrations.models import Credentials, Integration, Subscription
from vcs_integrations.providers.base import (
    Client,
    Patience,
    ProviderError,
    RemoteSubscription,
)
from vcs_integrations.refreshing import join

# One request of a browser may remove many hooks; it must end before the web server's limit.
UNLINKING = Patience(seconds_per_call=6, seconds_in_all=20, retries=0)
UNLINKED_FIELDS = [
    "webhook_password_digest",
    "unlinked_at",
    "refresh_at",
    "duplicate_of",
    "problem",
]


def hooks(integration: Integration, patience: Patience) -> list[RemoteSubscription]:
    """Return the service hooks that post to this integration. Raises ProviderError."""
    return _hooks_of(integration, integration.client(patience).subscriptions())


def unlink(integration: Integration) -> tuple[list[Subscription], ProviderError | None]:
    """Erase the secrets, mark it unlinked, and remove our service hooks as far as possible.

    What hooks there are is stored before the first is removed, so that a process that ends
    in between leaves a list. Returns the hooks that are left over and, where the hooks could
    not be read or removed, why.
    """
    client: Client | None = None
    failure = None
    try:
        client = integration.client(UNLINKING)
        found = _hooks_of(integration, client.subscriptions())
        are_all = True
    except ProviderError as error:
        failure, found, are_all = error, _hooks_seen(integration), False
    if not _mark_unlinked(integration, found, are_all):
        return [], None  # somebody else did it in this moment
    if client and are_all:
        failure = _remove_hooks(integration, client)
    return list(integration.subscriptions.filter(removed_at=None)), failure


def _mark_unlinked(
    integration: Integration, found: Sequence[RemoteSubscription], are_all: bool
) -> bool:
    """Store the hooks found and unlink; False when the integration is not linked any more."""
    with transaction.atomic():
        linked = Integration.objects.linked().select_for_update().filter(pk=integration.pk)
        if not linked.exists():
            return False
        if are_all:
            integration.subscriptions.all().delete()
        Subscription.objects.bulk_create(
            [
                Subscription(
                    integration=integration,
                    external_id=hook.external_id,
                    event_type=hook.event_type,
                    project_id=hook.project_id,
                )
                for hook in found
            ],
            ignore_conflicts=True,
        )
        Credentials.objects.filter(integration=integration).delete()
        integration.webhook_password_digest = ""
        integration.unlinked_at = timezone.now()
        integration.refresh_at = integration.duplicate_of = None
        integration.problem = ""
        integration.save(update_fields=UNLINKED_FIELDS)
        heir = integration.duplicates.linked().first()
        if heir:  # the same organization is linked a second time: that link goes on as this one
            join(heir, integration)
    return True


def _remove_hooks(integration: Integration, client: Client) -> ProviderError | None:
    """Remove the hooks that are listed; return the last failure."""
    failure = None
    for hook in integration.subscriptions.filter(removed_at=None):
        try:
            client.remove_subscription(hook.external_id)
        except ProviderError as error:
            failure = error
            if error.is_transient:  # the others would only wait as long
                break
        else:
            hook.removed_at = timezone.now()
            hook.save(update_fields=["removed_at"])
    return failure


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
