"""Signing in and out, one's own password, and the people that admins manage."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.forms import OwnEmailForm
from accounts.models import User
from accounts.roles import Role, role_of
from tests.conftest import PASSWORD, make_person, over_https, signed_in

HOST = "https://stackhook.example.com"
NEW_PASSWORD = "a-quite-different-phrase"


def sign_in(client: Client, username: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/sign-in/", {"username": username, "password": password} | more)


def is_signed_in(client: Client) -> bool:
    return bool(client.get("/password/").status_code == 200)


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


# Signing in and out


def test_the_sign_in_page_has_its_labels(stranger: Client, db: None) -> None:
    page = stranger.get("/sign-in/").content.decode()
    assert '<label for="id_username">Username</label>' in page
    assert '<label for="id_password">Password</label>' in page
    assert '<button class="button primary">Sign in</button>' in page


def test_the_right_password_signs_in_and_signing_out_ends_it(bob: User, stranger: Client) -> None:
    assert sign_in(stranger, "bob")["Location"] == "/"
    assert is_signed_in(stranger)
    assert stranger.post("/sign-out/")["Location"] == "/sign-in/"
    assert not is_signed_in(stranger)


def test_a_page_asks_for_a_person_and_their_role_at_once(member: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert member.get("/stacks/").status_code == 200
    asked = [query["sql"] for query in captured if "auth_group" in query["sql"]]
    assert [query.count("SELECT") for query in asked] == [1 + len(Role)]


def test_a_wrong_password_signs_nobody_in_and_says_so(bob: User, stranger: Client) -> None:
    page = sign_in(stranger, "bob", "wrong").content.decode()
    assert "This username or password is wrong." in page
    assert not is_signed_in(stranger)


def test_an_unknown_name_is_answered_like_a_wrong_password(bob: User, stranger: Client) -> None:
    wrong = sign_in(stranger, "bob", "wrong").context["form"].non_field_errors()
    unknown = sign_in(stranger, "nobody", "wrong").context["form"].non_field_errors()
    assert wrong == unknown


@pytest.mark.parametrize("username", ["bob\0", "x" * 10_000, "", "😀", "' OR 1=1 --"])
def test_a_strange_name_is_refused_and_breaks_nothing(
    bob: User, stranger: Client, username: str
) -> None:
    assert sign_in(stranger, username, PASSWORD).status_code == 200
    assert not is_signed_in(stranger)


def test_somebody_deactivated_can_not_sign_in(bob: User, stranger: Client) -> None:
    User.objects.update(is_active=False)
    sign_in(stranger, "bob")
    assert not is_signed_in(stranger)


def test_the_page_asked_for_comes_next(bob: User, stranger: Client) -> None:
    page = stranger.get("/sign-in/?next=/stacks/new/").content.decode()
    assert '<input type="hidden" name="next" value="/stacks/new/">' in page
    assert sign_in(stranger, "bob", next="/stacks/new/")["Location"] == "/stacks/new/"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "http://testserver/",
        "https://testserver@evil.example/",
        "https:evil.example",
        "javascript:alert(1)",
        "\thttps://evil.example/",
    ],
)
def test_signing_in_leads_to_no_other_site(bob: User, stranger: Client, elsewhere: str) -> None:
    assert sign_in(stranger, "bob", next=elsewhere)["Location"] == "/"
    again = stranger.get("/sign-in/", {"next": elsewhere})
    assert again["Location"] == "/"


def test_signing_in_gives_the_session_a_new_key(bob: User, stranger: Client) -> None:
    stranger.cookies["sessionid"] = "chosen-by-somebody-else"
    sign_in(stranger, "bob")
    assert stranger.cookies["sessionid"].value != "chosen-by-somebody-else"


def test_cookies_are_for_https_and_not_for_scripts(bob: User, stranger: Client) -> None:
    stranger.get("/sign-in/")
    sign_in(stranger, "bob")
    session, csrf = stranger.cookies["sessionid"], stranger.cookies["csrftoken"]
    assert session["secure"] and session["httponly"] and session["samesite"] == "Lax"
    assert csrf["secure"] and csrf["samesite"] == "Lax"


# Wrong passwords


def lock(client: Client, username: str) -> Any:
    """Type wrong passwords until the answer is 429; return that answer."""
    for _ in range(10):
        response = sign_in(client, username, "wrong")
        if response.status_code == 429:
            return response
    raise AssertionError("ten wrong passwords were taken")


def test_repeated_wrong_passwords_are_slowed_down(bob: User, stranger: Client) -> None:
    answers = [sign_in(stranger, "bob", "wrong").status_code for _ in range(6)]
    assert answers == [200, 200, 200, 200, 429, 429]
    page = sign_in(stranger, "bob", "wrong").content.decode()
    assert "Too many wrong passwords" in page
    assert "can't sign in from here for 5 minutes. Then try again" in page


def test_the_right_password_is_refused_meanwhile_and_taken_afterwards(
    bob: User, stranger: Client
) -> None:
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        lock(stranger, "bob")
        assert sign_in(stranger, "bob").status_code == 429
        clock.shift(timedelta(minutes=4, seconds=50))
        assert sign_in(stranger, "bob").status_code == 429
        assert not is_signed_in(stranger)
        clock.shift(timedelta(seconds=20))
        assert sign_in(stranger, "bob").status_code == 302
        assert is_signed_in(stranger)


def test_trying_on_while_locked_does_not_make_it_longer(bob: User, stranger: Client) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        lock(stranger, "bob")
        for _ in range(5):
            clock.shift(timedelta(minutes=1))
            sign_in(stranger, "bob", "wrong")
        clock.shift(timedelta(seconds=5))
        assert sign_in(stranger, "bob").status_code == 302


def test_a_locked_name_locks_no_other(alice: User, bob: User, stranger: Client) -> None:
    lock(stranger, "bob")
    assert sign_in(stranger, "alice").status_code == 302


def test_a_lock_does_not_end_a_session(bob: User, stranger: Client) -> None:
    member = signed_in(bob)
    lock(stranger, "bob")
    assert is_signed_in(member)


def test_the_right_password_forgets_the_wrong_ones(bob: User) -> None:
    for _ in range(3):
        for _ in range(3):
            assert sign_in(over_https(), "bob", "wrong").status_code == 200
        assert sign_in(over_https(), "bob").status_code == 302


# Forged forms


def test_a_form_without_its_token_is_refused_with_a_readable_page(bob: User) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"X-Forwarded-Proto": "https"})
    response = sign_in(browser, "bob")
    assert response.status_code == 403
    page = response.content.decode()
    assert "<h1>This form was not accepted</h1>" in page
    assert 'href="/sign-in/">Open the form again</a>' in page
    assert not is_signed_in(browser)


def test_a_form_with_its_token_is_taken_from_this_site_only(bob: User) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "stackhook.example.com"}
    browser = Client(enforce_csrf_checks=True, headers=headers)
    form = {"csrfmiddlewaretoken": str(browser.get("/sign-in/").context["csrf_token"])}
    form |= {"username": "bob", "password": PASSWORD}
    for origin in ("https://evil.example", "http://stackhook.example.com", "null"):
        assert browser.post("/sign-in/", form, headers={"Origin": origin}).status_code == 403
    from_here = {"Origin": HOST, "Referer": f"{HOST}/sign-in/"}
    assert browser.post("/sign-in/", form, headers=from_here).status_code == 302


def test_every_form_of_somebody_signed_in_needs_its_token(alice: User, bob: User) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"X-Forwarded-Proto": "https"})
    browser.force_login(alice)
    for path in ("/sign-out/", "/password/", f"/settings/people/{bob.pk}/remove/"):
        assert browser.post(path).status_code == 403, path
    assert User.objects.filter(pk=bob.pk).exists()
    assert is_signed_in(browser)


# One's own password


def change_password(client: Client, old: str, new: str, again: str | None = None) -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return client.post("/password/", form, follow=True)


def test_changing_the_password_keeps_this_session_and_ends_the_others(bob: User) -> None:
    here, elsewhere = signed_in(bob), signed_in(bob)
    response = change_password(here, PASSWORD, NEW_PASSWORD)
    assert said(response) == ["Your password was changed"]
    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)
    assert sign_in(over_https(), "bob", NEW_PASSWORD).status_code == 302
    assert sign_in(over_https(), "bob", PASSWORD).status_code == 200


@pytest.mark.parametrize(
    ("old", "new", "again", "complaint"),
    [
        ("wrong", NEW_PASSWORD, NEW_PASSWORD, "This is not your old password."),
        (PASSWORD, NEW_PASSWORD, "another-phrase-entirely", "The two passwords differ."),
        (PASSWORD, "sh0rt", "sh0rt", "too short"),
        (PASSWORD, "password123", "password123", "Many people use this password"),
        (PASSWORD, "8236497365", "8236497365", "digits only"),
        (PASSWORD, "bobby-the-member", "bobby-the-member", "too much like the username"),
        (PASSWORD, "", "", "Fill this in."),
    ],
)
def test_a_bad_new_password_is_refused_with_its_reason(
    db: None, old: str, new: str, again: str, complaint: str
) -> None:
    person = make_person("bobby-member", Role.MEMBER)
    response = change_password(signed_in(person), old, new, again)
    assert complaint in str(response.context["form"].errors)
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_the_page_of_ones_password_says_the_rules_and_leads_back(bob: User, charlie: User) -> None:
    page = signed_in(bob).get("/password/").content.decode()
    assert "At least 8 characters." in page
    assert "<ul>" not in page
    assert ">Cancel</a>" in page
    # Without a role there is no page to go back to.
    assert ">Cancel</a>" not in signed_in(charlie).get("/password/").content.decode()


def test_no_password_is_ever_written_into_a_form_again(bob: User) -> None:
    page = change_password(signed_in(bob), "typed-old-one", "typed-new-one", "else")
    text = page.content.decode()
    assert "typed-old-one" not in text and "typed-new-one" not in text


# Roles


def test_the_roles_are_there_after_migrating(db: None) -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(Role)


def test_a_superuser_is_an_admin_without_any_group(db: None) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    assert role_of(root) == Role.ADMIN
    page = signed_in(root).get("/settings/people/").content.decode()
    assert "(superuser)" in page


def test_who_has_both_roles_is_an_admin(bob: User) -> None:
    bob.groups.add(Group.objects.get(name="admin"))
    assert role_of(User.objects.get(pk=bob.pk)) == Role.ADMIN


# People


def person_form(username: str, role: str = "member", password: str = NEW_PASSWORD) -> Any:
    return {"username": username, "password1": password, "password2": password, "role": role}


@pytest.mark.parametrize("role", Role)
def test_somebody_added_can_sign_in_and_has_the_role(admin: Client, role: Role) -> None:
    response = admin.post("/settings/people/add/", person_form("erin", role), follow=True)
    assert said(response) == ["erin was added"]
    browser = over_https()
    assert sign_in(browser, "erin", NEW_PASSWORD).status_code == 302
    assert browser.get("/").status_code == 200
    assert role_of(User.objects.get(username="erin")) == role


def test_somebody_added_is_no_superuser_whatever_the_form_says(admin: Client) -> None:
    more = {"is_superuser": "on", "is_staff": "on", "groups": "1"}
    admin.post("/settings/people/add/", person_form("erin") | more)
    erin = User.objects.get(username="erin")
    assert not erin.is_superuser and not erin.is_staff
    assert role_of(erin) == Role.MEMBER


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (person_form("bob"), "username"),
        (person_form("with space"), "username"),
        (person_form(""), "username"),
        (person_form("erin", password="1234"), "password2"),
        (person_form("erin", role="owner"), "role"),
        (person_form("erin") | {"password2": "else"}, "password2"),
    ],
)
def test_a_wrong_form_adds_nobody_and_says_why(
    admin: Client, bob: User, form: dict[str, str], field: str
) -> None:
    response = admin.post("/settings/people/add/", form)
    assert list(response.context["form"].errors) == [field]
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "bob"}


def test_another_role_replaces_the_old_one(admin: Client, bob: User) -> None:
    response = admin.post(f"/settings/people/{bob.pk}/", {"role": "admin"}, follow=True)
    assert said(response) == ["bob was changed"]
    assert [group.name for group in bob.groups.all()] == ["admin"]
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)


def test_a_new_password_for_who_forgot_it_ends_their_sessions(admin: Client, bob: User) -> None:
    member = signed_in(bob)
    admin.post(f"/settings/people/{bob.pk}/", {"role": "member", "password": NEW_PASSWORD})
    assert not is_signed_in(member)
    assert sign_in(over_https(), "bob", NEW_PASSWORD).status_code == 302


def test_a_bad_password_for_somebody_changes_nothing(admin: Client, bob: User) -> None:
    form = {"role": "admin", "password": "1234"}
    response = admin.post(f"/settings/people/{bob.pk}/", form)
    assert "password" in response.context["form"].errors
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)
    assert role_of(bob) == Role.MEMBER


def test_the_role_of_a_superuser_stays(admin: Client) -> None:
    root = User.objects.create_superuser("root")
    admin.post(f"/settings/people/{root.pk}/", {"role": "member"})
    assert role_of(User.objects.get(pk=root.pk)) == Role.ADMIN


def test_somebody_without_a_role_can_be_given_one(admin: Client, charlie: User) -> None:
    admin.post(f"/settings/people/{charlie.pk}/", {"role": "member"})
    assert signed_in(charlie).get("/").status_code == 200


# E-mail addresses


def test_admins_enter_addresses_of_others(admin: Client, bob: User) -> None:
    admin.post("/settings/people/add/", person_form("erin") | {"email": "erin@example.com"})
    assert User.objects.get(username="erin").email == "erin@example.com"
    path = f"/settings/people/{bob.pk}/"
    admin.post(path, {"role": "member", "email": "bob@example.com"})
    assert User.objects.get(username="bob").email == "bob@example.com"
    assert 'value="bob@example.com"' in admin.get(path).content.decode()
    assert "erin@example.com" in admin.get("/settings/people/").content.decode()
    admin.post(path, {"role": "member", "email": ""})
    assert User.objects.get(username="bob").email == ""


def test_an_admin_enters_their_own_address(admin: Client, alice: User) -> None:
    path = "/settings/people/my-address/"
    assert f'href="{path}"' in admin.get("/settings/people/").content.decode()
    response = admin.post(path, {"email": "alice@example.com"}, follow=True)
    assert said(response) == ["Your e-mail address was changed"]
    assert User.objects.get().email == "alice@example.com"
    assert is_signed_in(admin)


def test_entering_ones_address_undoes_no_new_password_of_that_moment(alice: User) -> None:
    before = User.objects.get()
    alice.set_password("another-good-password")
    alice.save()
    form = OwnEmailForm({"email": "alice@example.com"}, instance=before)
    assert form.is_valid()
    form.save()
    stored = User.objects.get()
    assert stored.check_password("another-good-password")
    assert stored.email == "alice@example.com"


def test_what_is_no_address_is_refused_and_changes_nothing(admin: Client, bob: User) -> None:
    for path, form in (
        ("/settings/people/my-address/", {"email": "nobody"}),
        (f"/settings/people/{bob.pk}/", {"role": "admin", "email": "a@example.com\nBcc: b@c.de"}),
        ("/settings/people/add/", person_form("erin") | {"email": "erin@"}),
    ):
        response = admin.post(path, form)
        assert "email" in response.context["form"].errors, path
    assert set(User.objects.values_list("username", "email")) == {("alice", ""), ("bob", "")}
    assert role_of(bob) == Role.MEMBER


def test_removing_asks_first_and_then_ends_their_sessions(admin: Client, bob: User) -> None:
    member = signed_in(bob)
    assert "Remove bob?" in admin.get(f"/settings/people/{bob.pk}/remove/").content.decode()
    assert is_signed_in(member)
    response = admin.post(f"/settings/people/{bob.pk}/remove/", follow=True)
    assert said(response) == ["bob was removed"]
    assert not is_signed_in(member)
    assert sign_in(over_https(), "bob").status_code == 200


def test_nobody_can_change_or_remove_themselves(admin: Client, alice: User) -> None:
    form = {"role": "member", "password": NEW_PASSWORD}
    response = admin.post(f"/settings/people/{alice.pk}/", form, follow=True)
    assert said(response) == ["Nobody can change their own role: ask another admin"]
    response = admin.post(f"/settings/people/{alice.pk}/remove/", follow=True)
    assert said(response) == ["Nobody can remove themselves: ask another admin"]
    alice.refresh_from_db()
    assert role_of(alice) == Role.ADMIN
    assert alice.check_password(PASSWORD)


def test_the_list_offers_no_change_of_oneself(admin: Client, alice: User, bob: User) -> None:
    page = admin.get("/settings/people/").content.decode()
    assert f"/settings/people/{bob.pk}/remove/" in page
    assert f"/settings/people/{alice.pk}/" not in page


def test_the_list_goes_over_several_pages(admin: Client) -> None:
    User.objects.bulk_create(User(username=f"person-{number:03}") for number in range(120))
    first = admin.get("/settings/people/").content.decode()
    last = admin.get("/settings/people/?page=3").content.decode()
    assert "person-000" in first and "person-119" not in first
    assert "person-119" in last and "Page 3 of 3" in last


@pytest.mark.parametrize("pk", ["0", "999999", "99999999999999999999999"])
def test_a_person_who_is_not_there_is_not_found(admin: Client, pk: str) -> None:
    assert admin.get(f"/settings/people/{pk}/").status_code == 404
    assert admin.post(f"/settings/people/{pk}/remove/").status_code == 404
