"""Wrong passwords are slowed down by name, by address and by both, and lock out nobody else."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests.conftest import PASSWORD, make_person, signed_in

HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"


def sign_in(username: str, password: str, peer: str, forwarded_for: str = "") -> int:
    """Send the form from an address, on a session of its own; return the answer's status."""
    headers = {"X-Forwarded-Proto": "https"}
    if forwarded_for:
        headers["X-Forwarded-For"] = forwarded_for
    form = {"username": username, "password": password}
    return Client(headers=headers, REMOTE_ADDR=peer).post("/sign-in/", form).status_code


def guess(count: int, username: str, peer: str, forwarded_for: str = "") -> list[int]:
    """Type wrong passwords; `{}` in an address or name is their number."""
    return [
        sign_in(username.format(n), f"wrong-{n}", peer.format(n), forwarded_for.format(n))
        for n in range(count)
    ]


def change_password(client: Client, old: str) -> Any:
    new = "a-quite-different-phrase"
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post("/password/", form)


def test_a_forged_address_with_each_guess_does_not_help(bob: User) -> None:
    answers = guess(8, "bob", ELSEWHERE, "192.0.2.{}")
    assert answers == [200] * 4 + [429] * 4
    assert sign_in("bob", PASSWORD, ELSEWHERE, "192.0.2.99") == 429


@pytest.mark.parametrize("address", ["192.0.2.{}", "2001:db8:0:{}::1"])
def test_many_addresses_share_one_limit_for_a_name(bob: User, address: str) -> None:
    assert guess(12, "bob", "127.0.0.1", address) == [200] * 9 + [429] * 3


def test_the_addresses_of_one_ipv6_network_are_one_visitor(bob: User) -> None:
    assert guess(6, "bob", "2001:db8::{}") == [200] * 4 + [429] * 2


def test_many_names_share_one_limit_for_an_address(bob: User) -> None:
    assert guess(12, "name-{}", ELSEWHERE) == [200] * 9 + [429] * 3
    assert sign_in("bob", PASSWORD, ELSEWHERE) == 429
    assert sign_in("bob", PASSWORD, HOME) == 302


def test_signing_in_with_a_name_of_ones_own_forgets_no_guesses_at_others(
    alice: User, bob: User
) -> None:
    sign_in("bob", PASSWORD, ELSEWHERE)
    guess(4, "alice", ELSEWHERE)
    sign_in("bob", PASSWORD, ELSEWHERE)
    assert guess(1, "alice", ELSEWHERE) == [429]


def test_guesses_from_elsewhere_lock_nobody_out_who_signed_in_here_before(bob: User) -> None:
    sign_in("bob", PASSWORD, HOME)
    assert guess(12, "bob", "192.0.2.{}")[-1] == 429
    # Nor does somebody else at the same address, nor who names it.
    assert guess(12, "name-{}", HOME)[-1] == 429
    guess(6, "bob", ELSEWHERE, HOME)
    assert sign_in("bob", PASSWORD, HOME) == 302
    assert sign_in("bob", PASSWORD, "192.0.2.200") == 429


def test_an_address_that_succeeded_before_has_a_limit_all_the_same(bob: User) -> None:
    sign_in("bob", PASSWORD, HOME)
    assert guess(6, "bob", HOME) == [200] * 4 + [429] * 2


def test_guesses_at_the_old_password_are_slowed_down_like_those_at_signing_in(bob: User) -> None:
    taken_over = signed_in(bob)
    assert [change_password(taken_over, "wrong").status_code for _ in range(4)] == [200] * 4
    locked = change_password(taken_over, "wrong")
    assert locked.status_code == 429
    page = locked.content.decode()
    assert "your password can't be changed from here for 5 minutes" in page
    assert 'href="/password/"' in page
    assert change_password(taken_over, PASSWORD).status_code == 429
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)
    assert sign_in("bob", PASSWORD, "127.0.0.1") == 429
    assert sign_in("bob", PASSWORD, HOME) == 302


def test_the_right_old_password_forgets_the_wrong_ones(bob: User) -> None:
    member = signed_in(bob)
    for _ in range(4):
        change_password(member, "wrong")
    # It is right, and the new one is refused.
    form = {"old_password": PASSWORD, "new_password1": "1", "new_password2": "1"}
    assert member.post("/password/", form).status_code == 200
    assert change_password(member, "wrong").status_code == 200


def test_a_password_of_somebody_else_is_no_old_password(bob: User) -> None:
    dora = make_person("dora", None)
    dora.set_password("the-password-of-dora")
    dora.save()
    response = change_password(signed_in(bob), "the-password-of-dora")
    assert "This is not your old password." in response.content.decode()
