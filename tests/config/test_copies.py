"""No browser and no proxy keeps what is for who is signed in."""

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from tests.addresses import World, clients, make_world, routes
from tests.builders import make_integration


@pytest.fixture
def world(db: None, settings: Settings) -> World:
    """A linked organization that nobody answers for, and one of everything."""
    settings.AZURE_DEVOPS_SERVERS = ["http://127.0.0.1:9"]
    return make_world(make_integration("http://127.0.0.1:9/fabrikam", "a-token"))


def test_no_answer_to_what_is_sent_may_be_kept(world: World) -> None:
    """What is read is part of the walk in test_configuration."""
    paths = [world.path(route) for route in routes()] + ["/no/such/page/"]
    asking = clients()
    for path in paths:
        for role in ("admin", "no role", "stranger"):
            session = asking[role].cookies.get("sessionid")
            with transaction.atomic():
                response = asking[role].post(path)
                transaction.set_rollback(True)
            if session:  # a sign-out, too, is taken back
                asking[role].cookies["sessionid"] = session.value
            assert "no-store" in response["Cache-Control"], (role, path)


def test_an_export_may_not_be_kept(admin: Client) -> None:
    assert "no-store" in admin.get("/settings/audit-log/?export=jsonl")["Cache-Control"]


def test_the_answer_to_an_error_may_not_be_kept(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.http.render", None)
    admin.raise_request_exception = False
    response = admin.get("/stacks/")
    assert response.status_code == 500
    assert "no-store" in response["Cache-Control"]
