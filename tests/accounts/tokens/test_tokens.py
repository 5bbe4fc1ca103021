"""Personal tokens: made, shown once, ended; by whom."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.audit.records import entries
from accounts.models import PersonalToken, SecurityEvent, User, Verb
from accounts.throttling import FROM_ONE_ADDRESS, refuse_token
from accounts.tokens.records import create_token, digest_of, valid_token
from tests.conftest import PASSWORD, make_person, over_https, signed_in

TOKENS = "/tokens/"
VALUE = re.compile(r"stackhook_[\w-]{43}")


def created(client: Client, name: str = "My laptop", days: str = "90") -> str:
    """Create a token on the page; return its value."""
    answer = client.post(TOKENS, {"name": name, "days": days})
    assert answer.status_code == 200
    found: set[str] = set(VALUE.findall(answer.content.decode()))
    assert len(found) == 1
    return found.pop()


def test_a_token_is_shown_once_and_kept_as_a_digest(member: Client, bob: User) -> None:
    answer = member.post(TOKENS, {"name": "My laptop", "days": "30"})
    value = VALUE.findall(answer.content.decode())[0]
    assert "no-store" in answer["Cache-Control"]
    token = bob.tokens.get()
    assert token.digest == digest_of(value)
    assert token.expires_at
    assert timedelta(days=29) < token.expires_at - timezone.now() < timedelta(days=30)
    page = member.get(TOKENS).content.decode()
    assert "My laptop" in page
    assert value not in page
    assert token.digest not in page
    stored = [session.get_decoded() for session in Session.objects.all()]
    assert value not in str(stored)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_personaltoken")
        assert value not in str(cursor.fetchall())
    assert value not in str(list(entries().values()))


def test_each_token_is_another(member: Client) -> None:
    assert len({created(member) for _ in range(5)}) == 5


def test_a_name_is_needed_and_an_expiry_is_one_of_the_list(member: Client) -> None:
    assert "Fill this in." in member.post(TOKENS, {}).content.decode()
    answer = member.post(TOKENS, {"name": "x", "days": "36500"})
    assert "Choose from the list" in answer.content.decode()
    assert not PersonalToken.objects.exists()


def test_a_token_may_never_expire(member: Client, bob: User) -> None:
    value = created(member, days="")
    assert bob.tokens.get().expires_at is None
    with time_machine.travel(timezone.now() + timedelta(days=4000)):
        assert valid_token(value)


def test_a_token_ends_at_its_expiry(bob: User) -> None:
    token, value = create_token(bob, "x", 30)
    assert token.expires_at
    with time_machine.travel(token.expires_at - timedelta(seconds=5)):
        assert valid_token(value)
    with time_machine.travel(token.expires_at + timedelta(seconds=5)):
        assert valid_token(value) is None
        assert "Expired" in signed_in(bob).get(TOKENS).content.decode()


def test_a_person_revokes_their_own_token(member: Client, bob: User) -> None:
    value = created(member)
    token = bob.tokens.get()
    answer = member.post(f"{TOKENS}{token.pk}/revoke/", follow=True)
    assert "Token My laptop was revoked" in answer.content.decode()
    assert valid_token(value) is None
    member.post(f"{TOKENS}{token.pk}/revoke/")
    verbs = [entry.verb for entry in entries() if entry.thing_id == bob.pk]
    assert verbs == [Verb.TOKEN_REVOKED, Verb.TOKEN_CREATED]  # once


def test_nobody_revokes_a_token_of_somebody_else_but_an_admin(
    member: Client, admin: Client, alice: User, bob: User
) -> None:
    token, value = create_token(alice, "Hers", None)
    assert member.post(f"{TOKENS}{token.pk}/revoke/").status_code == 404
    assert member.post(f"/settings/people/{alice.pk}/tokens/{token.pk}/revoke/").status_code == 403
    assert valid_token(value)
    token, value = create_token(bob, "His", None)
    page = admin.get(f"/settings/people/{bob.pk}/").content.decode()
    assert "His" in page
    assert admin.post(f"/settings/people/{alice.pk}/tokens/{token.pk}/revoke/").status_code == 404
    admin.post(f"/settings/people/{bob.pk}/tokens/{token.pk}/revoke/")
    assert valid_token(value) is None


def test_a_token_ends_with_its_person(bob: User) -> None:
    _, value = create_token(bob, "x", None)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert valid_token(value) is None
    User.objects.filter(pk=bob.pk).update(is_active=True)
    assert valid_token(value)
    bob.groups.clear()
    assert valid_token(value) is None
    _, value = create_token(make_person("dora", None), "x", None)
    assert valid_token(value) is None
    bob.delete()
    assert not PersonalToken.objects.filter(user__username="bob").exists()


def test_a_token_of_a_superuser_holds(db: None) -> None:
    assert valid_token(create_token(User.objects.create_superuser("root"), "x", None)[1])


def test_the_last_use_is_noted_once_a_minute(
    bob: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token, value = create_token(bob, "x", None)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        with django_assert_num_queries(3):
            valid_token(value)
        first = PersonalToken.objects.get(pk=token.pk).last_used_at
        assert first == timezone.now()
        clock.shift(59)
        with django_assert_num_queries(2):
            valid_token(value)
        clock.shift(1)
        valid_token(value)
        assert PersonalToken.objects.get(pk=token.pk).last_used_at == timezone.now()


def test_wrong_tokens_are_noted_and_cost_no_more_after_some(
    db: None, rf: RequestFactory, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = rf.get("/registry/", REMOTE_ADDR="203.0.113.9")
    answers = [refuse_token(request) for _ in range(FROM_ONE_ADDRESS + 3)]
    assert answers == [False] * FROM_ONE_ADDRESS + [True] * 3
    refusal = entries().get(verb=SecurityEvent.TOKEN_REFUSED)
    assert refusal.count == FROM_ONE_ADDRESS
    assert refusal.address == "203.0.113.9"
    with django_assert_num_queries(1):
        refuse_token(request)
    assert refuse_token(rf.get("/registry/", REMOTE_ADDR="203.0.113.10")) is False
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        assert refuse_token(request) is False


def test_wrong_tokens_lock_nobody_out_of_signing_in(bob: User, rf: RequestFactory) -> None:
    for _ in range(FROM_ONE_ADDRESS + 1):
        refuse_token(rf.get("/registry/", REMOTE_ADDR="203.0.113.9"))
    client = over_https(REMOTE_ADDR="203.0.113.9")
    answer = client.post("/sign-in/", {"username": "bob", "password": PASSWORD})
    assert answer.status_code == 302


@pytest.mark.parametrize("value", ["", "stackhook_", "stackhook_\udcff", "ü" * 5000, "a\0b"])
def test_what_is_no_token_is_none(bob: User, value: str) -> None:
    assert valid_token(value) is None


def test_the_page_says_how_a_token_is_used(member: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://stack-hook.example.com"
    page = member.post(TOKENS, {"name": "x", "days": ""}).content.decode()
    assert "credentials &quot;stack-hook.example.com&quot;" in page or (
        'credentials "stack-hook.example.com"' in page
    )
    assert "TF_TOKEN_stack__hook_example_com" in page


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://stackhook.example.com", "load modules over https only"),
        ("https://stackhook", "stackhook has none"),
    ],
)
def test_the_page_says_what_keeps_the_registry_from_being_used(
    member: Client, settings: Settings, url: str, sentence: str
) -> None:
    settings.PUBLIC_URL = url
    page = member.get(TOKENS).content.decode()
    assert sentence in page
    assert "PUBLIC_URL" in page
