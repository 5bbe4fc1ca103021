"""What strangers send: never an error of ours, never a disk that fills."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from axes.models import AccessAttempt
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.client_address import client_address
from accounts.models import User
from tests.builders import make_integration
from tests.conftest import PASSWORD, over_https
from tests.emulator import Emulator
from tests.emulator.model import Organization
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Integration
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND, Connection


def large_form() -> dict[str, SimpleUploadedFile]:
    return {"file": SimpleUploadedFile("large", b"x" * 5_000_000)}


def test_a_body_in_a_strange_encoding_is_not_understood(stranger: Client, db: None) -> None:
    kind = "application/x-www-form-urlencoded; charset=utf-7"
    response = stranger.post("/sign-in/", b"username=a", content_type=kind)
    assert response.status_code == 400
    assert "not understood" in response.content.decode()


def test_a_broken_referer_leads_to_sign_in(stranger: Client, db: None) -> None:
    response = stranger.post("/stacks/new/", headers={"Referer": "http://["})
    assert response.status_code == 302
    assert response["Location"] == "/sign-in/?next=/"


def test_who_sent_a_form_after_their_session_ended_is_led_back_to_its_page(
    stranger: Client, db: None
) -> None:
    page = "/settings/vcs-providers/"
    headers = {"Host": "testserver", "Referer": f"https://testserver{page}"}
    response = stranger.post("/settings/vcs-providers/1/test/", headers=headers)
    assert response["Location"] == f"/sign-in/?next={page}"


def test_a_way_back_to_sign_in_itself_leads_home(admin: Client) -> None:
    response = admin.get("/sign-in/?next=/sign-in/")
    assert response.status_code == 302
    assert response["Location"] == "/"


def test_a_name_longer_than_any_is_refused_and_not_noted(stranger: Client, db: None) -> None:
    response = stranger.post("/sign-in/", {"username": "u" * 100_000, "password": "x"})
    assert response.status_code == 200
    assert not AccessAttempt.objects.exists()


def test_an_uploaded_file_is_not_kept(
    stranger: Client, db: None, tmp_path: Path, settings: Settings
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    file = SimpleUploadedFile("big", b"x" * 100_000)
    with patch("tempfile.NamedTemporaryFile", side_effect=AssertionError("a file was made")):
        response = stranger.post("/sign-in/", {"username": "a", "password": "b", "file": file})
    assert response.status_code == 200


@pytest.mark.parametrize("cookie", ["", "sessionid=0123456789abcdefghijklmnopqrstuv"])
@pytest.mark.parametrize("path", ["/sign-in/", "/healthz", "/stacks/new/"])
def test_a_large_form_of_a_stranger_is_refused(
    stranger: Client, db: None, path: str, cookie: str
) -> None:
    response = stranger.post(path, large_form(), headers={"Cookie": cookie})
    assert response.status_code == 413
    assert "at most 4 MB" in response.content.decode()


def test_a_form_may_be_large_once_somebody_signed_in(admin: Client, member: Client) -> None:
    for client in (admin, member):
        assert client.post("/password/", large_form()).status_code == 200


def test_a_cookie_with_nul_is_no_cookie(stranger: Client, db: None) -> None:
    response = stranger.get("/", headers={"Cookie": r'sessionid="abc\000defghij"'})
    assert response.status_code == 302


def test_a_busy_database_is_said(admin: Client) -> None:
    with patch("core.http.render", side_effect=OperationalError("database is locked")):
        response = admin.get("/")
    assert response.status_code == 503
    assert "database is busy" in response.content.decode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/sign-in/", "/stacks/new/", "/nowhere/"])
def test_so_is_one_that_is_away_before_a_view_is_reached(
    alice: User, path: str, method: str
) -> None:
    def fail(*args: object) -> None:
        raise OperationalError("the database is away")

    client = over_https(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(alice)
    with connection.execute_wrapper(fail):
        response = client.generic(method, path)
    assert response.status_code == 503
    assert "database is busy" in response.content.decode()


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "spoofed, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1,203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "203.0.113.7:5555", "203.0.113.7"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "[2001:db8::1]:5555", "2001:db8::1"),
        ("127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "fe80::1%eth0", "fe80::1"),
        ("127.0.0.1", "not-an-address", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("::1", "203.0.113.7", "203.0.113.7"),
        ("", "203.0.113.7", "203.0.113.7"),
        # Nobody vouches for these.
        ("192.0.2.9", "203.0.113.7", "192.0.2.9"),
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
        ("127.0.0.1", "203.0.113.7, 127.0.0.1", "127.0.0.1"),
        ("::ffff:192.0.2.9", "203.0.113.7", "192.0.2.9"),
        # 10.0.0.0/8 is listed.
        ("10.0.0.5", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.5", "198.51.100.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.0.0.5", "spoofed, 10.9.9.9", "10.9.9.9"),
        ("127.0.0.1", "203.0.113.7, 10.9.9.9", "203.0.113.7"),
    ],
)
def test_a_trusted_proxy_says_where_a_visitor_comes_from(
    peer: str, header: str, address: str, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    headers = {"X-Forwarded-For": header} if header else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    assert client_address(request) == address


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_where_no_proxy_is_in_front_nobody_on_this_machine_chooses_an_address(
    peer: str, settings: Settings
) -> None:
    """A run may reach a public address that is a loopback one, and would be a visitor like any."""
    settings.HAS_LOCAL_PROXY = False
    headers = {"X-Forwarded-For": "203.0.113.7"}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    assert client_address(request) == peer
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.0/8"), ip_network("::1")]
    assert client_address(request) == "203.0.113.7"


def test_a_person_added_twice_in_one_moment_is_an_error_of_the_form(admin: Client) -> None:
    person: dict[str, Any] = {"username": "dora", "password1": PASSWORD, "password2": PASSWORD}
    with patch("django.contrib.auth.forms.UserCreationForm.clean_username", lambda self: "alice"):
        response = admin.post("/settings/people/add/", person | {"role": "member"})
    assert "Somebody has this username already" in str(response.context["form"].errors)
    assert not User.objects.filter(username="dora").exists()


def test_an_unlinking_during_a_look_is_not_undone(
    emulator: Emulator, organization: Organization, token: str, settings: Settings, db: None
) -> None:
    """The look would find an unlinked predecessor, and let it go on with an erased password."""
    other = emulator.url.replace("127.0.0.1", "localhost")
    settings.AZURE_DEVOPS_SERVERS = [emulator.url, other]
    unlink(make_integration(organization.url, token))
    emulator.faults.add("unavailable")
    later = make_integration(f"{other}/fabrikam", token)
    emulator.faults.clear()

    def unlink_meanwhile(client: object) -> Connection:
        unlink(Integration.objects.get(pk=later.pk))
        return Connection(organization.id, [])

    connect = "vcs_integrations.providers.azure_devops.client.AzureDevOpsClient.connect"
    with patch(connect, unlink_meanwhile):
        refresh(later, BACKGROUND)
    assert not Integration.objects.linked().exists()


def test_a_form_that_was_open_too_long_leads_back_to_itself(alice: User) -> None:
    client = over_https(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/stacks/new/?provider=7", {"name": "Network"})
    page = response.content.decode()
    assert response.status_code == 403
    assert "This form was not accepted" in page
    assert 'href="/stacks/new/?provider=7">Open the form again</a>' in page
    assert 'aria-label="Main"' in page
    signing_out = client.post("/sign-out/").content.decode()
    assert 'href="/">Open the form again</a>' in signing_out
