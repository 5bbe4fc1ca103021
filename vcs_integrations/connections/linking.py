"""Link an organization, and edit an integration.

One organization is one integration, identified by its address if that is enough, and by the
provider's id once it is known. Linking an unlinked organization again reuses its integration, so
that its endpoint and its stacks come back.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.db import IntegrityError, transaction
from django.utils import timezone

from vcs_integrations.models import Credentials, Integration
from vcs_integrations.organizations import checkup
from vcs_integrations.organizations.refreshing import (
    check_same_organization,
    start_over,
    store_connection,
)
from vcs_integrations.providers.base import (
    INTERACTIVE,
    Finding,
    OrganizationUrl,
    Problem,
    Provider,
    ProviderError,
)
from vcs_integrations.webhooks.password import make_password


class AlreadyLinked(Exception):
    """The organization is linked already, by the integration in `integration`."""

    def __init__(self, integration: Integration) -> None:
        super().__init__(f"{integration} is already linked")
        self.integration = integration


class LacksRights(Exception):
    """A new token lacks rights that the present one has; `findings` lists them."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("the new token lacks rights that the present one has")
        self.findings = findings


@dataclass(frozen=True)
class Details:
    """What an admin enters about an integration besides address and token."""

    name: str
    description: str
    token_expires_on: date | None


def link(
    provider: Provider, address: OrganizationUrl, token: str, details: Details
) -> tuple[Integration, ProviderError | None]:
    """Link an organization, trying the token at once.

    Returns the integration and, if the provider can't be reached right now, the error; the worker
    retries. Raises ProviderError if the address or token is wrong, or AlreadyLinked if the
    organization is linked, and then stores nothing.
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
            integration.succeeded_at, integration.failures = None, 0
            integration.hooks_read_at = None
            integration.token_owner = ""
            _apply(integration, details)
            integration.save()
            integration.notices.all().withdraw()  # from before it was unlinked
            integration.store_credentials(token)
            start_over(integration)
            if failure:
                integration.record_failure(failure)
    except IntegrityError:  # somebody linked it at the same moment
        _refuse_double(provider, organization_key=address.key)
        if organization_id:
            _refuse_double(provider, external_id=organization_id)
        raise
    if connection:
        store_connection(integration, connection)
    integration.repositories.make_due()  # what happened while it was unlinked
    return integration, failure


def describe(integration: Integration, details: Details) -> None:
    """Store what an admin entered about an integration."""
    _apply(integration, details)
    # Only these: the worker may store the integration's health at the same moment.
    integration.save(update_fields=["name", "description", "token_expires_on"])


def replace_token(integration: Integration, token: str, *, anyway: bool = False) -> bool:
    """Try a new token and store it in place of the old one.

    Returns whether the webhook password had to be recreated, because the stored one can't be
    decrypted. Keeps the old token and raises ProviderError if the new one fails, or LacksRights if
    it lacks rights that the old one has, unless it is wanted `anyway`.
    """
    started = time.monotonic()
    client = integration.provider.client(integration.organization_url, token, INTERACTIVE)
    connection = client.connect()
    check_same_organization(integration, connection.organization_id)
    listed = {repository.external_id for repository in connection.repositories}
    findings = checkup.examine(integration, client, listed)
    if not anyway:
        left = INTERACTIVE.rest(started)
        lost = checkup.lost_rights(integration, findings, left)
        if lost:
            raise LacksRights(lost)
    password_is_new = _store_token(integration, token)
    integration.record_token_owner(connection.owner)
    store_connection(integration, connection)
    checkup.keep(integration, findings)
    start_over(integration)
    return password_is_new


def _store_token(integration: Integration, token: str) -> bool:
    """Store a token in place of the old one; say whether the password had to be recreated.

    Raises ProviderError if the integration was unlinked at the same moment.
    """
    with transaction.atomic():
        present = Integration.objects.select_for_update().get(pk=integration.pk)
        try:
            present.read_credentials()
            present.read_webhook_secret()
            password_is_new = False
        except ProviderError as error:
            if error.problem != Problem.WRONG_KEY:
                raise
            present.webhook_secrets.update(value=None)
            make_password(present)
            password_is_new = True
        Credentials(integration=present, token=token).save()
        return password_is_new


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
    before = (
        Integration.objects.select_for_update()
        .not_joined()
        .filter(provider_key=provider.key)
        .exclude(unlinked_at=None)
        .order_by("-unlinked_at")
    )
    same_id = before.filter(external_id=organization_id).first() if organization_id else None
    if same_id:
        return same_id
    same_address = before.filter(organization_key=key)
    if organization_id:  # the address may have passed to another organization meanwhile
        same_address = same_address.filter(external_id="")
    return same_address.first()
