"""No secret in an answer, a log line or a database column."""

import base64
import logging
import traceback
import zlib
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest
import requests
import responses
from django.conf import settings as product
from django.contrib.sessions.models import Session
from django.core import signing
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.audit.records import entries
from accounts.models import AuditEntry
from notifications.models import Channel, ChannelSecret, Event, Kind, Message
from notifications.outbox.posting import NotPosted, post
from notifications.outbox.queue import post_next
from stacks.rules.states import State
from tests.addresses import World, clients, make_world, routes
from tests.builders import make_run, make_stack
from tests.conftest import PASSWORD, over_https
from tests.emulator import Emulator
from tests.emulator.model import Organization
from vcs_integrations.connections import linking
from vcs_integrations.models import Credentials, Integration, WebhookSecret
from vcs_integrations.organizations.queue import refresh_next
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import INTERACTIVE, ProviderError

SET_UP = "/settings/vcs-providers/azure-devops/set-up/"
VCS = "/settings/vcs-providers/"
CHANNELS = "/settings/notifications/"


def spellings(secret: str) -> set[str]:
    """Return what a secret looks like in a log, a header, an address or a page."""
    pairs = (f":{secret}", f"azure:{secret}", secret)
    return {secret, quote(secret, safe="")} | {
        base64.b64encode(pair.encode()).decode().rstrip("=") for pair in pairs
    }


def holds(text: str, secrets: Iterable[str]) -> list[str]:
    return [secret for secret in secrets if any(one in text for one in spellings(secret))]


@pytest.fixture
def password(integration: Integration) -> str:
    return str(integration.read_webhook_secret().value)


@pytest.fixture
def world(integration: Integration) -> World:
    return make_world(integration)


@pytest.fixture
def secrets(token: str, password: str) -> list[str]:
    found = [token, password, product.FIELD_ENCRYPTION_KEY, product.SECRET_KEY]
    assert all(len(secret) > 20 for secret in found)
    return found


@pytest.fixture
def of_channel(world: World) -> list[str]:
    """What only its owner knows of the address of a channel, and what signs its messages."""
    secret = ChannelSecret.objects.get(channel=world.message.channel_id)
    return [secret.address.rpartition("/")[2], secret.signing_secret]


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"azure:{password}".encode()).decode()}


def shown(response: Any) -> str:
    """Return body and headers of an answer, as it goes over the wire."""
    cookies = "".join(morsel.OutputString() for morsel in response.cookies.values())
    # An archive is sent in parts, and is no text.
    body = response.getvalue().decode(errors="replace")
    return f"{body}\n{dict(response.items())}\n{cookies}"


# Answers


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "htmx"])
def test_no_page_shows_a_secret_to_any_role(
    world: World, secrets: list[str], of_channel: list[str], headers: dict[str, str]
) -> None:
    for role, client in clients().items():
        for path in world.paths():
            answer = shown(client.get(path, headers=headers))
            assert not holds(answer, [*secrets, *of_channel]), (role, path)


def test_only_the_reveal_answers_with_the_password_and_is_not_kept(
    world: World, secrets: list[str], of_channel: list[str], password: str
) -> None:
    revealed = []
    for role, client in clients().items():
        session = client.cookies.get("sessionid")
        for route in routes():
            if session:  # a sign-out, too, is taken back
                client.cookies["sessionid"] = session.value
            with transaction.atomic():
                response = client.post(world.path(route))
                transaction.set_rollback(True)
            found = holds(shown(response), [*secrets, *of_channel])
            if found:
                assert found == [password]
                assert "no-store" in response["Cache-Control"]
                revealed.append((role, route))
    reveal = "settings/vcs-providers/<int:pk>/reveal/"
    assert revealed == [("admin", reveal), ("superuser", reveal)]


def test_the_reveal_shows_the_password_of_one_card_only(
    admin: Client, world: World, password: str, emulator: Emulator
) -> None:
    other = emulator.add_organization("contoso")
    other.add_project("P").add_repository("r", {"main.tf": "1"})
    address = PROVIDERS["azure_devops"].parse_organization_url(other.url)
    second, _ = linking.link(
        PROVIDERS["azure_devops"], address, other.add_token(), linking.Details("", "", None)
    )
    page = admin.post(f"{VCS}{world.integration.pk}/reveal/").content.decode()
    assert page.count(password) == 1
    assert second.read_webhook_secret().value not in page


def test_a_reveal_that_shows_nothing_is_not_recorded(
    admin: Client, integration: Integration
) -> None:
    WebhookSecret.objects.all().delete()
    admin.post(f"{VCS}{integration.pk}/reveal/")
    assert not entries().exists()


def test_a_token_that_was_typed_is_not_written_into_the_form_again(
    admin: Client, emulator: Emulator
) -> None:
    token = "typed-token-that-nobody-should-see-again"
    for url in (f"{emulator.url}/nowhere", "nonsense", ""):
        response = admin.post(SET_UP, {"organization_url": url, "token": token})
        assert response.status_code == 200
        assert not holds(shown(response), [token])


@pytest.mark.parametrize("why", ["http:", "https://somebody@"])
def test_an_address_that_was_typed_is_not_written_into_the_form_again(
    admin: Client, why: str
) -> None:
    secret = "typed-address-that-nobody-should-see-again"
    form = {"name": "Ops", "kind": "slack", "failed": "on", "address": f"{why}//hooks/{secret}"}
    response = admin.post(f"{CHANNELS}new/", form)
    assert response.status_code == 200
    assert not holds(shown(response), [secret])


# Log lines


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, libraries' debug output included."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if not name.startswith(("faker", "hypothesis")):
            caplog.set_level(logging.DEBUG, name)
    return caplog


def logged(lines: pytest.LogCaptureFixture) -> str:
    """Return all log lines with their tracebacks and whatever else a handler might print."""
    format_line = logging.Formatter("%(name)s %(message)s").format
    # What Django says for debugging alone is never logged: queries, and contexts of templates.
    left_out = {"django.db.backends", "django.template"}
    records = [record for record in lines.records if record.name not in left_out]
    return "\n".join(f"{format_line(record)} {record.__dict__}" for record in records)


def test_no_log_line_holds_a_secret(
    admin: Client, emulator: Emulator, organization: Organization, lines: pytest.LogCaptureFixture
) -> None:
    token = organization.add_token()
    form = {"organization_url": organization.url, "token": token}
    wrong = "wrong-token-that-somebody-typed-by-mistake"
    admin.post(SET_UP, form | {"token": wrong})
    admin.post(SET_UP, form)
    integration = Integration.objects.get()
    password = integration.read_webhook_secret().value
    endpoint = f"/webhooks/azure-devops/{integration.endpoint.uuid}/"
    for fault in ("credentials-302", "token-expired", "server-error", "not-json", "reset", "cut"):
        emulator.faults.add(fault)
        admin.post(f"{VCS}{integration.pk}/test/")
        admin.post(f"{VCS}{integration.pk}/edit/", {"token": wrong})
        emulator.faults.clear()
    admin.post(f"{VCS}{integration.pk}/test/")
    admin.post(f"{VCS}{integration.pk}/reveal/")
    stranger = over_https()
    for given, status in (("wrong-password-of-a-hook-somewhere", 401), (password, 200)):
        response = stranger.post(
            endpoint, b"{}", content_type="application/json", headers=basic(given)
        )
        assert response.status_code == status
    for _ in range(6):
        stranger.post("/sign-in/", {"username": "alice", "password": "typed-wrong-password"})
    text = logged(lines)
    assert "_apis/git/repositories" in text  # urllib3 said what it did
    keys = [product.FIELD_ENCRYPTION_KEY, product.SECRET_KEY]
    typed = [wrong, "wrong-password-of-a-hook-somewhere", "typed-wrong-password"]
    assert holds(text, [token, password, *keys, *typed]) == []


def test_what_a_channel_keeps_secret_is_in_no_log_line_page_url_exception_or_column(
    admin: Client, linked: Integration, settings: Settings, lines: pytest.LogCaptureFixture
) -> None:
    # Put together, as a traceback shows lines of this file.
    path = "-".join(["canary", "in", "the", "address", "of", "a", "channel"])
    address = f"https://127.0.0.1:9/{path}"
    run = make_run(make_stack(linked, "Network"), state=State.FAILED)
    for kind in Kind:
        form = {"name": kind.label, "kind": kind, "address": address, "failed": "on"}
        admin.post(f"{CHANNELS}new/", form)
        channel = Channel.objects.get(kind=kind)
        admin.post(channel.get_absolute_url(), form | {"name": f"{kind.label} 2", "drift": "on"})
        Message.objects.create(run=run, event=Event.FAILED, channel=channel)
    secrets = [path, ChannelSecret.objects.get(channel__kind=Kind.WEBHOOK).signing_secret]
    while post_next():  # the network is private
        pass
    settings.NOTIFICATION_NETWORKS = [ip_network("127.0.0.0/8")]
    Message.objects.update(due_at=timezone.now())
    while post_next():  # nobody listens there
        pass
    assert set(Message.objects.values_list("problem", flat=True)) == {
        "127.0.0.1 could not be reached (ConnectionRefusedError)."
    }
    with pytest.raises(NotPosted) as refusal:
        post(address, b"", {})
    trace = "".join(traceback.format_exception(refusal.value))
    answers = [admin.get(CHANNELS), admin.get(f"{CHANNELS}log/")]
    answers += [admin.get(one.get_absolute_url()) for one in Channel.objects.all()]
    text = "\n".join([logged(lines), trace, database_text(), *map(shown, answers)])
    assert "was not sent" in text
    assert holds(text, secrets) == []


@pytest.mark.parametrize("debug", [False, True])
def test_no_page_and_no_log_line_about_an_exception_holds_a_secret(
    admin: Client,
    integration: Integration,
    settings: Settings,
    secrets: list[str],
    lines: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    debug: bool,
) -> None:
    settings.DEBUG = debug
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    admin.raise_request_exception = False
    # Put together, as an error page shows lines of this file.
    new_token = "-".join(["a", "token", "that", "was", "typed", "into", "the", "form"])

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(AzureDevOpsClient, "connect", fail)
    monkeypatch.setattr(AuditEntry, "save", fail)
    path = f"{VCS}{integration.pk}/"
    address = f"https://hooks.example.com/{new_token}"
    channel = {"name": "Ops", "kind": "webhook", "address": address, "failed": "on"}
    for response in (
        admin.post(f"{path}edit/", {"token": new_token}),
        admin.post(f"{path}test/"),
        admin.post(f"{path}reveal/"),
        admin.post(f"{CHANNELS}new/", channel),
    ):
        assert response.status_code == 500
        assert ("broken on purpose" in response.content.decode()) == debug
        assert not holds(shown(response), [*secrets, new_token])
    assert "broken on purpose" in logged(lines)
    assert not holds(logged(lines), [*secrets, new_token])


# What the provider says

TOKEN = "the-token-that-the-answer-echoes-back-0123456789"
BASIC = base64.b64encode(f":{TOKEN}".encode()).decode()
ECHO = f"TF400813: user {TOKEN} with Basic {BASIC} may not"
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
ECHOES: list[tuple[int, dict[str, str], str]] = [
    (200, HTML, f"<p>{ECHO}</p>"),
    (200, JSON, f'{{"message": "{ECHO}"}}'),
    (200, JSON, f'{{"value": ["{TOKEN}"]}}'),
    (200, JSON, ECHO),
    (203, HTML, f"<p>{ECHO}</p>"),
    (302, {"Location": f"https://evil.example/?token={TOKEN}"}, ""),
    (302, {"Location": f"https://dev.azure.com/_signin?token={TOKEN}"}, ""),
    (400, JSON, f'{{"message": "VS850015: {ECHO}"}}'),
    (401, HTML | {"X-TFS-ServiceError": quote(ECHO)}, ECHO),
    (401, HTML | {"WWW-Authenticate": f'Basic realm="{TOKEN}"'}, ""),
    (403, JSON, f'{{"message": "VS403463: {ECHO}"}}'),
    (403, JSON, f'{{"message": "{ECHO}"}}'),
    (404, JSON, f'{{"message": "TF401019: {ECHO}"}}'),
    (404, HTML, f"<p>{ECHO}</p>"),
    (418, HTML | {TOKEN: TOKEN}, ECHO),
    (429, JSON | {"Retry-After": TOKEN}, f'{{"message": "{ECHO}"}}'),
    (500, JSON, f'{{"message": "{ECHO}"}}'),
    (503, HTML | {"Retry-After": TOKEN}, ECHO),
]


@pytest.mark.parametrize(("status", "headers", "body"), ECHOES)
def test_what_azure_devops_echoes_is_passed_on_to_nobody(
    admin: Client,
    lines: pytest.LogCaptureFixture,
    status: int,
    headers: dict[str, str],
    body: str,
) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as answers:
        kind = headers.get("Content-Type", "text/html")
        more = {name: value for name, value in headers.items() if name != "Content-Type"}
        answers.get(
            "https://dev.azure.com/fabrikam/_apis/git/repositories",
            body=body,
            status=status,
            headers=more,
            content_type=kind,
        )
        answers.get(
            "https://dev.azure.com/fabrikam/_apis/connectionData",
            body=body,
            status=status,
            headers=more,
            content_type=kind,
        )
        form = {"organization_url": "https://dev.azure.com/fabrikam", "token": TOKEN}
        response = admin.post(SET_UP, form, follow=True)
        with pytest.raises(ProviderError) as refusal:
            AzureDevOpsClient("https://dev.azure.com/fabrikam", TOKEN, INTERACTIVE).connect()
    said = [str(message) for message in response.context["messages"]]
    assert any("Connecting to Azure DevOps failed" in text for text in said)
    error = refusal.value
    trace = "".join(traceback.format_exception(error))
    everything = "\n".join(
        [shown(response), *said, logged(lines), trace, repr(error), error.evidence]
    )
    assert holds(everything, [TOKEN, BASIC]) == []


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.InvalidHeader(f"Invalid header value: Basic {BASIC}"),
        requests.exceptions.ConnectionError(f"https://:{TOKEN}@dev.azure.com/ refused"),
        ValueError(f"bad {TOKEN}"),
        UnicodeError(TOKEN),
    ],
)
def test_what_a_library_says_of_a_failed_call_is_passed_on_to_nobody(
    admin: Client, lines: pytest.LogCaptureFixture, error: Exception
) -> None:
    with responses.RequestsMock() as answers:
        answers.get("https://dev.azure.com/fabrikam/_apis/git/repositories", body=error)
        form = {"organization_url": "https://dev.azure.com/fabrikam", "token": TOKEN}
        response = admin.post(SET_UP, form, follow=True)
    assert "Connecting to Azure DevOps failed" in response.content.decode()
    trace = traceback.format_exc()
    assert holds(shown(response) + logged(lines) + trace, [TOKEN, BASIC]) == []
    assert holds(database_text(), [TOKEN, BASIC]) == []


# The database


def database_text() -> str:
    """Return all values of all tables as text, bytes by their bytes, sessions unpacked."""
    values = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            for row in cursor.fetchall():
                values += [f"{table}: {readable(value)}" for value in row]
    values += [f"session: {unpacked(session.session_data)}" for session in Session.objects.all()]
    return "\n".join(values)


def readable(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("latin-1")
    return str(value)


def unpacked(data: str) -> str:
    """Return a session as its JSON text."""
    salt = "django.contrib.sessions.SessionStore"
    payload = signing.TimestampSigner(salt=salt).unsign(data)
    packed = payload.startswith(".")
    text = signing.b64_decode(payload.removeprefix(".").encode())
    return (zlib.decompress(text) if packed else text).decode()


def test_no_column_holds_a_secret_in_plain_text(
    admin: Client,
    emulator: Emulator,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token, wrong = organization.add_token(), "wrong-token-that-somebody-typed-by-mistake"
    form = {"organization_url": organization.url, "token": token}
    admin.post(SET_UP, form | {"token": wrong})
    admin.post(SET_UP, form)
    integration = Integration.objects.get()
    password = integration.read_webhook_secret().value
    admin.post(f"{VCS}{integration.pk}/test/")
    admin.post(f"{VCS}{integration.pk}/reveal/")
    endpoint = f"/webhooks/azure-devops/{integration.endpoint.uuid}/"
    stranger = over_https()
    stranger.post(endpoint, b"{}", content_type="application/json", headers=basic(password))
    stranger.post(f"/sign-in/?next=/&password={PASSWORD}", {"username": "alice", "password": "-"})
    stranger.post("/sign-in/", {"username": "alice", "password": "typed-wrong-password"})
    stranger.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    emulator.faults.add("unavailable")
    admin.post(f"{VCS}{integration.pk}/test/")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Integration, "record_failure", fail)
    Integration.objects.update(due_at=timezone.now())
    assert refresh_next()

    text = f"{database_text()}\n{caplog.text}"
    assert "broken on purpose" in text
    for table in ("axes_accesslog", "django_session", "vcs_integrations_credentials", "session"):
        assert f"\n{table}: " in text, table
    keys = [product.FIELD_ENCRYPTION_KEY, product.SECRET_KEY]
    typed = [wrong, "typed-wrong-password", PASSWORD]
    assert holds(text, [token, password, *keys, *typed]) == []


def test_what_is_encrypted_is_bytes_that_differ_for_the_same_secret(
    integration: Integration, token: str
) -> None:
    def stored() -> bytes:
        with connection.cursor() as cursor:
            cursor.execute("SELECT token FROM vcs_integrations_credentials")
            return bytes(cursor.fetchone()[0])

    first = stored()
    credentials = integration.read_credentials()
    credentials.save()
    assert credentials.token == token
    assert stored() != first


def test_nothing_is_left_of_the_secrets_after_unlinking(
    admin: Client, integration: Integration
) -> None:
    [secret] = integration.valid_secrets
    admin.post(f"{VCS}{integration.pk}/unlink/")
    assert not Credentials.objects.exists()
    assert not WebhookSecret.objects.exists()
    assert secret.digest not in database_text()
