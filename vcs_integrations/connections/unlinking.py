"""Unlink an organization: remove its service hooks and erase its secrets."""

from concurrent.futures import ThreadPoolExecutor

from django.db import transaction
from django.utils import timezone

from vcs_integrations.hooks.plan import hooks_that_post_to, read_hooks
from vcs_integrations.models import Checkup, Credentials, Integration, Subscription
from vcs_integrations.organizations.refreshing import join
from vcs_integrations.providers.base import (
    CallLimits,
    Client,
    ProviderError,
    RemoteSubscription,
)

# One request of a browser may remove many hooks; it must end before the web server's limit.
UNLINKING = CallLimits(seconds_per_call=6, seconds_in_all=20, retries=0)
# An organization with 50 projects has 200 hooks.
REMOVED_AT_ONCE = 6
UNLINKED_FIELDS = [
    "unlinked_at",
    "due_at",
    "duplicate_of",
    "problem",
]


def hooks(integration: Integration, limits: CallLimits) -> list[RemoteSubscription]:
    """Return the service hooks that post to this integration. Raises ProviderError."""
    found = hooks_that_post_to(integration, integration.client(limits).subscriptions())
    return sorted(found, key=lambda hook: (hook.project_id, hook.event_type))


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
        read_hooks(integration, client)
    except ProviderError as error:
        client, failure = None, error
        _store_hooks_seen(integration)
    if not _mark_unlinked(integration):
        return [], None  # somebody else did it at the same moment
    if client:
        failure = _remove_hooks(integration, client)
    return list(integration.subscriptions.left_over()), failure


def _mark_unlinked(integration: Integration) -> bool:
    """Unlink, and keep the list of hooks; False when the integration is not linked any more."""
    with transaction.atomic():
        linked = Integration.objects.linked().select_for_update().filter(pk=integration.pk)
        if not linked.exists():
            return False
        integration.subscriptions.update(is_of_before=True)
        # From now on this password is an old one.
        unknown = integration.subscriptions.filter(password_mark="")
        unknown.update(password_mark=integration.password_mark)
        Credentials.objects.filter(integration=integration).delete()
        integration.webhook_secrets.all().delete()
        Checkup.objects.filter(integration=integration).delete()
        integration.unlinked_at = timezone.now()
        integration.due_at = integration.duplicate_of = None
        integration.problem = ""
        integration.save(update_fields=UNLINKED_FIELDS)
        heir = integration.duplicates.linked().first()
        if heir:  # the same organization is linked a second time: that link continues as this one
            join(heir, integration)
    return True


def _remove_hooks(integration: Integration, client: Client) -> ProviderError | None:
    """Remove the listed hooks and check that they are gone; return the last failure."""
    failure = None
    hooks = list(integration.subscriptions.left_over())
    with ThreadPoolExecutor(REMOVED_AT_ONCE) as pool:
        ends = pool.map(lambda hook: _remove(client, hook), hooks)
        for hook, error in zip(hooks, ends, strict=True):
            if error:
                failure = error
            else:
                hook.removed_at = timezone.now()
                hook.save(update_fields=["removed_at"])
    try:
        left = [one.external_id for one in client.subscriptions()]
    except ProviderError as error:
        return failure or error
    integration.subscriptions.filter(external_id__in=left).update(removed_at=None)
    # Stackhook recreates its own.
    integration.subscriptions.filter(is_ours=True, removed_at__isnull=False).delete()
    return failure


def _remove(client: Client, hook: Subscription) -> ProviderError | None:
    try:
        client.remove_subscription(hook.external_id)
    except ProviderError as error:
        return error
    return None


def _store_hooks_seen(integration: Integration) -> None:
    """Store the hooks that delivered since linking, for when the provider can't be asked."""
    seen = (
        integration.deliveries.filter(received_at__gte=integration.linked_at)
        .exclude(subscription_id="")
        .exclude(project_id="")
        .values_list("subscription_id", "event_type", "project_id")
        .distinct()
        .order_by()
    )
    Subscription.objects.bulk_create(
        [
            Subscription(
                integration=integration,
                external_id=external_id,
                event_type=integration.provider.hook_for(event_type) or event_type,
                project_id=project_id,
            )
            for external_id, event_type, project_id in seen
        ],
        ignore_conflicts=True,
    )
