"""Linking, refreshing, unlinking: one organization is one integration."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.builders import make_integration
from tests.emulator import Emulator
from tests.emulator.model import Organization
from vcs_integrations.connections.linking import AlreadyLinked
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Integration
from vcs_integrations.organizations.queue import refresh_next
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND, Problem, ProviderError


def set_up(admin: Client, url: str, token: str, **more: str) -> Any:
    data = {"organization_url": url, "token": token} | more
    return admin.post("/settings/vcs-providers/azure-devops/set-up/", data, follow=True)


def notifications(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_good_data_links_the_organization_and_says_so_twice(
    admin: Client, organization: Organization, token: str
) -> None:
    response = set_up(admin, organization.url, token)
    assert notifications(response) == [
        "New integration was created",
        "Connecting to Azure DevOps succeeded",
    ]
    integration = Integration.objects.get()
    assert integration.external_id == organization.id
    assert [str(r) for r in integration.repositories.all()] == ["Platform Team/infrastructure"]


OVER = "This date is in the past. Enter the token's expiry date, or leave it empty."


def test_a_token_can_not_have_ended_already(
    admin: Client, organization: Organization, token: str
) -> None:
    today = timezone.now().date()
    yesterday = str(today - timedelta(days=1))
    response = set_up(admin, organization.url, token, token_expires_on=yesterday)
    assert response.context["form"].errors["token_expires_on"] == [OVER]
    assert not Integration.objects.exists()
    set_up(admin, organization.url, token, token_expires_on=str(today))
    assert Integration.objects.get().token_expires_on == today


def test_a_token_that_ended_meanwhile_does_not_hinder_other_changes(
    admin: Client, integration: Integration, token: str
) -> None:
    yesterday = timezone.now().date() - timedelta(days=1)
    Integration.objects.update(token_expires_on=yesterday)
    path = f"/settings/vcs-providers/{integration.pk}/edit/"
    form = {"name": "Ours", "token_expires_on": str(yesterday)}
    assert admin.post(path, form).status_code == 302
    response = admin.post(path, form | {"token_expires_on": str(yesterday - timedelta(days=1))})
    assert response.context["form"].errors["token_expires_on"] == [OVER]


WARN_ME = "Enter the new token's expiry date to be warned"


def test_a_new_token_needs_a_day_of_its_own(
    admin: Client, integration: Integration, token: str
) -> None:
    def replace(new_token: str, day: date | None) -> Any:
        form = {"name": "Ours", "token": new_token, "token_expires_on": str(day or "")}
        return admin.post(f"{integration.get_absolute_url()}edit/", form, follow=True)

    def stored() -> date | None:
        return Integration.objects.get().token_expires_on

    old = stored()
    replace("", old)
    assert old and stored() == old
    replace("a-wrong-token", old)  # the present token stays, and its day with it
    assert stored() == old
    assert WARN_ME in notifications(replace(token, old))  # the form shows it without asking
    assert stored() is None
    assert WARN_ME in notifications(replace(token, None))
    new = old + timedelta(days=90)
    assert WARN_ME not in notifications(replace(token, new))
    assert stored() == new
    yesterday = timezone.now().date() - timedelta(days=1)
    Integration.objects.update(token_expires_on=yesterday)
    assert WARN_ME in notifications(replace(token, yesterday))
    assert stored() is None


def test_the_card_of_an_organization_that_was_never_reached_says_so(
    admin: Client, emulator: Emulator, organization: Organization, token: str
) -> None:
    emulator.faults.add("unavailable")
    page = set_up(admin, organization.url, token).content.decode()
    assert "Its repositories are not known yet." in page
    assert "fabrikam is not connected yet, so its projects are not known yet." in page
    emulator.faults.clear()
    admin.post(f"/settings/vcs-providers/{Integration.objects.get().pk}/test/")
    assert "not known yet" not in admin.get("/settings/vcs-providers/").content.decode()


def test_a_wrong_token_stores_nothing_and_the_field_says_why(
    admin: Client, organization: Organization
) -> None:
    response = set_up(admin, organization.url, "wrong", name="Ours")
    assert notifications(response)[0].startswith("Connecting to Azure DevOps failed: ")
    assert "refused the token" in response.context["form"].errors["token"][0]
    assert response.context["form"]["name"].value() == "Ours"
    assert not Integration.objects.exists()


@pytest.mark.django_db
def test_an_organization_linked_while_azure_devops_is_down_connects_later(
    admin: Client, emulator: Emulator, organization: Organization, token: str
) -> None:
    emulator.faults.add("unavailable")
    response = set_up(admin, organization.url, token)
    created, failed = notifications(response)
    assert created == "New integration was created"
    assert failed.startswith("Connecting to Azure DevOps failed: ")
    assert failed.endswith(", retrying")
    integration = Integration.objects.get()
    assert integration.is_retrying
    emulator.faults.clear()
    assert refresh(integration, BACKGROUND) is None
    integration.refresh_from_db()
    assert not integration.problem
    assert integration.external_id == organization.id


def test_linking_twice_is_refused_with_a_pointer_to_the_link(
    admin: Client, integration: Integration, organization: Organization, token: str
) -> None:
    response = set_up(admin, organization.url.upper().replace("HTTP", "http"), token)
    assert "already linked as “fabrikam”" in response.context["form"].errors["organization_url"][0]


def test_both_addresses_of_one_organization_are_one_organization(
    emulator: Emulator, integration: Integration, organization: Organization, settings: Settings
) -> None:
    """Two host names play Azure DevOps' two URL families: only the id shows it."""
    other = emulator.url.replace("127.0.0.1", "localhost")
    settings.AZURE_DEVOPS_SERVERS = [emulator.url, other]
    token = organization.add_token({"vso.code"})
    with pytest.raises(AlreadyLinked) as refusal:
        make_integration(f"{other}/fabrikam", token)
    assert refusal.value.integration == integration


def test_a_double_linked_while_down_is_marked_once_its_id_is_known(
    emulator: Emulator, integration: Integration, organization: Organization, settings: Settings
) -> None:
    other = emulator.url.replace("127.0.0.1", "localhost")
    settings.AZURE_DEVOPS_SERVERS = [emulator.url, other]
    emulator.faults.add("unavailable")
    double = make_integration(f"{other}/fabrikam", organization.add_token({"vso.code"}))
    emulator.faults.clear()
    refresh(double, BACKGROUND)
    double.refresh_from_db()
    assert double.duplicate_of == integration
    assert double not in Integration.objects.usable()


def test_linking_again_restores_the_endpoint_with_a_new_password(
    integration: Integration, organization: Organization, token: str
) -> None:
    endpoint, password = integration.endpoint_url, integration.read_webhook_secret().value
    unlink(integration)
    again = make_integration(organization.url, token)
    assert again == integration
    assert again.endpoint_url == endpoint
    assert again.read_webhook_secret().value != password


def test_one_linked_while_down_joins_its_unlinked_predecessor(
    emulator: Emulator, integration: Integration, organization: Organization, settings: Settings
) -> None:
    other = emulator.url.replace("127.0.0.1", "localhost")
    settings.AZURE_DEVOPS_SERVERS = [emulator.url, other]
    unlink(integration)
    emulator.faults.add("unavailable")
    later = make_integration(f"{other}/fabrikam", organization.add_token({"vso.code"}))
    emulator.faults.clear()
    password = later.read_webhook_secret().value
    refresh(later, BACKGROUND)
    integration = Integration.objects.get(pk=integration.pk)
    later.refresh_from_db()
    assert integration.is_linked
    assert integration.organization_url == f"{other}/fabrikam"
    assert integration.read_webhook_secret().value == password
    assert not later.is_linked
    assert integration.endpoint_urls == {integration.endpoint_url, later.endpoint_url}
    assert list(Integration.objects.linked()) == [integration]


def test_unlinking_erases_token_and_password(integration: Integration) -> None:
    unlink(integration)
    integration.refresh_from_db()
    assert not integration.webhook_secrets.exists()
    for read in (integration.read_credentials, integration.read_webhook_secret):
        with pytest.raises(ProviderError):
            read()


def test_what_is_due_is_refreshed_once(integration: Integration) -> None:
    Integration.objects.update(due_at="2020-01-01T00:00Z")
    assert refresh_next()
    assert not refresh_next()


def test_a_wrong_key_is_a_sentence_and_not_a_broken_page(
    admin: Client, integration: Integration, settings: Settings
) -> None:
    settings.FIELD_ENCRYPTION_KEY = "a wrong key"
    response = admin.post(f"/settings/vcs-providers/{integration.pk}/test/", follow=True)
    assert response.status_code == 200
    integration.refresh_from_db()
    assert integration.problem == Problem.WRONG_KEY
    response = admin.post(f"/settings/vcs-providers/{integration.pk}/reveal/")
    assert "FIELD_ENCRYPTION_KEY" in response.content.decode()


def test_unlinking_the_first_of_a_doubled_link_lets_the_second_go_on(
    emulator: Emulator, integration: Integration, organization: Organization, settings: Settings
) -> None:
    other = emulator.url.replace("127.0.0.1", "localhost")
    settings.AZURE_DEVOPS_SERVERS = [emulator.url, other]
    emulator.faults.add("unavailable")
    double = make_integration(f"{other}/fabrikam", organization.add_token({"vso.code"}))
    emulator.faults.clear()
    refresh(double, BACKGROUND)
    unlink(integration)
    usable = Integration.objects.usable().get()
    assert usable == integration
    assert usable.organization_url == f"{other}/fabrikam"
    assert refresh(usable, BACKGROUND) is None


def test_a_new_token_brings_the_repositories_at_once(
    admin: Client, emulator: Emulator, organization: Organization, token: str
) -> None:
    emulator.faults.add("unavailable")
    set_up(admin, organization.url, token)
    emulator.faults.clear()
    integration = Integration.objects.get()
    new = {"name": "x", "token": organization.add_token({"vso.code"})}
    admin.post(f"/settings/vcs-providers/{integration.pk}/edit/", new)
    integration.refresh_from_db()
    assert integration.external_id == organization.id
    assert integration.repositories.count() == 1


def test_a_failure_that_began_before_a_success_does_not_hide_it(integration: Integration) -> None:
    stale = Integration.objects.get()
    integration.record_success()
    stale.record_failure(ProviderError(Problem.TOKEN_REFUSED, "Refused.", "Repair it."))
    integration.refresh_from_db()
    assert integration.problem == ""


def test_hooks_are_removed_or_listed_and_a_second_unlinking_changes_nothing(
    emulator: Emulator, integration: Integration, organization: Organization
) -> None:
    project = organization.project("Platform Team")
    assert project
    url = integration.endpoint_url
    organization.add_subscription(project, "git.push", url=url, password="x")
    kept = organization.add_subscription(project, "git.pullrequest.created", url=url, password="x")
    emulator.faults.add("permission-denied", path=kept.id)
    left_over, failure = unlink(integration)
    assert [hook.external_id for hook in left_over] == [kept.id]
    assert failure
    assert [s.id for s in organization.subscriptions] == [kept.id]
    assert unlink(integration) == ([], None)


def test_a_server_that_is_not_listed_any_more_is_not_called(
    emulator: Emulator, integration: Integration, settings: Settings
) -> None:
    settings.AZURE_DEVOPS_SERVERS = []
    before = len(emulator.requests)
    failure = refresh(integration, BACKGROUND)
    assert failure
    assert failure.problem == Problem.NOT_ALLOWED
    assert len(emulator.requests) == before
