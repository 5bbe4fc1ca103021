"""The banner on every page of admins, the page of notices, and the health that all see."""

import re
from datetime import date, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags
from pytest_django import Settings

from accounts.models import User
from tests.builders import store_integration
from tests.conftest import signed_in
from tests.emulator import Emulator
from vcs_integrations.models import (
    Delivery,
    Integration,
    MailState,
    Notice,
    NoticeKind,
    NoticeMail,
)
from vcs_integrations.notices.records import notify, withdraw
from vcs_integrations.providers.base import Problem, ProviderError

PAGE = "/settings/vcs-providers/azure-devops/set-up/"
REFUSED = ProviderError(Problem.TOKEN_REFUSED, "Azure DevOps refused the token.", "Enter another.")
DOWN = ProviderError(Problem.UNAVAILABLE, "Azure DevOps is down.", "Wait.")


def banner(client: Client, path: str = PAGE) -> list[str]:
    """Return the lines of the banner of a page, without their links' texts."""
    page = client.get(path).content.decode()
    return re.findall(r'<li class="banner-\w+"><div><span>(.*?)</span>', page)


def make_another(number: int) -> Integration:
    return store_integration(f"another-{number}", name=f"Another {number}")


def give_notice(integration: Integration, kind: NoticeKind, key: str = "p") -> None:
    notify(integration, kind, key, f"{key} of {integration.name} is silent", "Look at its hooks.")


# The banner


@pytest.mark.on_postgresql
def test_a_refusal_is_on_every_page_of_admins_until_it_is_fixed(
    admin: Client, member: Client, integration: Integration, emulator: Emulator
) -> None:
    test = f"/settings/vcs-providers/{integration.pk}/test/"
    emulator.faults.add("token-expired")
    admin.post(test)
    for path in (PAGE, "/stacks/", "/settings/people/", "/password/", "/no/such/page/"):
        assert banner(admin, path) == [f"Connecting to {integration} failed"], path
    assert banner(member, "/stacks/") == []
    emulator.faults.clear()
    admin.post(test)
    assert banner(admin) == []


def test_what_fixes_itself_is_not_in_it(admin: Client, linked: Integration) -> None:
    linked.record_failure(DOWN)
    assert banner(admin) == []
    Integration.objects.update(token_expires_on=timezone.now().date())
    assert banner(admin) == ["The token of Azure DevOps · fabrikam ends today"]


def test_the_end_of_a_token_is_in_it_until_there_is_another_date(
    admin: Client, linked: Integration
) -> None:
    today = timezone.now().date()
    for days, shown in (
        (31, []),
        (30, ["The token of Azure DevOps · fabrikam ends in 30 days"]),
        (-1, ["The token of Azure DevOps · fabrikam has ended"]),
    ):
        Integration.objects.update(token_expires_on=today + timedelta(days=days))
        assert banner(admin) == shown
    edit = f"/settings/vcs-providers/{linked.pk}/edit/"
    assert f'<a href="{edit}">Replace the token</a>' in admin.get(PAGE).content.decode()


def test_a_refused_token_that_ended_is_one_line(admin: Client, linked: Integration) -> None:
    Integration.objects.update(token_expires_on=date(2020, 1, 1))
    linked.record_failure(REFUSED)
    assert banner(admin) == ["Connecting to Azure DevOps · fabrikam failed"]


def test_other_notices_are_in_it_until_they_are_withdrawn(
    admin: Client, linked: Integration
) -> None:
    for kind in NoticeKind:
        give_notice(linked, kind, kind)
    kinds = ("tag_moved", "delivery_refuted", "project_silent", "hooks_unwell")
    silent = [f"{kind} of Ours is silent" for kind in kinds]
    assert banner(admin)[:3] == silent[:3]
    withdraw(linked, NoticeKind.PROJECT_SILENT)
    withdraw(linked, NoticeKind.HOOKS_REFUSED)
    assert banner(admin) == [silent[0], silent[1], silent[3]]
    Integration.objects.update(unlinked_at=timezone.now())
    assert banner(admin) == []


@pytest.mark.on_postgresql
def test_it_shows_the_most_urgent_and_how_many_more_there_are(
    admin: Client, linked: Integration
) -> None:
    for number in range(5):
        give_notice(linked, NoticeKind.PROJECT_SILENT, f"P{number}")
    make_another(1).record_failure(REFUSED)
    assert banner(admin) == [
        "Connecting to Azure DevOps · another-1 failed",
        "P4 of Ours is silent",
        "P3 of Ours is silent",
    ]
    assert '<a href="/">3 more on the start page</a>' in admin.get(PAGE).content.decode()
    texts = [one.text for one in admin.get("/").context["notices"]]
    assert len(texts) == 6


def test_the_start_page_has_its_list_in_place_of_it(
    admin: Client, member: Client, linked: Integration
) -> None:
    give_notice(linked, NoticeKind.PROJECT_SILENT)
    assert banner(admin, "/") == []
    for client in (admin, member):
        [notice] = client.get("/").context["notices"]
        assert (notice.text, notice.detail) == ("p of Ours is silent", "Look at its hooks.")
    withdraw(linked, NoticeKind.PROJECT_SILENT)
    assert admin.get("/").context["notices"] == []


@pytest.mark.on_postgresql
def test_many_notices_of_one_organization_hide_no_failure_of_another(
    admin: Client, linked: Integration
) -> None:
    for number in range(60):
        give_notice(linked, NoticeKind.PROJECT_SILENT, f"P{number}")
    make_another(1).record_failure(REFUSED)
    ended = make_another(2)
    Integration.objects.filter(pk=ended.pk).update(token_expires_on=date(2020, 1, 1))
    linked.record_failure(REFUSED)
    assert banner(admin) == [
        "Connecting to Azure DevOps · fabrikam failed",
        "Connecting to Azure DevOps · another-1 failed",
        "The token of Azure DevOps · another-2 has ended",
    ]


@pytest.mark.on_postgresql
def test_many_organizations_with_notices_hide_none_that_fails(admin: Client, alice: User) -> None:
    for number in range(55):
        give_notice(make_another(number), NoticeKind.PROJECT_SILENT)
    make_another(99).record_failure(REFUSED)
    assert banner(admin)[0] == "Connecting to Azure DevOps · another-99 failed"


@pytest.mark.on_postgresql
def test_it_takes_one_query_however_much_there_is_and_none_of_a_member(
    admin: Client, alice: User, bob: User, linked: Integration
) -> None:
    def cost(person: User, path: str) -> int:
        client = signed_in(person)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        return sum("notice" in query["sql"] for query in queries.captured_queries)

    assert cost(alice, "/password/") == 1
    for number in range(5):
        another = make_another(number)
        another.record_failure(REFUSED)
        for key in "abc":
            give_notice(another, NoticeKind.HOOKS_UNWELL, key)
    assert len(banner(admin, "/password/")) == 3
    assert cost(alice, "/password/") == 1
    assert cost(bob, "/password/") == 0


def test_the_test_button_takes_it_away_without_a_new_page(
    admin: Client, integration: Integration
) -> None:
    integration.record_failure(REFUSED)
    path = f"/settings/vcs-providers/{integration.pk}/test/"
    answer = admin.post(path, headers={"HX-Request": "true"}).content.decode()
    assert '<div id="banner" hx-swap-oob="true">' in answer
    assert "banner-error" not in answer


# The page of notices


@pytest.mark.on_postgresql
def test_the_page_of_notices_says_what_was_sent_and_who_was_mailed(
    admin: Client, alice: User, linked: Integration, settings: Settings
) -> None:
    path = f"/settings/vcs-providers/{linked.pk}/notices/"
    before = admin.get(path)
    assert "No notices yet." in before.content.decode()
    settings.SENDS_EMAIL = True
    alice.email = "alice@example.com"
    alice.save()
    User.objects.create_superuser("root", "root@example.com")
    give_notice(linked, NoticeKind.PROJECT_SILENT)
    version = before.context["live_version"]
    part = admin.get(f"{path}?version={version}", headers={"HX-Request": "true"})
    text = strip_tags(part.content.decode())
    assert "p of Ours is silent" in text and "Look at its hooks." in text
    assert "To be e-mailed to 2 admins." in text
    NoticeMail.objects.filter(address="root@example.com").update(state=MailState.SENT)
    late = "The mail server refused it (451)."
    NoticeMail.objects.filter(address="alice@example.com").update(problem=late)
    text = strip_tags(admin.get(path).content.decode())
    assert "E-mailed to 1 admin." in text
    assert f"To be e-mailed to 1 admin. {late}" in text
    assert "fixed just now" not in text
    with time_machine.travel(timezone.now(), tick=False):
        withdraw(linked, NoticeKind.PROJECT_SILENT)
        Notice.objects.update(at=timezone.now())
        text = " ".join(strip_tags(admin.get(path).content.decode()).split())
    assert "p of Ours is silent" in text and "E-mailed to 1 admin." in text
    assert "just now fixed just now" in text


@pytest.mark.parametrize("path", ["/settings/people/", "/settings/vcs-providers/{}/notices/"])
def test_pages_say_why_nothing_is_mailed(
    admin: Client, alice: User, linked: Integration, settings: Settings, path: str
) -> None:
    def obstacle() -> str:
        return str(admin.get(path.format(linked.pk)).context["mail_obstacle"])

    assert "no mail server is set up. The operator names one in EMAIL_URL." in obstacle()
    settings.SENDS_EMAIL = True
    assert "no admin has an address yet" in obstacle()
    alice.email = "alice@example.com"
    alice.save()
    assert obstacle() == ""


# Health


def test_the_start_page_shows_the_health_of_each_organization(
    admin: Client, member: Client, linked: Integration
) -> None:
    today = timezone.now().date()
    Integration.objects.update(token_expires_on=today + timedelta(days=200))
    linked.record_failure(DOWN)
    for client in (admin, member):
        text = health(client)
        assert "Ours Azure DevOps is down." in text
        assert "Retrying" in text
        assert "never" in text and "none yet" in text
        assert f"{today + timedelta(days=200)} in 200 days" in text
    with time_machine.travel(timezone.now(), tick=False):
        Integration.objects.get().record_success()
        Delivery.objects.create(
            integration=linked, outcome="test", body=b"{}", received_at=timezone.now()
        )
        Integration.objects.update(token_expires_on=None)
        assert health(member) == "Ours Connected just now just now not entered"


def health(client: Client) -> str:
    """Return the words of the table of organizations."""
    page = client.get("/").content.decode()
    table = page.split('<table class="health-table">')[1].split("<tbody>")[1].split("</tbody>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", table).split())


@pytest.mark.parametrize(
    ("days", "words"),
    [(200, "in 200 days"), (30, "ends in 30 days"), (0, "ends today"), (-3, "has ended")],
)
def test_the_card_says_how_long_the_token_lasts(
    member: Client, linked: Integration, days: int, words: str
) -> None:
    day = timezone.now().date() + timedelta(days=days)
    Integration.objects.update(token_expires_on=day)
    page = strip_tags(member.get("/settings/vcs-providers/").content.decode())
    assert f"{day} {words}" in " ".join(page.split())
