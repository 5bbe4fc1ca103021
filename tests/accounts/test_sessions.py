"""Sessions: the cookie has the key, the database only its digest."""

import asyncio
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from tests.conftest import over_https, signed_in

COOKIE = settings.SESSION_COOKIE_NAME


def new_session(key: str | None = None) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


def reaches_a_page(client: Client) -> bool:
    return client.get("/password/").status_code == 200


def with_key(key: str) -> Client:
    client = over_https()
    client.cookies[COOKIE] = key
    return client


def test_what_the_database_holds_signs_nobody_in(bob: User) -> None:
    key = signed_in(bob).cookies[COOKIE].value
    assert reaches_a_page(with_key(key))
    [stored] = Session.objects.all()
    assert key not in str(vars(stored))
    assert not reaches_a_page(with_key(stored.session_key))


def test_signing_in_and_out_leaves_no_older_session(bob: User) -> None:
    client = signed_in(bob)
    before = client.cookies[COOKIE].value
    client.force_login(bob)
    client.post("/sign-out/")
    assert not reaches_a_page(with_key(before))
    assert not Session.objects.exists()


def test_djangos_interface_of_sessions_works(db: None) -> None:
    session = new_session()
    session["color"] = "red"
    session.save()
    first = session.session_key
    assert new_session(first)["color"] == "red"
    session.cycle_key()
    assert not session.exists(first)
    assert new_session(session.session_key)["color"] == "red"
    assert new_session(first).get("color") is None
    session.flush()
    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_so_does_its_asynchronous_half() -> None:
    async def use() -> tuple[Any, bool]:
        session = new_session()
        await session.aset("color", "red")
        await session.asave()
        color = await new_session(session.session_key).aget("color")
        exists = await session.aexists(session.session_key)
        await session.aflush()
        return color, exists

    assert asyncio.run(use()) == ("red", True)
    assert not Session.objects.exists()


def test_ended_sessions_hold_nothing_and_are_cleared(bob: User) -> None:
    client = signed_in(bob)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not reaches_a_page(client)
    call_command("clearsessions")
    assert not Session.objects.exists()
