"""Refresh a linked organization: its health, its id, its repositories.

If an organization was linked while the provider was down, its id is known only now. It may turn out
to be the same as another link, or as an unlinked integration.
"""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Field
from django.utils import timezone

from vcs_integrations.models import Credentials, HookState, Integration, NoticeKind, Repository
from vcs_integrations.notices.records import notify_of_refusal, withdraw
from vcs_integrations.organizations.repositories import (
    store_projects,
    store_repositories,
    store_repository,
)
from vcs_integrations.providers.base import (
    INTERACTIVE,
    CallLimits,
    Connection,
    InvalidOrganizationUrl,
    Problem,
    ProviderError,
)

ADDRESS_FIELDS = ["organization_url", "organization_name", "organization_key"]


def refresh(integration: Integration, limits: CallLimits) -> ProviderError | None:
    """Refresh the organization: its health, its id, its repositories.

    Returns why it failed, if it did.
    """
    try:
        connection = _connect(integration, limits)
        check_same_organization(integration, connection.organization_id)
    except ProviderError as error:
        if integration.record_failure(error):
            notify_of_refusal(integration, error)
        return error
    store_connection(integration, connection)
    return None


def refresh_repository(repository: Repository) -> Repository:
    """Read a repository's names again, by its id, and return it as it is stored then.

    Raises ProviderError if it was deleted or disabled, or can't be read.
    """
    try:
        client = repository.integration.client(INTERACTIVE)
        store_repository(repository, client.repository(repository.external_id))
    except ProviderError as error:
        if error.problem not in {Problem.NOT_FOUND, Problem.ORGANIZATION_UNKNOWN}:
            raise
        # The list also has disabled repositories, and a renamed organization is found by its id.
        if failure := refresh(repository.integration, INTERACTIVE):
            raise failure from error
    stored = Repository.objects.select_related("integration").get(pk=repository.pk)
    _check_is_there(stored)
    return stored


def _check_is_there(repository: Repository) -> None:
    if repository.gone_at:
        raise ProviderError(
            Problem.NOT_FOUND,
            f"The repository {repository} was deleted, or the token may not see it.",
            "Restore it or give the token's owner access, or choose another repository.",
        )
    if repository.is_disabled:
        raise ProviderError(
            Problem.NOT_FOUND,
            f"The repository {repository} is disabled.",
            f"Enable it in {repository.integration.provider.name}, or choose another repository.",
        )


def _connect(integration: Integration, limits: CallLimits) -> Connection:
    """Connect to the organization, under a new name if it was renamed. Raises ProviderError."""
    try:
        return integration.client(limits).connect()
    except ProviderError as error:
        if error.problem != Problem.ORGANIZATION_UNKNOWN or not integration.external_id:
            raise
        connection = _follow_rename(integration, limits)
        if connection is None:
            raise
        return connection


def _follow_rename(integration: Integration, limits: CallLimits) -> Connection | None:
    """Find a renamed organization by its id, and store its address; None if it is not found."""
    provider = integration.provider
    url = integration.client(limits).present_url(integration.external_id)
    try:
        address = provider.parse_organization_url(url)
        token = integration.read_credentials().token
        connection = provider.client(address.url, token, limits).connect()
    except (InvalidOrganizationUrl, ProviderError):
        return None
    if connection.organization_id != integration.external_id:
        return None
    if integration.name == integration.organization_name:  # nobody gave it a name of its own
        integration.name = address.name
    integration.organization_url, integration.organization_name = address.url, address.name
    integration.organization_key = address.key
    try:
        with transaction.atomic():
            integration.save(update_fields=["name", *ADDRESS_FIELDS])
    except IntegrityError:  # that address is linked by another, which keeps it
        return None
    return connection


def store_connection(integration: Integration, connection: Connection) -> None:
    """Store what a successful connection showed."""
    if connection.organization_id and not integration.external_id:
        integration = _learn_id(integration, connection.organization_id)
    if not integration.is_linked:
        return
    was_failing = bool(integration.failures)
    integration.record_success()
    withdraw(integration, NoticeKind.REFUSED, NoticeKind.WRONG_KEY)
    if connection.owner:  # an owner that can't be read now stays
        integration.record_token_owner(connection.owner)
    store_repositories(integration, connection.repositories)
    store_projects(integration)
    if was_failing:  # what happened meanwhile may have been missed
        integration.repositories.make_due()


def check_same_organization(integration: Integration, organization_id: str) -> None:
    """Raise ProviderError when the address has passed to another organization."""
    if organization_id and integration.external_id not in {"", organization_id}:
        raise ProviderError(
            Problem.ORGANIZATION_UNKNOWN,
            f"{integration.organization_url} now leads to another organization than the one "
            f"that was linked.",
            "Unlink it and link the organization under its present address.",
        )


def _learn_id(integration: Integration, organization_id: str) -> Integration:
    """Store the id of an organization linked without it; return what the link is part of now."""
    try:
        with transaction.atomic():
            return _place(integration, organization_id)
    except IntegrityError:  # another link got the same id at the same moment: refresh again later
        return integration


def _place(integration: Integration, organization_id: str) -> Integration:
    """Store an integration's id: on its unlinked predecessor if there is one, or on itself."""
    # Reread: somebody may have unlinked it while the provider was asked.
    integration = Integration.objects.select_for_update().get(pk=integration.pk)
    if not integration.is_linked:
        return integration
    others = Integration.objects.not_joined().filter(
        provider_key=integration.provider_key, external_id=organization_id
    )
    others = others.exclude(pk=integration.pk)
    linked = others.usable().first()
    unlinked = others.exclude(unlinked_at=None).first()
    if unlinked and not linked:
        return join(integration, unlinked)
    Integration.objects.filter(pk=integration.pk).update(
        external_id=organization_id, duplicate_of=linked
    )
    integration.external_id, integration.duplicate_of = organization_id, linked
    return integration


def join(integration: Integration, predecessor: Integration) -> Integration:
    """Let an unlinked predecessor replace the integration that turned out to be the same.

    Its endpoint and its stacks come back; the other's endpoint leads to it from now on.
    """
    integration.unlinked_at = timezone.now()
    integration.due_at = integration.duplicate_of = None
    integration.save()
    for field in [*ADDRESS_FIELDS, "name"]:
        setattr(predecessor, field, getattr(integration, field))
    predecessor.description = integration.description
    predecessor.token_expires_on = integration.token_expires_on
    predecessor.linked_at, predecessor.unlinked_at = integration.linked_at, None
    predecessor.save()
    _move_token(integration, predecessor)
    integration.endpoints.update(integration=predecessor)
    integration.webhook_secrets.update(integration=predecessor)
    integration.deliveries.update(integration=predecessor)
    predecessor.notices.all().withdraw()  # from before it was unlinked
    integration.notices.update(integration=predecessor)
    _move_repositories(integration, predecessor)
    store_projects(predecessor)
    start_over(predecessor)
    return predecessor


def start_over(integration: Integration) -> None:
    """Have hooks checked at once, and clear what was refused to an earlier token or link."""
    integration.projects.start_over()
    integration.subscriptions.filter(state=HookState.UNSEEN).delete()
    Integration.objects.filter(pk=integration.pk).make_hooks_due()


def _move_token(source: Integration, target: Integration) -> None:
    """Store the token again, as it can be decrypted only where it was stored."""
    stored = source.read_credentials()
    Credentials.objects.create(integration=target, token=stored.token)
    stored.delete()


def _move_repositories(source: Integration, target: Integration) -> None:
    """Move repositories, and whatever refers to them, to another integration."""
    kept = {repository.external_id: repository for repository in target.repositories.all()}
    for repository in source.repositories.all():
        twin = kept.get(repository.external_id)
        if twin is None:
            repository.integration = target
            repository.save(update_fields=["integration"])
            continue
        fields = [relation.field for relation in Repository._meta.related_objects]
        left_behind = [one for one in fields if not _move_related(one, repository, twin)]
        # What was read of the one may not have been read of the other.
        Repository.objects.filter(pk=twin.pk).update(due_at=timezone.now(), seen_position=None)
        if not left_behind:
            repository.delete()


def _move_related(field: Field[Any, Any], source: Repository, target: Repository) -> bool:
    """Move what refers to a repository; False if the target has some of it already."""
    moved_all = True
    rows = field.model._base_manager
    for pk in list(rows.filter(**{field.name: source}).values_list("pk", flat=True)):
        try:
            with transaction.atomic():
                rows.filter(pk=pk).update(**{field.name: target})
        except IntegrityError:
            moved_all = False
    return moved_all
