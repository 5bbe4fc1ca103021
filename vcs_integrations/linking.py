"""Linking an organization, looking at it again, and unlinking it.

One organization is one integration: its address tells that where it can, its id where the
provider told it. An unlinked integration is taken up again when its organization is linked
again, so that its endpoint and its stacks come back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from django.db import IntegrityError, transaction
from django.utils import timezone

from vcs_integrations.models import Credentials, Integration, Repository, Subscription, search_key
from vcs_integrations.providers.base import (
    INTERACTIVE,
    OrganizationUrl,
    Patience,
    Problem,
    Provider,
    ProviderError,
    RemoteRepository,
    RemoteSubscription,
)

# One request of a browser may remove many hooks; it must end before the web server's limit.
UNLINKING = Patience(seconds_per_call=6, seconds_in_all=20, retries=0)


class AlreadyLinked(Exception):
    """The organization is linked already, by the integration in `integration`."""

    def __init__(self, integration: Integration) -> None:
        super().__init__(f"{integration} is already linked")
        self.integration = integration


@dataclass(frozen=True)
class Details:
    """What an admin says about an integration besides address and token."""

    name: str
    description: str
    token_expires_on: date | None


def link(
    provider: Provider, address: OrganizationUrl, token: str, details: Details
) -> tuple[Integration, ProviderError | None]:
    """Link an organization, trying the token at once.

    Returns the integration and, where the provider could not be reached right now, why; the
    worker tries again. Raises ProviderError where the data is proved wrong, AlreadyLinked
    where the organization is linked, and then stores nothing.
    """
    _refuse_double(provider, organization_key=address.key)
    try:
        connection = provider.client(address.url, token, INTERACTIVE).connect()
        failure = None
    except ProviderError as error:
        if not error.is_transient:
            raise
        connection, failure = None, error
    organization_id = connection.organization_id if connection else ""
    if organization_id:
        _refuse_double(provider, external_id=organization_id)
    try:
        with transaction.atomic():
            integration = _unlinked(provider, address.key, organization_id) or Integration(
                provider_key=provider.key
            )
            integration.organization_url = address.url
            integration.organization_name = address.name
            integration.organization_key = address.key
            integration.external_id = organization_id or integration.external_id
            integration.linked_at, integration.unlinked_at = timezone.now(), None
            _apply(integration, details)
            integration.save()
            integration.give_credentials(token)
            if failure:
                integration.record_failure(failure)
            else:
                integration.record_success()
    except IntegrityError:  # somebody linked it in this moment
        _refuse_double(provider, organization_key=address.key)
        _refuse_double(provider, external_id=organization_id)
        raise
    if connection:
        store_repositories(integration, connection.repositories)
    return integration, failure


def describe(integration: Integration, details: Details) -> None:
    """Store what an admin says about an integration."""
    _apply(integration, details)
    # Only these: the worker may note the integration's health in this moment.
    integration.save(update_fields=["name", "description", "token_expires_on"])


def refresh(integration: Integration, patience: Patience) -> ProviderError | None:
    """Look at the organization: health, id, repositories, hooks made anew.

    Returns why it failed, if it did.
    """
    try:
        connection = integration.client(patience).connect()
        _check_same_organization(integration, connection.organization_id)
    except ProviderError as error:
        integration.record_failure(error)
        return error
    if connection.organization_id and not integration.external_id:
        integration = _learn_id(integration, connection.organization_id)
    integration.record_success()
    store_repositories(integration, connection.repositories)
    forget_hooks_made_anew(integration)
    return None


def replace_token(integration: Integration, token: str) -> bool:
    """Try a new token and store it in place of the old one.

    Returns whether the webhook password had to be made anew, too, because the stored one
    can't be decrypted. Raises ProviderError, keeping the old token, where the new one fails.
    """
    provider = integration.provider
    connection = provider.client(integration.organization_url, token, INTERACTIVE).connect()
    _check_same_organization(integration, connection.organization_id)
    try:
        credentials = integration.read_credentials()
    except ProviderError:
        integration.give_credentials(token)
        password_is_new = True
    else:
        credentials.token = token
        credentials.save(update_fields=["token"])
        password_is_new = False
    integration.record_success()
    return password_is_new


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


def forget_hooks_made_anew(integration: Integration) -> None:
    """Forget the hooks of before the last unlinking whose events have come since."""
    before = list(integration.subscriptions.all())
    if not before:
        return
    since = integration.deliveries.filter(received_at__gte=integration.linked_at)
    arrived = set(since.values_list("event_type", "project_id").distinct())
    for hook in before:
        if (hook.event_type, hook.project_id) in arrived:
            hook.delete()


def store_repositories(integration: Integration, listed: Iterable[RemoteRepository]) -> None:
    """Bring the stored list of repositories up to date, writing only what changed."""
    stored = {repository.external_id: repository for repository in integration.repositories.all()}
    new, changed = [], []
    seen: set[str] = set()
    for remote in listed:
        if not remote.external_id or remote.external_id in seen:
            continue
        seen.add(remote.external_id)
        values = _columns(remote)
        repository = stored.get(remote.external_id)
        if repository is None:
            new.append(
                Repository(integration=integration, external_id=remote.external_id, **values)
            )
        elif any(getattr(repository, field) != value for field, value in values.items()):
            for field, value in values.items():
                setattr(repository, field, value)
            changed.append(repository)
    # Another process may list the same organization in this moment: its rows stay.
    Repository.objects.bulk_create(new, batch_size=500, ignore_conflicts=True)
    Repository.objects.bulk_update(changed, REPOSITORY_FIELDS, batch_size=200)
    gone = [r.pk for key, r in stored.items() if key not in seen and r.gone_at is None]
    for start in range(0, len(gone), 500):
        Repository.objects.filter(pk__in=gone[start : start + 500]).update(gone_at=timezone.now())


REPOSITORY_FIELDS = [
    "name",
    "project_id",
    "project_name",
    "search_text",
    "default_branch",
    "is_disabled",
    "gone_at",
]


def _columns(remote: RemoteRepository) -> dict[str, object]:
    name, project = remote.name[:255], remote.project_name[:255]
    return {
        "name": name,
        "project_id": remote.project_id[:100],
        "project_name": project,
        "search_text": search_key(f"{project}/{name}")[:1024],
        "default_branch": remote.default_branch[:500],
        "is_disabled": remote.is_disabled,
        "gone_at": None,
    }


def _apply(integration: Integration, details: Details) -> None:
    integration.name = details.name or integration.organization_name
    integration.description = details.description
    integration.token_expires_on = details.token_expires_on


def _refuse_double(provider: Provider, **identity: str) -> None:
    linked = Integration.objects.linked().filter(provider_key=provider.key, **identity).first()
    if linked:
        raise AlreadyLinked(linked)


def _unlinked(provider: Provider, key: str, organization_id: str) -> Integration | None:
    """Return the integration that this organization had before it was unlinked."""
    before = Integration.objects.filter(provider_key=provider.key, joined_to=None).exclude(
        unlinked_at=None
    )
    same_id = before.filter(external_id=organization_id).first() if organization_id else None
    if same_id:
        return same_id
    same_address = before.filter(organization_key=key)
    if organization_id:  # the address may have passed to another organization meanwhile
        same_address = same_address.filter(external_id="")
    return same_address.first()


def _check_same_organization(integration: Integration, organization_id: str) -> None:
    if organization_id and integration.external_id not in {"", organization_id}:
        raise ProviderError(
            Problem.ORGANIZATION_UNKNOWN,
            f"{integration.organization_url} now leads to another organization than the one "
            f"that was linked.",
            "Unlink it and link the organization under its present address.",
        )


def _learn_id(integration: Integration, organization_id: str) -> Integration:
    """Store the id of an organization that was linked without it; return what it is now part of."""
    others = Integration.objects.filter(
        provider_key=integration.provider_key, external_id=organization_id, joined_to=None
    ).exclude(pk=integration.pk)
    with transaction.atomic():
        linked = others.usable().first()
        unlinked = others.exclude(unlinked_at=None).first()
        integration.external_id = organization_id
        if linked:
            integration.duplicate_of = linked
        elif unlinked:
            return _join(integration, unlinked)
        integration.save(update_fields=["external_id", "duplicate_of"])
    return integration


def _join(integration: Integration, predecessor: Integration) -> Integration:
    """Let an unlinked predecessor go on in place of the integration that turned out to be it."""
    integration.unlinked_at = timezone.now()
    integration.joined_to = predecessor
    integration.refresh_at = None
    integration.save()
    for field in ("organization_url", "organization_name", "organization_key", "name"):
        setattr(predecessor, field, getattr(integration, field))
    predecessor.description = integration.description
    predecessor.token_expires_on = integration.token_expires_on
    predecessor.webhook_password_digest = integration.webhook_password_digest
    predecessor.linked_at, predecessor.unlinked_at = integration.linked_at, None
    predecessor.save()
    Credentials.objects.filter(integration=integration).update(integration=predecessor)
    integration.deliveries.update(integration=predecessor)
    integration.reveals.update(integration=predecessor)
    _move_repositories(integration, predecessor)
    return predecessor


def _move_repositories(source: Integration, target: Integration) -> None:
    """Move repositories, and whatever refers to them, to another integration."""
    kept = {repository.external_id: repository for repository in target.repositories.all()}
    for repository in source.repositories.all():
        twin = kept.get(repository.external_id)
        if twin is None:
            repository.integration = target
            repository.save(update_fields=["integration"])
            continue
        for relation in Repository._meta.related_objects:
            manager = relation.related_model._base_manager
            manager.filter(**{relation.field.name: repository}).update(
                **{relation.field.name: twin}
            )
        repository.delete()


def _hooks_of(
    integration: Integration, subscriptions: Sequence[RemoteSubscription]
) -> list[RemoteSubscription]:
    """Return those that post to an endpoint of the integration, whoever made them."""
    endpoints = [integration, *integration.joined.all()]
    uuids = [str(one.endpoint_uuid) for one in endpoints]
    return [s for s in subscriptions if any(uuid in s.url.lower() for uuid in uuids)]
