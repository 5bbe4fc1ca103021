"""Notices to admins: when each is given, that it is given once, and how it is mailed."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.smtp import EmailBackend
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.roles import Role
from config.management.commands.background_worker import tidy
from tests.conftest import make_person
from tests.databases import Database, copy_database, worker
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.killing import killed_at
from tests.processes import wait_for
from tests.smtp import CUT, HANG, MailServer, mail_server
from vcs_integrations.connections import linking
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks.notices import notify_of_hooks
from vcs_integrations.models import Integration, MailState, Notice, NoticeKind, NoticeMail
from vcs_integrations.notices import records as notices
from vcs_integrations.notices.mailing import send_next_mail
from vcs_integrations.notices.records import notify, notify_of_token_ends, withdraw
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND, Problem, ProviderError

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
REFUSED = ProviderError(Problem.TOKEN_REFUSED, "Azure DevOps refused the token.", "Enter another.")
DOWN = ProviderError(Problem.UNAVAILABLE, "Azure DevOps is down.", "Wait.")


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def sends_email(settings: Settings) -> None:
    settings.SENDS_EMAIL = True


@pytest.fixture
def ann(alice: User, sends_email: None) -> User:
    """Alice, with an address."""
    alice.email = "alice@example.com"
    alice.save()
    return alice


def ends_in(days: int) -> date:
    return NOW.date() + timedelta(days=days)


def subjects() -> list[str]:
    """Return the subjects of the unfixed notices."""
    return list(Notice.objects.unfixed().order_by("pk").values_list("subject", flat=True))


def send_all() -> int:
    """Send what is due; return how often there was something to do."""
    count = 0
    while send_next_mail():
        count += 1
        assert count < 50
    return count


def notify_once(integration: Integration, key: str = "p") -> None:
    subject = "Hooks of Web can't be made"
    notify(integration, NoticeKind.HOOKS_REFUSED, key, subject, "Grant the right.")


# The end of a token


@pytest.mark.on_postgresql
def test_each_stage_before_the_end_of_a_token_is_announced_once(
    linked: Integration, clock: time_machine.Traveller
) -> None:
    Integration.objects.update(token_expires_on=ends_in(32))
    sent: dict[int, list[str]] = {}
    for day in range(32, -4, -1):
        before = len(subjects())
        for _ in range(3):  # the worker looks every minute
            notify_of_token_ends()
            clock.shift(timedelta(hours=3))
        clock.shift(timedelta(hours=15))
        if new := subjects()[before:]:
            sent[day] = new
    name = "The token of Azure DevOps · fabrikam"
    assert sent == {
        30: [f"{name} ends in 30 days"],
        14: [f"{name} ends in 14 days"],
        7: [f"{name} ends in 7 days"],
        1: [f"{name} ends tomorrow"],
        -1: [f"{name} has ended"],
    }


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("days", "stage"),
    [(31, ""), (29, "30"), (15, "30"), (12, "14"), (8, "14"), (3, "7"), (1, "1"), (0, "1")],
)
def test_of_stages_that_passed_while_no_worker_ran_only_the_last_is_announced(
    linked: Integration, clock: time_machine.Traveller, days: int, stage: str
) -> None:
    Integration.objects.update(token_expires_on=ends_in(days))
    notify_of_token_ends()
    notify_of_token_ends()
    found = Notice.objects.values_list("kind", "key")
    assert list(found) == ([("token_ends", f"{ends_in(days)} {stage}")] if stage else [])


@pytest.mark.on_postgresql
def test_a_token_that_ended_while_no_worker_ran_is_announced_as_ended_only(
    linked: Integration, clock: time_machine.Traveller
) -> None:
    Integration.objects.update(token_expires_on=ends_in(-40))
    notify_of_token_ends()
    [notice] = Notice.objects.all()
    assert notice.subject == "The token of Azure DevOps · fabrikam has ended"
    assert notice.text.startswith("It ended on 2026-11-22. ")


def test_another_date_is_announced_again_and_one_that_comes_back_is_not(
    linked: Integration, clock: time_machine.Traveller
) -> None:
    for days, count in ((5, 1), (6, 2), (5, 2), (200, 2)):
        Integration.objects.update(token_expires_on=ends_in(days))
        notify_of_token_ends()
        assert Notice.objects.count() == count
    assert subjects() == []


@pytest.mark.on_postgresql
def test_no_other_token_is_announced(linked: Integration, clock: time_machine.Traveller) -> None:
    """One without a date, one that is not linked any more, and one of a double link."""
    notify_of_token_ends()
    Integration.objects.update(token_expires_on=ends_in(1), unlinked_at=NOW)
    notify_of_token_ends()
    Integration.objects.update(unlinked_at=None, duplicate_of=linked)
    notify_of_token_ends()
    assert subjects() == []


# Refusals


def test_the_first_refusal_is_reported_and_the_next_only_after_it_worked(
    integration: Integration, emulator: Emulator
) -> None:
    expected = [f"Connecting to {integration} failed"]
    emulator.faults.add("token-expired")
    for _ in range(3):
        refresh(Integration.objects.get(), BACKGROUND)
        assert subjects() == expected
    emulator.faults.clear()
    emulator.faults.add("unavailable", times=9)
    refresh(Integration.objects.get(), BACKGROUND)  # no answer is no good call
    emulator.faults.clear()
    emulator.faults.add("token-invalid-401")
    refresh(Integration.objects.get(), BACKGROUND)
    assert subjects() == expected
    assert Notice.objects.get().text.startswith("The token has expired. ")

    emulator.faults.clear()
    refresh(Integration.objects.get(), BACKGROUND)
    assert subjects() == []
    emulator.faults.add("token-invalid-401")
    refresh(Integration.objects.get(), BACKGROUND)
    assert subjects() == expected


def test_what_fixes_itself_is_not_reported(integration: Integration, emulator: Emulator) -> None:
    emulator.faults.add("unavailable")
    refresh(integration, BACKGROUND)
    assert Integration.objects.get().problem == "unavailable"
    assert subjects() == []


def test_a_refusal_that_a_new_token_overtook_is_not_reported(
    integration: Integration, emulator: Emulator
) -> None:
    old = Integration.objects.get()
    integration.record_success()  # with a new token, while the old one was tried
    emulator.faults.add("token-invalid-401")
    refresh(old, BACKGROUND)
    assert subjects() == []


@pytest.mark.on_postgresql
def test_a_key_that_decrypts_nothing_is_reported_once(
    integration: Integration, settings: Settings
) -> None:
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    for _ in range(2):
        refresh(Integration.objects.get(), BACKGROUND)
    [notice] = Notice.objects.all()
    assert notice.kind == NoticeKind.WRONG_KEY
    assert "FIELD_ENCRYPTION_KEY" in notice.text


def test_replacing_the_token_withdraws_the_refusal(
    integration: Integration, organization: Organization, ann: User
) -> None:
    integration.record_failure(REFUSED)
    notices.notify_of_refusal(integration, REFUSED)
    linking.replace_token(integration, organization.add_token())
    assert subjects() == []
    send_all()
    assert mail.outbox == []


# Each once


@pytest.mark.on_postgresql
def test_a_notice_is_given_once_until_it_is_withdrawn(linked: Integration, ann: User) -> None:
    for key in "ppq":
        notify_once(linked, key)
    assert NoticeMail.objects.count() == 2
    withdraw(linked, NoticeKind.HOOKS_REFUSED, key="p")
    assert [one.key for one in Notice.objects.unfixed()] == ["q"]
    notify_once(linked)
    notify_once(linked)
    assert sorted(one.key for one in Notice.objects.unfixed()) == ["p", "q"]
    withdraw(linked, NoticeKind.HOOKS_REFUSED)
    assert subjects() == []
    assert sorted(Notice.objects.values_list("key", flat=True)) == ["p", "p", "q"]


@pytest.mark.on_postgresql
def test_two_of_a_kind_are_never_unfixed_at_once(linked: Integration) -> None:
    notify_once(linked)
    again = Notice(integration=linked, kind=NoticeKind.HOOKS_REFUSED, key="p")
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        Notice.objects.create(integration=linked, kind="of no kind")
    withdraw(linked, NoticeKind.HOOKS_REFUSED)
    again.save()


@pytest.mark.on_postgresql
def test_notices_of_hooks_cost_the_same_however_much_was_fixed(linked: Integration) -> None:
    def cost() -> int:
        found = Integration.objects.get(pk=linked.pk)
        with CaptureQueriesContext(connection) as queries:
            notify_of_hooks(found)
        return len(queries)

    before = cost()
    for number in range(10):
        notify_once(linked, str(number))
    assert cost() > before
    assert subjects() == []
    assert cost() == before


@pytest.mark.on_postgresql
def test_what_was_fixed_long_ago_is_removed(
    linked: Integration, ann: User, clock: time_machine.Traveller, settings: Settings
) -> None:
    settings.DELIVERY_RETENTION_DAYS = 90
    notify_once(linked, "unfixed")
    notify_once(linked, "fixed")
    withdraw(linked, NoticeKind.HOOKS_REFUSED, key="fixed")
    clock.shift(timedelta(days=89))
    tidy()
    assert Notice.objects.count() == 2
    clock.shift(timedelta(days=2))
    tidy()
    assert [one.key for one in Notice.objects.all()] == ["unfixed"]


def test_after_linking_again_all_can_be_reported_again(
    integration: Integration, organization: Organization
) -> None:
    notify_once(integration)
    unlink(integration)
    address = integration.provider.parse_organization_url(organization.url)
    details = linking.Details("", "", None)
    again, _ = linking.link(integration.provider, address, organization.add_token(), details)
    assert again.pk == integration.pk
    notify_once(again)
    assert subjects() == ["Hooks of Web can't be made"]


# Mails


def test_every_admin_with_an_address_gets_one_mail(linked: Integration, ann: User) -> None:
    root = User.objects.create_superuser("root", "root@example.com")
    both = make_person("both", Role.ADMIN)  # a superuser with the role, and Alice's address
    both.is_superuser, both.email = True, "Alice@Example.com"
    both.save()
    make_person("without-address", Role.ADMIN)
    for name, role, is_active in (("member", Role.MEMBER, True), ("gone", Role.ADMIN, False)):
        person = make_person(name, role)
        person.email, person.is_active = f"{name}@example.com", is_active
        person.save()
    notify_once(linked)
    send_all()
    assert sorted(address for one in mail.outbox for address in one.to) == [
        ann.email,
        root.email,
    ]
    assert send_all() == 0


def test_a_mail_says_what_and_why_and_leads_there(
    linked: Integration, ann: User, settings: Settings
) -> None:
    settings.DEFAULT_FROM_EMAIL = "Stackhook <hooks@example.com>"
    notify_once(linked)
    send_all()
    [sent] = mail.outbox
    assert sent.subject == "Stackhook: Hooks of Web can't be made"
    assert sent.from_email == "Stackhook <hooks@example.com>"
    assert sent.to == ["alice@example.com"]
    assert sent.body == (
        "Hooks of Web can't be made.\n\nGrant the right.\n\n"
        f"https://stackhook.example.com/settings/vcs-providers/{linked.pk}/\n\n"
        "You get this as an admin of Stackhook.\n"
    )


def test_a_name_with_a_line_break_makes_no_header_of_its_own(
    linked: Integration, ann: User
) -> None:
    notify(linked, NoticeKind.PROJECT_SILENT, "p", "Web\r\nBcc: eve@example.com is silent", "Look.")
    send_all()
    [sent] = mail.outbox
    assert sent.subject == "Stackhook: Web Bcc: eve@example.com is silent"


def test_without_a_mail_server_nothing_is_sent_neither_then_nor_later(
    linked: Integration, ann: User, settings: Settings
) -> None:
    settings.SENDS_EMAIL = False
    notify_once(linked)
    settings.SENDS_EMAIL = True  # what it said may be long fixed by then
    notify_once(linked)
    assert send_all() == 0
    assert mail.outbox == []


@pytest.mark.on_postgresql
def test_what_was_fixed_or_concerns_somebody_no_more_is_not_mailed(
    linked: Integration, ann: User, clock: time_machine.Traveller
) -> None:
    Integration.objects.update(token_expires_on=ends_in(14))
    notify_of_token_ends()
    Integration.objects.update(token_expires_on=ends_in(200))
    send_all()
    assert NoticeMail.objects.get().state == MailState.DROPPED

    notify_once(linked, "1")
    User.objects.update(is_active=False)
    send_all()
    User.objects.update(is_active=True)
    notify_once(linked, "2")
    withdraw(linked, NoticeKind.HOOKS_REFUSED, key="2")
    notify_once(linked, "3")
    Integration.objects.update(unlinked_at=NOW)
    send_all()
    assert mail.outbox == []


def test_a_stage_that_another_overtook_is_not_mailed(
    linked: Integration, ann: User, clock: time_machine.Traveller
) -> None:
    Integration.objects.update(token_expires_on=ends_in(14))
    notify_of_token_ends()
    clock.shift(timedelta(days=8))
    notify_of_token_ends()
    send_all()
    assert [one.subject for one in mail.outbox] == [
        "Stackhook: The token of Azure DevOps · fabrikam ends in 6 days"
    ]


def test_a_mail_holds_no_secret(
    integration: Integration, emulator: Emulator, token: str, ann: User, smtp: MailServer
) -> None:
    password = integration.read_webhook_secret().value
    for fault in ("token-invalid-401", "token-expired", "credentials-203", "scope-too-narrow"):
        emulator.faults.clear()
        emulator.faults.add(fault)
        refresh(Integration.objects.get(), BACKGROUND)
        withdraw_after_sending()
    Integration.objects.update(token_expires_on=date(2020, 1, 1))
    notify_of_token_ends()
    send_all()
    assert len(smtp.received) >= 4
    for _, message in smtp.received:
        text = message.as_string()
        assert token not in text and password not in text


def withdraw_after_sending() -> None:
    send_all()
    Notice.objects.all().delete()


# Mails that fail


def test_a_mail_arrives_at_a_real_server_as_it_was_meant(
    linked: Integration, ann: User, smtp: MailServer
) -> None:
    notify_once(linked)
    send_all()
    [(to, message)] = smtp.received
    assert to == ["alice@example.com"]
    assert message["Subject"] == "Stackhook: Hooks of Web can't be made"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@stackhook.example.com>")


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("command", "answer", "problem"),
    [
        ("MAIL", "451 later a-server-secret", "The mail server refused it (451)."),
        ("MAIL", "550 no a-server-secret", "The mail server refused it (550)."),
        ("RCPT", "450 greylisted", "The mail server refused the address (450)."),
        ("DATA", "452 full", "The mail server refused it (452)."),
    ],
)
def test_a_refused_mail_is_sent_later_and_then_once(
    linked: Integration,
    ann: User,
    smtp: MailServer,
    clock: time_machine.Traveller,
    command: str,
    answer: str,
    problem: str,
) -> None:
    smtp.faults = [(command, answer)]
    notify_once(linked)
    assert send_all() == 1
    waiting = NoticeMail.objects.get()
    assert waiting.state == MailState.WAITING
    assert waiting.problem.startswith(problem)
    clock.shift(timedelta(seconds=59))
    assert send_all() == 0
    assert smtp.received == []
    clock.shift(timedelta(seconds=2))
    send_all()
    assert smtp.recipients == ["alice@example.com"]
    assert NoticeMail.objects.get().problem == ""
    clock.shift(timedelta(days=9))
    assert send_all() == 0


def test_the_waits_grow_up_to_an_hour(
    linked: Integration, ann: User, smtp: MailServer, clock: time_machine.Traveller
) -> None:
    notify_once(linked)
    minutes = []
    for _ in range(8):
        smtp.faults = [("DATA", "451 later")]
        send_all()
        due_at = NoticeMail.objects.get().due_at
        assert due_at
        wait = due_at - datetime.now(UTC)
        minutes.append(wait.total_seconds() / 60)
        clock.shift(wait)
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_server_that_is_not_there_is_tried_again(
    linked: Integration, ann: User, smtp: MailServer, settings: Settings
) -> None:
    notify_once(linked)
    settings.EMAIL_PORT = 1
    send_all()
    waiting = NoticeMail.objects.get()
    assert waiting.state == MailState.WAITING
    assert waiting.problem == "The mail server could not be reached (ConnectionRefusedError)."
    settings.EMAIL_PORT = smtp.port
    NoticeMail.objects.update(due_at=timezone.now())
    send_all()
    assert smtp.recipients == ["alice@example.com"]


@pytest.mark.parametrize("fault", ["password", "address"])
def test_what_cant_be_encoded_is_said_on_the_page_and_tried_later(
    linked: Integration,
    ann: User,
    smtp: MailServer,
    clock: time_machine.Traveller,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    if fault == "password":
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "hooks", "pässword"
        smtp.faults = [("EHLO", "250-here\r\n250 AUTH PLAIN")]
    else:
        ann.email = f"alice@{'ä' * 60}.example.com"  # too long, once it is encoded
        ann.save()
    notify_once(linked)
    assert send_all() == 1
    waiting = NoticeMail.objects.get()
    assert (waiting.state, waiting.failures) == (MailState.WAITING, 1)
    assert waiting.due_at == timezone.now() + timedelta(minutes=1)
    assert "It could not be encoded as a mail (" in waiting.problem
    assert "pässword" not in waiting.problem + caplog.text
    assert smtp.received == []


def test_one_address_that_does_not_exist_holds_up_no_other(
    linked: Integration, ann: User, smtp: MailServer
) -> None:
    User.objects.create_superuser("root", "root@example.com")
    smtp.faults = [("RCPT", "550 no such user")]
    notify_once(linked)
    send_all()
    assert smtp.recipients == ["root@example.com"]
    states = {one.address: one.state for one in NoticeMail.objects.all()}
    assert states == {"alice@example.com": "dropped", "root@example.com": "sent"}
    assert send_all() == 0


@pytest.mark.parametrize("fault", [CUT, HANG])
def test_a_mail_that_may_have_arrived_is_not_repeated(
    linked: Integration,
    ann: User,
    smtp: MailServer,
    clock: time_machine.Traveller,
    settings: Settings,
    fault: str,
) -> None:
    settings.EMAIL_TIMEOUT = 0.3
    smtp.faults = [("END", fault)]
    notify_once(linked)
    send_all()
    clock.shift(timedelta(days=1))
    assert send_all() == 0
    assert smtp.recipients == ["alice@example.com"]
    unsure = NoticeMail.objects.get()
    assert unsure.state == MailState.SENDING
    assert "may have arrived" in unsure.problem


@pytest.mark.parametrize("fault", [CUT, HANG])
def test_a_farewell_that_fails_is_no_failure(
    linked: Integration, ann: User, smtp: MailServer, settings: Settings, fault: str
) -> None:
    settings.EMAIL_TIMEOUT = 0.3
    smtp.faults = [("QUIT", fault)]
    notify_once(linked)
    send_all()
    assert NoticeMail.objects.get().state == MailState.SENT


def test_no_log_line_holds_what_the_server_said(
    linked: Integration, ann: User, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.faults = [("MAIL", "451 later a-server-secret")]
    notify_once(linked)
    send_all()
    assert "could not be mailed: The mail server refused it (451)." in caplog.text
    assert "a-server-secret" not in caplog.text
    assert "a-server-secret" not in NoticeMail.objects.get().problem


# Several workers, and killed ones


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)
def test_two_workers_mail_once(linked: Integration, ann: User, smtp: MailServer) -> None:
    for number in range(20):
        notify_once(linked, str(number))
    errors: list[Exception] = []

    def work() -> None:
        try:
            send_all()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert errors == []
    assert len(smtp.received) == 20
    assert len({message["Message-ID"] for _, message in smtp.received}) == 20


@pytest.mark.on_postgresql
def test_a_worker_that_was_too_slow_leaves_the_mail_to_the_other(
    linked: Integration,
    ann: User,
    smtp: MailServer,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reaches the mail server only when its time is over and another has sent the mail."""
    reach = EmailBackend.open

    def reach_late(backend: EmailBackend) -> bool | None:
        monkeypatch.setattr(EmailBackend, "open", reach)
        clock.shift(timedelta(minutes=6))
        assert send_all() == 1
        return reach(backend)

    monkeypatch.setattr(EmailBackend, "open", reach_late)
    notify_once(linked)
    send_all()
    assert smtp.recipients == ["alice@example.com"]
    assert NoticeMail.objects.get().state == MailState.SENT


QUERIES_OF_A_MAIL = 12


@pytest.mark.on_postgresql
def test_a_worker_killed_before_any_of_its_queries_mails_once(
    linked: Integration, ann: User, smtp: MailServer
) -> None:
    for number in range(QUERIES_OF_A_MAIL):
        notify_once(linked, str(number))
        with killed_at(number):
            send_all()
        NoticeMail.objects.update(lease_until=None)  # as if its time had passed
        send_all()
        assert len(smtp.received) == number + 1
    # One was killed when the mail server had taken the mail, and before that was noted.
    states = sorted(NoticeMail.objects.values_list("state", flat=True))
    assert states == ["sending", *["sent"] * (QUERIES_OF_A_MAIL - 1)]


@pytest.mark.django_db(transaction=True)
def test_the_worker_checks_tokens_and_mails(tmp_path: Path, migrated: Path) -> None:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    with mail_server() as server:
        database = Database(url, EMAIL_URL=f"smtp://127.0.0.1:{server.port}")
        database.run(ENDS_TOMORROW)
        with worker(database), worker(database):
            assert wait_for(lambda: len(server.received) == 1)
            assert wait_for(lambda: database.ask(STATES) == [("sent",)])
    [(_, message)] = server.received
    subject = message["Subject"].strip()  # of a line that was folded
    assert subject == "Stackhook: The token of Azure DevOps · fabrikam ends tomorrow"
    assert message["From"] == "Stackhook <stackhook@127.0.0.1>"


STATES = "SELECT state FROM vcs_integrations_noticemail"
ENDS_TOMORROW = """
from datetime import timedelta
from accounts.models import User
from django.utils import timezone
from tests.builders import store_integration
User.objects.create_superuser("root", "root@example.com")
store_integration(token_expires_on=timezone.now().date() + timedelta(days=1))
"""
