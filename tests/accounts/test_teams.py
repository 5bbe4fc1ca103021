"""Teams: admins put people into them."""

import pytest
from django.test import Client

from accounts.models import Team, User
from tests.conftest import make_team
from tests.stacks.conftest import errors

TEAMS = "/settings/people/teams/"


def people_of(name: str) -> list[str]:
    found = Team.objects.get(name=name).people.order_by("username")
    return [person.username for person in found]


def test_an_admin_creates_changes_and_deletes_a_team(
    admin: Client, alice: User, bob: User, vera: User
) -> None:
    assert "No teams yet" in admin.get(TEAMS).content.decode()
    form = {"name": "Ops", "people": " bob\n\nvera\nbob"}
    assert admin.post(f"{TEAMS}new/", form)["Location"] == TEAMS
    assert people_of("Ops") == ["bob", "vera"]
    page = admin.get(TEAMS).content.decode()
    assert "bob, vera" in page
    team = f"{TEAMS}{Team.objects.get().pk}/"
    assert "bob\nvera</textarea>" in admin.get(team).content.decode()
    admin.post(team, {"name": "Operations", "people": "alice"})
    assert people_of("Operations") == ["alice"]
    assert "Delete Operations?" in admin.get(f"{team}delete/").content.decode()
    admin.post(f"{team}delete/")
    assert not Team.objects.exists()
    assert User.objects.filter(username="alice").exists()


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({"name": "Web"}, "name", "Another team has this name."),
        ({"name": ""}, "name", "Fill this in."),
        ({"name": "x" * 101}, "name", "This is too long: it has 101 characters"),
        ({"name": "Ops", "people": "bob\nmallory"}, "people", "There is nobody called “mallory”."),
    ],
)
def test_what_is_no_team_is_refused(
    admin: Client, bob: User, form: dict[str, str], field: str, said: str
) -> None:
    make_team("Web", bob)
    assert errors(admin.post(f"{TEAMS}new/", form), field).startswith(said)
    assert people_of("Web") == ["bob"] and Team.objects.count() == 1


def test_somebody_removed_is_in_no_team(admin: Client, bob: User) -> None:
    make_team("Web", bob)
    admin.post(f"/settings/people/{bob.pk}/remove/")
    assert people_of("Web") == []
