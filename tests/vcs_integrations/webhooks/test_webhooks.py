"""The webhook endpoint: one answer for each thing that can come, and never a 500."""

import base64
import contextlib
import hmac
import http.client
import io
import json
import os
import signal
import socket
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.conf import settings as configured
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path as route
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import User
from config import urls as config_urls
from tests.builders import make_run, make_stack, make_state_version
from tests.emulator.samples import sample_event
from tests.endpoint import Endpoint, basic
from tests.vcs_integrations.webhooks.conftest import (
    BY_NAME,
    PUSH,
    Served,
    payload,
    uses_sqlite,
    worker_of,
)
from vcs_integrations.models import Delivery, Integration, WebhookSecret
from vcs_integrations.providers.azure_devops import webhook
from vcs_integrations.providers.base import Outcome
from vcs_integrations.webhooks.password import change_webhook_password

SUPPORTED = ("git_push__", "git_pullrequest_")
LIMIT = configured.WEBHOOK_BODY_LIMIT


def stored() -> Delivery:
    return Delivery.objects.get()


# 200


@pytest.mark.on_postgresql
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_event_is_stored_and_answered(endpoint: Endpoint, name: str) -> None:
    body = payload(name)
    response = endpoint.post(body)
    assert response.status_code == 200
    delivery = stored()
    event = json.loads(body)
    is_supported = name.startswith(SUPPORTED)
    assert delivery.outcome == (Outcome.STORED if is_supported else Outcome.UNKNOWN_EVENT)
    assert bool(delivery.reason) == (not is_supported)
    assert delivery.event_type == event["eventType"]
    assert delivery.subscription_id == event["subscriptionId"]
    assert delivery.notification_id == str(event["notificationId"])
    assert delivery.project_id == event["resourceContainers"]["project"]["id"]
    assert bytes(delivery.body) == body
    assert delivery.integration == endpoint.integration


def test_a_push_names_its_repository(endpoint: Endpoint) -> None:
    endpoint.post(PUSH)
    assert stored().repository_id == json.loads(PUSH)["resource"]["repository"]["id"]
    assert stored().repository_name == "Platform Team/infrastructure"


@pytest.mark.on_postgresql
@pytest.mark.parametrize("event_type", sorted(webhook.EVENTS))
@pytest.mark.parametrize(
    "identity",
    [{}, {"subscriptionId": str(uuid.UUID(int=0)), "notificationId": 1}],
    ids=["as published", "of an unsaved subscription"],
)
def test_the_test_button_is_recognized_and_never_a_duplicate(
    endpoint: Endpoint, event_type: str, identity: dict[str, Any]
) -> None:
    for _ in range(2):
        response = endpoint.post(identity | sample_event(event_type))
        assert (response.status_code, response.content) == (200, b"Test received\n")
    assert [d.outcome for d in Delivery.objects.all()] == [Outcome.TEST, Outcome.TEST]
    assert not Delivery.objects.exclude(subscription_id="", notification_id="").exists()


UNSAVED = {"subscriptionId": str(uuid.UUID(int=0)), "notificationId": 1}
SAVED = {"subscriptionId": "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01", "notificationId": 3}
OF_SAMPLES = {"resourceContainers": sample_event("git.push")["resourceContainers"]}


@pytest.mark.parametrize(
    "event",
    [
        {"eventType": "build.complete", "resource": {"id": 2}} | UNSAVED,
        {"eventType": "workitem.created", "resource": None} | UNSAVED,
        {"eventType": "build.complete", "resource": {"id": 2}} | SAVED | OF_SAMPLES,
        {"eventType": "git.repo.renamed"} | UNSAVED | OF_SAMPLES,
        SAVED
        | sample_event("git.pullrequest.updated")
        | {"eventType": "ms.vss-code.git-pullrequest-comment-event"},
    ],
    ids=lambda event: event["eventType"],
)
def test_the_test_of_an_event_that_nothing_uses_says_so(
    endpoint: Endpoint, admin: Client, event: dict[str, Any]
) -> None:
    response = endpoint.post(event)
    said = "Test received; this event is not used"
    assert (response.status_code, response.content) == (200, f"{said}\n".encode())
    delivery = stored()
    assert (delivery.outcome, delivery.due_at) == (Outcome.TEST, None)
    ledger = admin.get(f"/settings/vcs-providers/{endpoint.integration.pk}/deliveries/")
    page = admin.get(delivery.get_absolute_url()).content.decode()
    assert f'badge-warning">{said}<' in ledger.content.decode()
    assert f'badge-warning">{said}<' in page
    assert "the hook works" not in page
    assert "Stackhook doesn't use this event" in page
    assert "“Code pushed”" in page


def test_the_test_of_a_saved_subscription_keeps_its_id(endpoint: Endpoint) -> None:
    subscription = "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01"
    event = {"subscriptionId": subscription, "notificationId": 3} | sample_event("git.push")
    assert endpoint.post(event).status_code == 200
    assert stored().outcome == Outcome.TEST
    assert stored().subscription_id == subscription


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"eventType": "git.push"', "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"notificationId": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"{}", "eventType"),
        (b'{"eventType": 7}', "eventType"),
        (b'{"eventType": "\\u0000"}', "eventType"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_an_unreadable_body_is_stored_with_a_reason(
    endpoint: Endpoint, body: bytes, reason: str
) -> None:
    assert endpoint.post(body).status_code == 200
    assert stored().outcome == Outcome.UNREADABLE
    assert reason in stored().reason
    assert bytes(stored().body) == body


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    "body",
    [
        b' {"eventType" :\t"git.push"}\r\n',
        b'\xef\xbb\xbf{"eventType": "git.push"}',
        '{"eventType": "git.push", "x": "ä\u2028"}'.encode(),
        '{"eventType": "git.push"}'.encode("utf-16"),
        bytes(range(256)) * 40,
    ],
    ids=["spaces", "byte order mark", "umlaut", "UTF-16", "every byte"],
)
def test_a_body_is_stored_byte_for_byte(endpoint: Endpoint, body: bytes) -> None:
    assert endpoint.post(body).status_code == 200
    assert bytes(stored().body) == body


@pytest.mark.on_postgresql
def test_a_duplicate_is_stored_with_a_reason(real_endpoint: Endpoint) -> None:
    answers = [real_endpoint.post(PUSH) for _ in range(3)]
    assert [(a.status_code, a.content) for a in answers] == [
        (200, b"Stored\n"),
        (200, b"Duplicate\n"),
        (200, b"Duplicate\n"),
    ]
    outcomes = Delivery.objects.order_by("pk").values_list("outcome", "reason")
    number = json.loads(PUSH)["notificationId"]
    again = (Outcome.DUPLICATE, f"Notification {number} was received before")
    assert list(outcomes) == [(Outcome.STORED, ""), again, again]


@pytest.mark.on_postgresql
def test_only_a_repeat_of_the_same_body_is_a_duplicate(real_endpoint: Endpoint) -> None:
    """Numbers are guessed easily: what has a known one and says something else is processed."""
    other = json.loads(PUSH) | {"eventType": "git.surprise"}
    answers = [real_endpoint.post(body).content for body in (other, PUSH, other, PUSH)]
    ignored = b"Ignored: unknown event\n"
    assert answers == [ignored, b"Stored\n", b"Duplicate\n", b"Duplicate\n"]


def test_numbers_are_counted_by_subscription_and_by_integration(real_endpoint: Endpoint) -> None:
    event = json.loads(PUSH)
    real_endpoint.post(event)
    real_endpoint.post(event | {"subscriptionId": str(uuid.uuid4())})
    real_endpoint.post(event | {"notificationId": event["notificationId"] + 1})
    Integration.objects.update(organization_key="dev.azure.com/other")
    Endpoint().post(event)
    assert {d.outcome for d in Delivery.objects.all()} == {Outcome.STORED}
    assert Delivery.objects.count() == 4


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subscriptionId", "not a GUID"),
        ("subscriptionId", None),
        ("subscriptionId", 7),
        ("subscriptionId", ["x"]),
        ("subscriptionId", "8fd4b3a12c7e4d199b601e5f7a3c8d01"),
        ("subscriptionId", "{8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01}"),
        ("notificationId", None),
        ("notificationId", True),
        ("notificationId", -1),
        ("notificationId", "1"),
        ("notificationId", 1.0),
        ("notificationId", 2**63),
        ("notificationId", {}),
    ],
)
def test_an_unusable_identity_is_left_out_and_never_a_duplicate(
    endpoint: Endpoint, field: str, value: Any
) -> None:
    event = json.loads(PUSH) | {field: value}
    for _ in range(2):
        assert endpoint.post(event).status_code == 200
    column = {"subscriptionId": "subscription_id", "notificationId": "notification_id"}[field]
    assert list(Delivery.objects.values_list(column, "outcome")) == [("", Outcome.STORED)] * 2


@pytest.mark.on_postgresql
def test_the_largest_number_there_is_room_for_is_kept(endpoint: Endpoint) -> None:
    endpoint.post(json.loads(PUSH) | {"notificationId": 2**63 - 1})
    assert stored().notification_id == str(2**63 - 1)


# Who may post


@pytest.mark.parametrize("user", ["", "hook", "jörg", "a@b.example", " "])
def test_any_user_name_will_do(endpoint: Endpoint, user: str) -> None:
    assert endpoint.post(authorization=basic(endpoint.password, user)).status_code == 200


@pytest.mark.on_postgresql
@pytest.mark.parametrize("scheme", ["basic", "BASIC"])
def test_the_scheme_in_any_case(endpoint: Endpoint, scheme: str) -> None:
    right = basic(endpoint.password).replace("Basic", scheme)
    assert endpoint.post(authorization=right).status_code == 200


WRONG = {
    "none": None,
    "empty": "",
    "wrong": basic("wrong"),
    "no password": basic(""),
    "one character less": "less",
    "one character more": "more",
    "other case": "case",
    "password as user name": "user",
    "password before a colon": "colon",
    "plain text": "plain",
    "bearer": "bearer",
    "digest": "digest",
    "no scheme": "no scheme",
    "no credentials": "Basic",
    "not base64": "Basic %%%",
    "bad padding": "Basic YQ",
    "no colon": "Basic " + base64.b64encode(b"abc").decode(),
    "not UTF-8": "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    "not ASCII": "Basic ä",
    "NUL": "Basic \0",
    "very long": "Basic " + "A" * 100_000,
    "two": "two",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_or_missing_password_is_refused(endpoint: Endpoint, name: str) -> None:
    password = endpoint.password
    made = {
        "one character less": basic(password[:-1]),
        "one character more": basic(password + "x"),
        "other case": basic(password.swapcase()),
        "password as user name": basic("", password),
        "password before a colon": basic(f"{password}:"),
        "plain text": f"Basic :{password}",
        "bearer": basic(password).replace("Basic", "Bearer"),
        "digest": f'Digest username="x", response="{password}"',
        "no scheme": basic(password).removeprefix("Basic "),
        "two": f"{basic(password)}, {basic(password)}",
    }
    response = endpoint.post(PUSH, authorization=made.get(name, WRONG[name]))
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Basic ")
    assert not Delivery.objects.exists()


def test_the_password_is_compared_in_constant_time(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared by digests of equal length, so that neither text nor length shows in the time."""
    compared: list[tuple[Any, Any]] = []

    def spy(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return original(one, other)

    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert endpoint.post(authorization=basic("short")).status_code == 401
    assert endpoint.post(authorization=basic(endpoint.password)).status_code == 200
    assert [len(one) == len(other) == 64 for one, other in compared] == [True, True]
    assert endpoint.password not in str(compared)


# 404, 405, 410, 413


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/azure-devops/00000000-0000-4000-8000-000000000000/",
        "/webhooks/azure-devops/not-a-uuid/",
        "/webhooks/azure-devops/%00/",
        "/webhooks/azure-devops/%ff%fe/",
        "/webhooks/github/{uuid}/",
        "/webhooks/azure-devops/{uuid}/more/",
        "/webhooks/azure-devops/",
        "/webhooks/",
    ],
)
@pytest.mark.parametrize("has_password", [True, False])
def test_an_unknown_endpoint(endpoint: Endpoint, path: str, has_password: bool) -> None:
    path = path.replace("{uuid}", str(endpoint.integration.endpoint.uuid))
    authorization = basic(endpoint.password) if has_password else None
    assert endpoint.post(PUSH, path=path, authorization=authorization).status_code == 404
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"]
)
def test_other_methods(endpoint: Endpoint, method: str) -> None:
    response = endpoint.client.generic(
        method, endpoint.path, PUSH, headers={"Authorization": basic(endpoint.password)}
    )
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert not Delivery.objects.exists()


def unlink(endpoint: Endpoint) -> None:
    endpoint.integration.unlinked_at = timezone.now()
    endpoint.integration.save()
    endpoint.integration.webhook_secrets.all().delete()


@pytest.mark.parametrize("authorization", ["right", None, basic(""), basic("wrong")])
def test_the_endpoint_of_an_unlinked_organization_is_gone(
    endpoint: Endpoint, authorization: str | None
) -> None:
    unlink(endpoint)
    if authorization == "right":
        authorization = basic(endpoint.password)
    assert endpoint.post(PUSH, authorization=authorization).status_code == 410
    assert not Delivery.objects.exists()


def test_an_integration_without_a_password_lets_nobody_in(endpoint: Endpoint) -> None:
    endpoint.integration.webhook_secrets.all().delete()
    assert endpoint.post(authorization=basic("")).status_code == 401


@pytest.mark.on_postgresql
def test_each_of_three_passwords_is_accepted_until_its_end(endpoint: Endpoint) -> None:
    passwords = [endpoint.password]
    for _ in range(2):
        integration = Integration.objects.get()
        assert change_webhook_password(integration, integration.password_mark)
        passwords.append(Integration.objects.get().read_webhook_secret().value)

    def answers() -> list[int]:
        return [endpoint.post(authorization=basic(one)).status_code for one in passwords]

    assert answers() == [200, 200, 200]
    assert len(set(Delivery.objects.values_list("password_mark", flat=True))) == 3
    second = WebhookSecret.objects.order_by("valid_from")[1]
    second.valid_until = timezone.now() + timedelta(minutes=1)
    second.save()
    assert answers() == [200, 200, 200]
    with time_machine.travel(second.valid_until):
        assert answers() == [200, 401, 200]
    WebhookSecret.objects.all().end()
    assert answers() == [401, 401, 401]


@pytest.mark.on_postgresql
def test_a_password_is_found_by_one_query_and_not_decrypted(
    endpoint: Endpoint, settings: Settings, django_assert_num_queries: Any
) -> None:
    endpoint.integration.add_webhook_password()
    settings.FIELD_ENCRYPTION_KEY = "another key"
    endpoint.post()  # the statements are built once
    with django_assert_num_queries(2):  # the other one stores the delivery
        assert endpoint.post().status_code == 200
    with django_assert_num_queries(1):
        unknown = endpoint.path.replace(str(endpoint.integration.endpoint.uuid), str(uuid.uuid4()))
        assert endpoint.post(path=unknown).status_code == 404


@pytest.mark.on_postgresql
def test_the_endpoint_of_an_integration_that_joined_another_leads_there(
    endpoint: Endpoint,
) -> None:
    Integration.objects.update(organization_key="dev.azure.com/other")
    other = Endpoint()
    unlink(endpoint)
    endpoint.integration.endpoints.update(integration=other.integration)
    response = endpoint.post(PUSH, authorization=basic(other.password))
    assert response.status_code == 200
    assert stored().integration == other.integration


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (2 * LIMIT, 413)])
def test_the_size_limit(endpoint: Endpoint, size: int, status: int) -> None:
    assert endpoint.post(b" " * size).status_code == status
    assert Delivery.objects.count() == (1 if status == 200 else 0)


class Stream(io.BytesIO):
    """A body without a known length, counting what was read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self.count += len(part)
        return part


@pytest.mark.parametrize(("size", "status"), [(3, 200), (LIMIT, 200), (LIMIT + 1, 413)])
def test_a_body_without_a_length(real_endpoint: Endpoint, size: int, status: int) -> None:
    assert chunked(real_endpoint, Stream(b"x" * size)) == status
    if status == 200:
        assert bytes(stored().body) == b"x" * size
    else:
        assert not Delivery.objects.exists()


def test_an_endless_body_is_not_read_to_its_end(real_endpoint: Endpoint) -> None:
    stream = Stream(b"x" * (8 * LIMIT))
    assert chunked(real_endpoint, stream) == 413
    assert stream.count < 5 * LIMIT


def chunked(endpoint: Endpoint, stream: Stream) -> int:
    """Post as a web server hands over a chunked request; return the status."""
    response = WSGIHandler()(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": endpoint.path,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_TRANSFER_ENCODING": "chunked",
            "HTTP_AUTHORIZATION": basic(endpoint.password),
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
        },
        lambda *_: lambda _: None,
    )
    return int(response.status_code)


# 503


@uses_sqlite
def test_a_locked_database_asks_to_send_it_again(
    real_endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 100")
    lock = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    try:
        lock.execute("BEGIN IMMEDIATE")
        response = real_endpoint.post(PUSH)
        assert response.status_code == 503
        assert response["Retry-After"] == "10"
        assert not Delivery.objects.exists()
        lock.execute("ROLLBACK")
        assert real_endpoint.post(PUSH).status_code == 200
    finally:
        lock.close()
        connection.close()
    assert real_endpoint.password not in caplog.text


@uses_sqlite
def test_a_database_that_is_gone_asks_to_send_it_again(real_endpoint: Endpoint) -> None:
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "/nonexistent/stackhook.sqlite3"
    try:
        assert real_endpoint.post(PUSH).status_code == 503
        assert real_endpoint.post(PUSH, authorization=None).status_code == 503
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
    assert real_endpoint.post(PUSH).status_code == 200


@uses_sqlite
def test_a_database_without_its_tables_asks_to_send_it_again(real_endpoint: Endpoint) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE vcs_integrations_delivery RENAME TO elsewhere")
    try:
        assert real_endpoint.post(PUSH).status_code == 503
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO vcs_integrations_delivery")


# Addresses


def test_no_redirect_to_https_and_none_to_the_slash(endpoint: Endpoint) -> None:
    assert configured.SECURE_SSL_REDIRECT  # everything else is redirected
    assert endpoint.client.get("/healthz/x").status_code == 301
    assert endpoint.post(secure=False).status_code == 200
    assert endpoint.post(path=endpoint.path.rstrip("/")).status_code == 200
    assert endpoint.post(authorization=None, path=endpoint.path.rstrip("/")).status_code == 401


def a_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for people")


urlpatterns = [*config_urls.urlpatterns, route("webhooks/page/", a_page)]


@pytest.mark.urls(__name__)
def test_a_page_below_webhooks_would_still_ask_to_sign_in(admin: Client, stranger: Client) -> None:
    assert stranger.get("/webhooks/page/").status_code == 302
    assert admin.get("/webhooks/page/").content == b"for people"


def test_a_webhook_is_answered_without_a_session_and_as_strictly_as_a_page(
    endpoint: Endpoint, stranger: Client
) -> None:
    answer, page = endpoint.post(PUSH), stranger.get("/sign-in/")
    assert "Vary" not in answer  # no cookie was looked for
    for name in ("X-Frame-Options", "X-Content-Type-Options"):
        assert answer[name] == page[name]
    policy, of_pages = (
        set(response["Content-Security-Policy"].split("; ")) for response in (answer, page)
    )
    assert policy < of_pages  # a page allows some things beside what both forbid
    assert "no-store" in answer["Cache-Control"]


def test_a_webhook_to_a_host_that_is_not_ours_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.post(PUSH, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert not Delivery.objects.exists()


@pytest.mark.on_postgresql
def test_an_upper_case_id_is_the_same_endpoint(endpoint: Endpoint) -> None:
    path = f"/webhooks/azure-devops/{str(endpoint.integration.endpoint.uuid).upper()}/"
    assert endpoint.post(path=path).status_code == 200


def test_the_host_of_the_public_url_is_answered(endpoint: Endpoint) -> None:
    assert configured.PUBLIC_URL == "https://stackhook.example.com"
    for host in ("stackhook.example.com", "stackhook.example.com:443", "STACKHOOK.example.com"):
        assert endpoint.post(headers={"Host": host}).status_code == 200
    assert endpoint.post(headers={"Host": "evil.example"}).status_code == 400


# What is kept


def test_headers_are_kept_by_an_allow_list(endpoint: Endpoint) -> None:
    wanted = {
        "User-Agent": "VSServices/19.250 (w3wp.exe)",
        "Request-Id": "|7d2c.1",
        "X-VSS-ActivityId": "8f1d3c52-0000-4444-8888-aaaaaaaaaaaa",
        "X-VSS-SubscriptionId": "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01",
    }
    others = {
        "Cookie": "sessionid=canary",
        "Proxy-Authorization": "Basic canary",
        "X-Forwarded-For": "canary",
        "X-Api-Key": "canary",
        "X-Authorization": "canary",
    }
    endpoint.post(PUSH, headers=wanted | others)
    assert stored().headers == wanted | {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(PUSH)),
    }


@pytest.mark.on_postgresql
def test_odd_headers_are_cut_to_what_a_database_takes(endpoint: Endpoint) -> None:
    endpoint.post(headers={"User-Agent": "ä\0b" + "x" * 100_000, "Request-Id": "\xff"})
    agent = stored().headers["User-Agent"]
    assert agent.startswith("äbx")
    assert len(agent) <= 200


@pytest.mark.on_postgresql
def test_no_secret_of_a_request_reaches_the_database(endpoint: Endpoint) -> None:
    authorization = basic(endpoint.password, "user0canary")
    assert endpoint.post(PUSH, authorization=authorization).status_code == 200
    text = ""
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')  # noqa: S608
            text += str([[bytes(v) if isinstance(v, memoryview) else v for v in r] for r in cursor])
    assert "Platform Team/infrastructure" in text
    for secret in (endpoint.password, authorization.split()[1], "user0canary", "Authorization"):
        assert secret not in text


# Fuzzing

many = hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def is_stored(endpoint: Endpoint, body: bytes) -> None:
    """Post with the right password: whatever it is, it is stored and answered with 200."""
    before = Delivery.objects.count()
    assert endpoint.post(body).status_code == 200
    assert Delivery.objects.count() == before + 1
    delivery = Delivery.objects.latest("pk")
    assert bytes(delivery.body) == body
    assert delivery.outcome in set(Outcome)


@pytest.mark.on_postgresql
@many
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_stored(endpoint: Endpoint, body: bytes) -> None:
    is_stored(endpoint, body)


DEEP, HUGE = "@deep@", "@huge@"
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    -(2**70),
    2**63,
    2**100,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "a\0b\x1b[31m\u202e",
    "x" * 5_000,
    "00000000-0000-0000-0000-000000000000",
    "ａ" * 36,
    "８fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01",
    "9999-12-31T23:59:59.9999999Z",
    [],
    {},
    [[]],
    {"id": {"id": {}}},
    [None] * 50,
    DEEP,
    HUGE,
]
odd_values = st.sampled_from(ODD) | st.text(st.characters(), max_size=10) | st.integers()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within."""
    items: Any = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutate(event: dict[str, Any], path: tuple[Any, ...], odd: Any) -> bytes:
    target: Any = event
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = odd
    text = json.dumps(event)
    text = text.replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000)
    return text.replace(f'"{HUGE}"', "9" * 5_000).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    event = json.loads(payload(draw(st.sampled_from(sorted(BY_NAME)))))
    path = draw(st.sampled_from(list(places(event))))
    return mutate(event, path, draw(odd_values))


@pytest.mark.on_postgresql
@many
@given(mutated())
@example(mutate(json.loads(PUSH), ("subscriptionId",), "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d0\ud800"))
@example(mutate(json.loads(PUSH), ("eventType",), "\ud800"))
@example(mutate(json.loads(PUSH), ("eventType",), "git.push\0"))
@example(mutate(json.loads(PUSH), ("resource", "repository", "name"), "\ud800" * 300))
@example(mutate(json.loads(PUSH), ("resource", "repository"), DEEP))
def test_any_mutation_of_a_real_event_is_stored(real_endpoint: Endpoint, body: bytes) -> None:
    is_stored(real_endpoint, body)


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    "path",
    [
        ("id",),
        ("eventType",),
        ("subscriptionId",),
        ("notificationId",),
        ("resource",),
        ("resource", "repository"),
        ("resource", "repository", "id"),
        ("resource", "repository", "name"),
        ("resource", "repository", "project"),
        ("resource", "repository", "project", "id"),
        ("resource", "repository", "project", "name"),
        ("resourceContainers",),
        ("resourceContainers", "project", "id"),
    ],
    ids=".".join,
)
def test_every_odd_value_of_what_is_read_is_stored(
    real_endpoint: Endpoint, path: tuple[str, ...]
) -> None:
    for odd in ODD:
        is_stored(real_endpoint, mutate(json.loads(PUSH), path, odd))


@many
@given(
    st.text(st.characters(max_codepoint=255), max_size=60)
    | st.binary(max_size=60).map(lambda data: "Basic " + base64.b64encode(data).decode())
    | st.text(max_size=60).map(basic)
)
def test_any_other_authorization_is_refused(endpoint: Endpoint, authorization: str) -> None:
    assert endpoint.post(PUSH, authorization=authorization).status_code == 401


@many
@given(
    st.lists(
        st.sampled_from(["azure-devops", "{uuid}", "..", ".", "%00", "%2F", "%ff", "", "\ud800"])
        | st.text(max_size=10),
        max_size=4,
    ).map("/".join),
    st.booleans(),
)
def test_no_path_below_webhooks_fails(endpoint: Endpoint, path: str, has_password: bool) -> None:
    path = path.replace("{uuid}", str(endpoint.integration.endpoint.uuid))
    environment = {"PATH_INFO": f"/webhooks/{path}".encode("utf-8", "replace").decode("latin-1")}
    authorization = basic(endpoint.password) if has_password else None
    response = endpoint.post(PUSH, path="/", authorization=authorization, **environment)
    assert response.status_code in {200, 401, 404}
    assert "Location" not in response


# Behind the real web server


@uses_sqlite
def test_the_real_web_server_answers_the_same(real_endpoint: Endpoint, served: Served) -> None:
    assert served.ask(real_endpoint)[0] == 200
    assert bytes(stored().body) == PUSH
    assert stored().headers["Content-Length"] == str(len(PUSH))
    assert served.ask(real_endpoint)[0] == 200
    assert Delivery.objects.latest("pk").outcome == Outcome.DUPLICATE
    status, headers = served.ask(real_endpoint, Authorization=basic("wrong"))
    assert (status, headers["Location"]) == (401, None)
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        assert served.ask(real_endpoint, method=method)[0] == 405


@uses_sqlite
def test_the_real_web_server_takes_chunks(real_endpoint: Endpoint, served: Served) -> None:
    parts = [b'{"eventType": ', b'"git.push"', b"}"]
    assert served.ask(real_endpoint, iter(parts))[0] == 200
    assert bytes(stored().body) == b"".join(parts)
    assert stored().outcome == Outcome.STORED
    one_mebibyte = b" " * 2**20
    assert served.ask(real_endpoint, iter([one_mebibyte] * 6))[0] == 413
    assert served.ask(real_endpoint, one_mebibyte * 6)[0] == 413
    assert Delivery.objects.count() == 1


@uses_sqlite
def test_the_real_web_server_waits_for_a_lock_and_gives_up_in_time(
    real_endpoint: Endpoint, served: Served
) -> None:
    lock = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    try:
        lock.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        status, headers = served.ask(real_endpoint)
        assert (status, headers["Retry-After"]) == (503, "10")
        assert time.monotonic() - started < 15  # the sender waits for seconds, not for minutes
    finally:
        lock.close()
    assert served.ask(real_endpoint)[0] == 200


# Slow senders

UNKNOWN = "/webhooks/azure-devops/00000000-0000-0000-0000-000000000001/"
OF_A_FORM = (
    f"Content-Length: 1000\r\nCookie: csrftoken={'x' * 32}\r\n"
    "Referer: https://stackhook.example.com/"
)


def head_of(
    path: str, authorization: str = "Basic d3Jvbmc6", framing: str = "Content-Length: 1000"
) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: stackhook.example.com\r\nX-Forwarded-Proto: https\r\n"
        f"Authorization: {authorization}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    ).encode()


@contextlib.contextmanager
def connections(served: Served, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Connections over which this much was sent, and that stay open."""
    with contextlib.ExitStack() as left_open:
        made = [
            left_open.enter_context(socket.create_connection(("127.0.0.1", served.port), 30))
            for _ in range(count)
        ]
        for one in made:
            one.sendall(sent)
        yield made


def answer_over(link: socket.socket) -> int:
    """Return the status that comes over a connection."""
    response = http.client.HTTPResponse(link)
    response.begin()
    response.read()
    return response.status


def is_closed(link: socket.socket) -> bool:
    """Say whether the server has closed a connection, after an answer or without one."""
    link.setblocking(False)
    try:
        while link.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@uses_sqlite
def test_senders_that_stop_halfway_hold_up_nobody(real_endpoint: Endpoint, served: Served) -> None:
    path, right = real_endpoint.path, basic(real_endpoint.password)
    half = b'{"eventType": '
    stopped = [
        b"",
        b"POST /webh",
        head_of(UNKNOWN)[:-2],
        head_of(UNKNOWN) + half,
        head_of(path) + half,
        head_of(path, right) + half,
        head_of(path, right, "Transfer-Encoding: chunked") + b"e\r\n" + half[:5],
        head_of(path, right, "Content-Length: 3000000") + b" " * 200_000,
        head_of("/sign-in/", framing=OF_A_FORM).replace(b"json", b"x-www-form-urlencoded"),
        # The answer is not read, and the connection not closed.
        b"GET /healthz HTTP/1.0\r\nHost: stackhook.example.com\r\n\r\n",
    ]
    answered = 0
    with contextlib.ExitStack() as left_open:
        links = [
            link
            for sent in stopped
            for link in left_open.enter_context(connections(served, 12, sent))
        ]
        ends_at = time.monotonic() + 90
        while links and time.monotonic() < ends_at:
            assert served.ask(real_endpoint)[0] == 200
            answered += 1
            links = [link for link in links if not is_closed(link)]
            time.sleep(0.2)
        assert not links  # what does not arrive is abandoned
    assert Delivery.objects.filter(body=PUSH).count() == Delivery.objects.count() == answered


@uses_sqlite
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_stranger_is_refused_before_the_body_is_there(
    real_endpoint: Endpoint, served: Served, framing: str
) -> None:
    for path, status in ((UNKNOWN, 404), (real_endpoint.path, 401)):
        with connections(served, 1, head_of(path, framing=framing)) as [link]:
            assert answer_over(link) == status
            assert link.recv(1) == b""  # what comes is not taken for another request


@uses_sqlite
@pytest.mark.parametrize("framing", ["Content-Length: 70000000", "Transfer-Encoding: chunked"])
def test_a_strangers_large_form_is_refused_before_it_is_there(served: Served, framing: str) -> None:
    form = OF_A_FORM.replace("Content-Length: 1000", framing)
    head = head_of("/sign-in/", framing=form)
    head = head.replace(b"application/json", b"multipart/form-data; boundary=x")
    with connections(served, 1, head) as [link]:
        assert answer_over(link) == 413
        assert link.recv(1) == b""


@uses_sqlite
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_comes_in_pieces_is_stored_once(
    real_endpoint: Endpoint, served: Served, is_chunked: bool
) -> None:
    pieces = [PUSH[:10], PUSH[10:900], PUSH[900:]]
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(PUSH)}"
    following = [
        *(b"%x;a=b\r\n%s\r\n" % (len(one), one) if is_chunked else one for one in pieces),
        b"0\r\nX-Trailer: 1\r\n\r\n" if is_chunked else b"",
    ]
    head = head_of(real_endpoint.path, basic(real_endpoint.password), framing)
    with connections(served, 1, head[:40]) as [link]:
        for piece in [head[40:], *following]:
            time.sleep(0.5)  # longer than the view's answer without a body is waited for
            link.sendall(piece)
        assert answer_over(link) == 200
        # The connection goes on with the next request, however it comes.
        one_more = head_of(UNKNOWN, framing="Content-Length: 2") + b"{}"
        link.sendall(one_more + one_more[:50])
        assert answer_over(link) == 404
        link.sendall(one_more[50:])
        assert answer_over(link) == 404
    assert bytes(stored().body) == PUSH


@uses_sqlite
def test_gunicorns_parser_alone_decides_where_a_request_ends(
    real_endpoint: Endpoint, served: Served
) -> None:
    inner = head_of(real_endpoint.path, basic(real_endpoint.password), "Content-Length: 2") + b"{}"
    for framing in (
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 0",
        "Content-Length : 0",
        "Content-Length: +0",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked, identity",
        f"Content-Length: {len(inner) + 1}",
    ):
        with connections(served, 1, head_of(UNKNOWN, framing=framing) + inner) as [link]:
            assert answer_over(link) in {400, 404}, framing
            assert link.recv(1) == b"", framing
    # A chunk of the body that looks like its end, and like a request.
    chunk = b"0\r\n\r\n" + inner
    head = head_of(real_endpoint.path, basic(real_endpoint.password), "Transfer-Encoding: chunked")
    with connections(served, 1, head + b"%x\r\n0\r\n\r\n" % len(chunk)) as [link]:
        time.sleep(0.5)
        link.sendall(inner + b"\r\n0\r\n\r\n")
        assert answer_over(link) == 200
    assert bytes(stored().body) == chunk


@uses_sqlite
def test_headers_without_an_end_are_refused(real_endpoint: Endpoint, served: Served) -> None:
    endless = head_of(UNKNOWN)[:-2] + b"X-Long: x\r\n" * 8000
    with connections(served, 1, endless) as [link]:
        assert answer_over(link) in {400, 431}
    with connections(served, 1, b"GET / HTTP/1.1\n") as [link]:
        assert answer_over(link) == 400


# Slow readers


def head_of_get(path: str, cookie: str = "", keeps: bool = True) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: stackhook.example.com\r\nX-Forwarded-Proto: https\r\n"
        f"Connection: {'keep-alive' if keeps else 'close'}\r\nCookie: {cookie}\r\n\r\n"
    ).encode()


def is_given_up(link: socket.socket) -> bool:
    """Say whether the server has closed a connection, without reading."""
    link.setblocking(False)
    try:
        link.send(b"GET")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


@uses_sqlite
def test_readers_that_stop_halfway_hold_up_nobody(real_endpoint: Endpoint, served: Served) -> None:
    """Each connection asks for more than the kernel holds, several times at once."""
    content = json.dumps({"version": 4, "filler": "x" * 3_000_000}).encode()
    run = make_run(make_stack(real_endpoint.integration, "network"), 1)
    make_state_version(run, 1, content=content)
    admin = Client()
    admin.force_login(User.objects.create_superuser("root"))
    cookie = f"sessionid={admin.cookies['sessionid'].value}"
    path = f"/stacks/{run.stack.slug}/state/versions/1/"
    asked = head_of_get(path, cookie) * 2 + head_of_get(path, cookie, keeps=False)
    with (
        connections(served, 12, asked) as stopped,
        connections(served, 12, asked) as slow,
    ):
        for link in slow:
            assert served.ask(real_endpoint)[0] == 200
            assert link.makefile("rb").read().count(content) == 3
        ends_at = time.monotonic() + 90
        while stopped and time.monotonic() < ends_at:
            assert served.ask(real_endpoint)[0] == 200
            stopped = [link for link in stopped if not is_given_up(link)]
            time.sleep(0.2)
        assert not stopped


@uses_sqlite
@pytest.mark.parametrize("served", ["--worker-connections 6 --keep-alive 60"], indirect=True)
def test_a_connection_that_is_dropped_while_it_sends_is_counted_once(served: Served) -> None:
    healthz = head_of_get("/healthz")
    with connections(served, 5, b"") as links:
        for link in links:
            link.sendall(healthz)
            assert answer_over(link) == 200
        # In one round of its events, the worker then finds a further connection, for which it
        # drops the first one, and something that the first one sent.
        worker = worker_of(served)
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_until_stopped(worker)
            with connections(served, 1, b"") as [sixth]:
                for link in links:
                    link.sendall(healthz[:10])
                os.kill(worker, signal.SIGCONT)
                with connections(served, 1, healthz) as [seventh]:
                    assert answer_over(seventh) == 200
                    assert sum(is_closed(link) for link in [*links, sixth]) >= 2
        finally:
            os.kill(worker, signal.SIGCONT)


def wait_until_stopped(pid: int) -> None:
    ends_at = time.monotonic() + 20
    while time.monotonic() < ends_at:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.01)
    raise AssertionError("the worker did not stop")
