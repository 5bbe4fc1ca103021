"""Who came in, and what was refused, is in the audit log with the address; no flood fills it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client

from accounts.audit.records import entries, with_pages
from accounts.audit.refusals import prune_refusals
from accounts.models import AuditEntry, User
from tests.builders import make_integration, make_stack
from tests.conftest import PASSWORD, over_https, signed_in
from tests.emulator.model import Organization
from vcs_integrations.models import Integration

LOG = "/settings/audit-log/"
ADDRESS = "203.0.113.9"
TYPED = "a-password-in-the-wrong-field"


def browser(address: str = ADDRESS, **options: Any) -> Client:
    return Client(
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": address},
        REMOTE_ADDR="127.0.0.1",
        **options,
    )


def log() -> list[AuditEntry]:
    return with_pages(list(entries()), User())


def said() -> list[tuple[str | None, ...]]:
    """Return who, from where, did what, to what, oldest first."""
    return [
        (line.person, line.address, line.get_verb_display(), line.thing) for line in reversed(log())
    ]


def sign_in(client: Client, username: str, password: str = PASSWORD) -> int:
    return client.post("/sign-in/", {"username": username, "password": password}).status_code


def send_webhook(integration: Integration, address: str = ADDRESS, **headers: str) -> int:
    path = f"/webhooks/azure-devops/{integration.endpoint.uuid}/"
    sent = browser(address).post(path, b"{}", content_type="application/json", headers=headers)
    return sent.status_code


@pytest.fixture
def endpoint(organization: Organization, token: str, db: None) -> Integration:
    return make_integration(organization.url, token)


def test_signing_in_and_out_is_in_it(bob: User) -> None:
    client = browser()
    sign_in(client, "bob")
    client.post("/sign-out/")
    assert said() == [
        ("bob", ADDRESS, "Signed in", "bob"),
        ("bob", ADDRESS, "Signed out", "bob"),
    ]


def test_wrong_passwords_and_the_lock_are_in_it_but_nothing_that_was_typed(bob: User) -> None:
    for _ in range(7):
        sign_in(browser(), "bob", TYPED)
    sign_in(browser(), TYPED, TYPED)
    assert [(*one, line.count) for one, line in zip(said(), reversed(log()), strict=True)] == [
        ("bob", ADDRESS, "Wrong password", "bob", 5),
        ("bob", ADDRESS, "Too many wrong passwords", "bob", 2),
        ("", ADDRESS, "Wrong password", "POST /sign-in/", 1),
    ]
    assert log()[0].note == "An unknown name"
    assert TYPED not in repr(list(entries().values()))


def test_ones_own_password_is_in_it_with_the_address(bob: User) -> None:
    client = browser()
    client.force_login(bob)
    form = {
        "new_password1": "a-quite-different-phrase",
        "new_password2": "a-quite-different-phrase",
    }
    client.post("/password/", form | {"old_password": "wrong"})
    client.post("/password/", form | {"old_password": PASSWORD})
    assert said() == [
        ("bob", ADDRESS, "Wrong password", "bob"),
        ("bob", ADDRESS, "Changed a person", "bob"),
    ]


def test_a_page_that_was_refused_is_in_it(bob: User, charlie: User, stranger: Client) -> None:
    client = browser()
    client.force_login(bob)
    assert client.get(f"{LOG}?person=alice").status_code == 403
    client.force_login(charlie)
    assert client.get("/").status_code == 403
    forging = browser(enforce_csrf_checks=True)
    assert forging.post("/sign-in/", {"username": "bob", "password": PASSWORD}).status_code == 403
    assert said() == [
        ("bob", ADDRESS, "Access refused", f"GET {LOG}"),
        ("charlie", ADDRESS, "Access refused", "GET /"),
        ("", ADDRESS, "Access refused", "POST /sign-in/"),
    ]


def test_a_webhook_that_was_refused_is_in_it(endpoint: Integration) -> None:
    assert send_webhook(endpoint) == 401
    assert send_webhook(endpoint, Authorization="Basic Ondyb25n") == 401
    assert said() == [("", ADDRESS, "Webhook password refused", str(endpoint))] * 2
    notes = {line.note for line in log()}
    assert notes == {"The webhook password is missing.", "The webhook password is wrong."}
    assert {line.page for line in log()} == {f"/settings/vcs-providers/{endpoint.pk}/"}


def test_a_password_of_a_run_that_was_refused_is_in_it(linked: Integration) -> None:
    stack = make_stack(linked, "Network")
    for slug in (stack.slug, "unknown"):
        assert browser().get(f"/stacks/{slug}/state/").status_code == 401
    assert said() == [
        ("", ADDRESS, "Run password refused", "Network"),
        ("", ADDRESS, "Run password refused", "GET /stacks/unknown/state/"),
    ]


def test_many_refusals_of_a_kind_are_one_entry_for_each_hour(endpoint: Integration) -> None:
    start = datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        for _ in range(60):
            send_webhook(endpoint)
        clock.shift(timedelta(seconds=2))
        send_webhook(endpoint)
        clock.shift(timedelta(hours=1))
        send_webhook(endpoint)
    assert [line.count for line in log()] == [1, 61]
    assert log()[1].until == start + timedelta(seconds=2)


def test_a_flood_from_many_addresses_fills_no_table(endpoint: Integration, alice: User) -> None:
    with time_machine.travel(datetime(2026, 3, 1, 10, 5, tzinfo=UTC), tick=False) as clock:
        for number in range(120):
            send_webhook(endpoint, f"192.0.2.{number}")
            clock.shift(timedelta(seconds=1))
    assert entries().count() == 51
    assert sum(line.count for line in log()) == 120
    assert log()[0].thing == "From further addresses or at further things"
    # It hides nothing else.
    sign_in(browser(), "alice", TYPED)
    assert said()[-1] == ("alice", ADDRESS, "Wrong password", "alice")


def test_refusals_are_kept_for_some_months_and_what_people_did_for_good(
    endpoint: Integration, bob: User
) -> None:
    start = datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        sign_in(browser(), "bob")
        send_webhook(endpoint)
        clock.shift(timedelta(days=89))
        send_webhook(endpoint)
        prune_refusals()
        assert entries().count() == 3
        clock.shift(timedelta(days=2))
        prune_refusals()
    assert [line.get_verb_display() for line in log()] == ["Webhook password refused", "Signed in"]


@pytest.mark.parametrize("statement", ["SELECT", "INSERT"])
def test_a_refusal_that_cant_be_recorded_stays_one(endpoint: Integration, statement: str) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(statement) and "accounts_auditentry" in sql:
            raise OperationalError("the disk is full")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        assert send_webhook(endpoint) == 401


def export(client: Client, query: str = "") -> Any:
    return client.get(f"{LOG}?export=jsonl{query}")


def exported(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_is_exported_as_json_lines(admin: Client, bob: User, endpoint: Integration) -> None:
    sign_in(browser(), "bob")
    send_webhook(endpoint)
    send_webhook(endpoint)
    page = admin.get(LOG).content.decode()
    assert 'href="?export=jsonl"' in page
    assert f"From {ADDRESS}</p>" in page and "2 times" in page
    response = export(admin)
    assert response["Content-Type"] == "application/jsonl"
    assert response["Content-Disposition"].startswith("attachment; ")
    first, second = exported(response.getvalue().decode())
    assert (
        first.items()
        >= {
            "event": "signed_in",
            "person": "bob",
            "address": ADDRESS,
            "thing": "bob",
            "thing_kind": "accounts.user",
            "thing_id": bob.pk,
            "count": 1,
        }.items()
    )
    assert (second["event"], second["person"], second["count"]) == ("webhook_refused", None, 2)
    assert datetime.fromisoformat(second["until"]) >= datetime.fromisoformat(second["at"])

    assert exported(export(admin, "&person=bob").getvalue().decode()) == [first]
    assert 'href="?export=jsonl&amp;person=bob"' in admin.get(f"{LOG}?person=bob").content.decode()


def test_only_admins_export_it(member: Client) -> None:
    assert member.get(f"{LOG}?export=jsonl").status_code == 403
    assert over_https().get(f"{LOG}?export=jsonl").status_code == 302


def test_the_operator_exports_it_on_the_command_line(
    bob: User, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(browser(), "bob")
    signed_in(bob).get(LOG)
    call_command("export_audit_log")
    events = [one["event"] for one in exported(capsys.readouterr().out)]
    assert events == ["signed_in", "access_refused"]
