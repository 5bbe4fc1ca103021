"""Sending: what a receiver gets, and what becomes of a message that it does not take."""

import base64
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from notifications.models import Channel, ChannelSecret, Event, Kind, Message, MessageState
from notifications.outbox import posting
from notifications.outbox.queue import mail_next, post_next, resend
from stacks.rules.states import State
from tests.builders import make_channel, make_run, make_stack
from tests.serving import serving
from tests.smtp import CUT, MailServer
from tests.tls import NAME_IN_FOLDER, https_to
from vcs_integrations.models import Integration


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted, and answers with `status` and `headers`; None hangs."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status: int | None = 200
        self.headers: dict[str, str] = {}
        self.url = ""


class _Request(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, body))
        if self.server.status is None:
            self.wfile.write(b"HTTP/1.1 200 O")
            self.rfile.read()
            return
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Receiver]:
    settings.NOTIFICATION_NETWORKS = [ip_network("127.0.0.0/8")]
    server = Receiver()
    address = f"http://127.0.0.1:{server.server_port}"
    with serving(server), https_to(address, tmp_path) as https:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(https.certificate))
        server.url = f"{https.url}/hook?key=canary"
        yield server


def message_to(linked: Integration, channel: Channel | None, **changes: object) -> Message:
    stack = make_stack(linked, "Net <work>")
    run = make_run(stack, state=State.FAILED)
    values = {"run": run, "event": Event.FAILED, "channel": channel}
    return Message.objects.create(**values | changes)


def state_of(message: Message) -> tuple[str, str]:
    message.refresh_from_db()
    return message.state, message.problem


def test_a_webhook_gets_a_signed_message_with_names_states_and_a_link(
    linked: Integration, receiver: Receiver
) -> None:
    channel = make_channel(receiver.url)
    message = message_to(linked, channel)
    assert post_next()
    [(path, headers, body)] = receiver.received
    assert path == "/hook?key=canary"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    secret = ChannelSecret.objects.get().signing_secret.removeprefix("whsec_")
    expected = hmac.new(base64.b64decode(secret), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert headers["webhook-id"] == f"msg_{message.pk}"
    assert json.loads(body) == {
        "type": "run.failed",
        "timestamp": message.created_at.isoformat(),
        "data": {
            "text": "Net <work>: Run 1 failed",
            "details": "",
            "stack": {"id": "net-work", "name": "Net <work>", "labels": []},
            "run": {
                "number": 1,
                "kind": "tracked",
                "state": "failed",
                "url": "https://stackhook.example.com/stacks/net-work/runs/1/",
            },
        },
    }
    assert state_of(message) == (MessageState.SENT, "")
    assert not post_next()


def test_slack_gets_escaped_text_and_teams_a_card(linked: Integration, receiver: Receiver) -> None:
    message_to(linked, make_channel(receiver.url, kind=Kind.SLACK))
    teams = make_channel(receiver.url, kind=Kind.TEAMS, name="Teams")
    Message.objects.create(run=Message.objects.get().run, event=Event.FAILED, channel=teams)
    assert post_next()
    assert post_next()
    slack, card = (json.loads(body) for _, _, body in receiver.received)
    link = "https://stackhook.example.com/stacks/net-work/runs/1/"
    assert slack == {"text": f"Net &lt;work&gt;: Run 1 failed <{link}|Open run>"}
    [attachment] = card["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    [text] = attachment["content"]["body"][0]["inlines"]
    assert text["text"] == "Net <work>: Run 1 failed"
    assert attachment["content"]["actions"][0]["url"] == link
    assert "webhook-signature" not in receiver.received[0][1]


@pytest.mark.parametrize(
    ("status", "headers", "problem", "wait"),
    [
        (500, {}, "127.0.0.1 answered HTTP 500.", 30),
        (429, {"Retry-After": "120"}, "127.0.0.1 answered HTTP 429.", 120),
        (429, {"Retry-After": "99999"}, "127.0.0.1 answered HTTP 429.", 3600),
        (302, {"Location": "/"}, "127.0.0.1 redirects (HTTP 302), which is not followed.", 30),
        (None, {}, "127.0.0.1 did not answer in time.", 30),
    ],
)
def test_what_fails_is_retried_later_with_all_that_waits_for_the_channel(
    linked: Integration,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    headers: dict[str, str],
    problem: str,
    wait: int,
) -> None:
    monkeypatch.setattr(posting, "SECONDS_IN_ALL", 1 if status is None else 60)
    receiver.status, receiver.headers = status, headers
    message = message_to(linked, make_channel(receiver.url))
    other = Message.objects.create(run=message.run, event=Event.DRIFT, channel=message.channel)
    before = timezone.now()
    assert post_next()
    assert state_of(message) == (MessageState.WAITING, problem)
    assert (message.failures, message.tries) == (1, 1)
    assert message.due_at
    assert message.due_at >= before + timedelta(seconds=wait)
    other.refresh_from_db()
    assert other.due_at == message.due_at
    assert not post_next()
    assert len(receiver.received) == 1


def test_a_message_is_given_up_after_a_day_and_can_be_resent(
    linked: Integration, receiver: Receiver
) -> None:
    receiver.status = 500
    a_day_ago = timezone.now() - timedelta(hours=24)
    message = message_to(linked, make_channel(receiver.url), queued_at=a_day_ago)
    assert post_next()
    problem = "Given up after 24 hours. 127.0.0.1 answered HTTP 500."
    assert state_of(message) == (MessageState.DROPPED, problem)
    assert not post_next()
    receiver.status = 200
    assert resend(message)
    assert not resend(message)
    assert post_next()
    assert state_of(message) == (MessageState.SENT, "")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"),
        *("[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::]"),
    ],
)
def test_a_private_address_is_not_connected_to(
    linked: Integration, settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", fail)
    message = message_to(linked, make_channel(f"https://{address}/hook"))
    assert post_next()
    assert "is in a private network" in state_of(message)[1]


def test_an_untrusted_certificate_is_refused(
    linked: Integration, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    message = message_to(linked, make_channel(receiver.url))
    assert post_next()
    assert state_of(message)[1] == "The certificate of 127.0.0.1 is not trusted."
    assert receiver.received == []


def test_certificates_to_trust_may_be_in_a_folder(
    linked: Integration, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / NAME_IN_FOLDER).write_bytes(Path(os.environ["REQUESTS_CA_BUNDLE"]).read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))
    message = message_to(linked, make_channel(receiver.url))
    assert post_next()
    assert state_of(message) == (MessageState.SENT, "")


def test_a_channel_that_is_being_posted_to_does_not_hold_another(
    linked: Integration, receiver: Receiver
) -> None:
    held = message_to(linked, make_channel(receiver.url, name="Held"))
    Message.objects.create(run=held.run, event=Event.DRIFT, channel=held.channel)
    Message.objects.filter(pk=held.pk).update(lease_until=timezone.now() + timedelta(minutes=1))
    assert not post_next()
    other = make_channel(receiver.url, name="Other")
    message = Message.objects.create(run=held.run, event=Event.FAILED, channel=other)
    assert post_next()
    assert state_of(message) == (MessageState.SENT, "")


def test_an_address_that_no_key_reads_is_said_and_the_worker_goes_on(linked: Integration) -> None:
    message = message_to(linked, make_channel())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notifications_channelsecret SET address = %s", [b"of another key"])
    assert post_next()
    state, problem = state_of(message)
    assert state == MessageState.WAITING
    assert "Edit the channel and enter it again." in problem


def test_a_run_that_no_longer_waits_is_not_told_of(linked: Integration, receiver: Receiver) -> None:
    message = message_to(linked, make_channel(receiver.url), event=Event.WAITING)
    assert post_next()
    assert state_of(message) == (
        MessageState.DROPPED,
        "The run no longer waits for confirmation.",
    )
    assert receiver.received == []


# E-mail


@pytest.fixture
def ann(bob: User, settings: Settings) -> User:
    """Bob, with an address."""
    settings.SENDS_EMAIL = True
    bob.email = "bob@example.com"
    bob.save()
    return bob


def test_a_person_gets_an_email_with_a_link(linked: Integration, ann: User) -> None:
    message = message_to(linked, None, person=ann)
    assert mail_next()
    [sent] = mail.outbox
    assert sent.to == ["bob@example.com"]
    assert sent.subject == "Stackhook: Net <work>: Run 1 failed"
    assert "https://stackhook.example.com/stacks/net-work/runs/1/" in sent.body
    assert state_of(message) == (MessageState.SENT, "")
    assert not mail_next()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"is_active": False}, "The person is deactivated or has no role."),
        ({"email": ""}, "The person has no e-mail address."),
    ],
)
def test_nothing_is_mailed_to_somebody_deactivated_or_without_an_address(
    linked: Integration, ann: User, change: dict[str, object], problem: str
) -> None:
    message = message_to(linked, None, person=ann)
    User.objects.update(**change)
    assert mail_next()
    assert mail.outbox == []
    assert state_of(message) == (MessageState.DROPPED, problem)


def test_an_email_that_may_have_arrived_is_not_resent(
    linked: Integration, ann: User, smtp: MailServer
) -> None:
    smtp.faults.append(("END", CUT))
    message = message_to(linked, None, person=ann)
    assert mail_next()
    assert state_of(message)[0] == MessageState.SENDING
    assert not mail_next()
    assert len(smtp.received) == 1


def test_an_email_that_the_server_refuses_for_now_is_retried(
    linked: Integration, ann: User, smtp: MailServer
) -> None:
    smtp.faults.append(("MAIL", "451 later"))
    message = message_to(linked, None, person=ann)
    assert mail_next()
    assert state_of(message) == (MessageState.WAITING, "The mail server refused it (451).")
    Message.objects.update(due_at=timezone.now())
    assert mail_next()
    assert state_of(message) == (MessageState.SENT, "")
