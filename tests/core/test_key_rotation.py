"""Another encryption key: every secret moves to it, whatever ends that; a wrong one is reported."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from core.encrypted_fields import EncryptedField
from core.encryption import WrongKey, decrypting, newest_mark
from core.key_rotation import SecretField, secret_fields
from stacks.models import (
    FormerSecret,
    PlanFile,
    SharedVariable,
    StackVariable,
    StateUpload,
    StateVersion,
)
from stacks.rules.states import State
from tests.addresses import World, clients, make_world
from tests.builders import make_channel, make_plan, make_run
from tests.killing import killed_at
from vcs_integrations.models import Credentials, Integration, WebhookSecret

OLD, NEW = "another key that only tests use", "the new key"
Values = dict[str, list[Any]]


@pytest.fixture
def world(integration: Integration) -> World:
    """At least two rows of every model that has secrets."""
    world = make_world(integration)
    Credentials.objects.create(integration=world.unlinked, token="t")
    WebhookSecret.objects.create(integration=world.unlinked, digest="d", value="p")
    StackVariable.objects.create(stack=world.stack, name="B", value="hidden", is_secret=True)
    SharedVariable.objects.create(environment=world.shared.environment, name="B", value="hidden")
    for value in ("hidden before", "hidden at first"):
        FormerSecret.objects.create(stack=world.stack, value=value)
    for number in (3, 4):
        run = make_run(world.detached, number, state=State.FAILED)
        PlanFile.objects.create(run=run, content=f"plan {number}".encode())
    make_channel(name="Another")
    make_plan(run, {"output_changes": {"url": {"actions": ["create"]}}})
    version = StateVersion.objects.get()
    version.pk, version.number = None, 2
    version.save()
    version.keep(b'{"version": 4, "password": "of a resource"}')
    for stack in (world.stack, world.detached):
        StateUpload.objects.create(stack=stack, person=world.person, packed=stack.slug.encode())
    return world


@pytest.fixture
def both_keys(world: World, settings: Settings) -> None:
    """What is there was stored with the key that is now the old one."""
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY = NEW, OLD


def rotate() -> str:
    """Run the command; return what it prints."""
    out = StringIO()
    call_command("rotate_encryption_key", stdout=out, stderr=out)
    return out.getvalue()


def read_all() -> Values:
    """Return every value of every encrypted field. Raises where one can't be decrypted."""
    return {
        str(field): [
            getattr(row, field.name)
            for row in field.model._base_manager.order_by("pk").only(field.name)
        ]
        for field in secret_fields()
    }


def is_done(value: bytes) -> bool:
    """Say whether a stored value is encrypted with FIELD_ENCRYPTION_KEY."""
    return value.startswith(newest_mark())


def stored(field: SecretField) -> list[bytes]:
    table, column = field.model._meta.db_table, field.name
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} ORDER BY 1")  # noqa: S608
        return [bytes(value) for (value,) in cursor.fetchall()]


def test_every_encrypted_field_is_found() -> None:
    found = {(field.model, field.name) for field in secret_fields()}
    models: list[type[Model]] = list(apps.get_models(include_auto_created=True))
    fields = [field for model in models for field in model._meta.get_fields()]
    encrypted = [field for field in fields if isinstance(field, EncryptedField)]
    assert found == {(field.model, field.name) for field in encrypted}
    assert {str(field) for field in secret_fields()} >= {
        "Credentials (token)",
        "Former secrets (value)",
        "Plan files (content)",
        "Plan parts (packed)",
        "Shared variables (value)",
        "Stack variables (value)",
        "State contents (packed)",
        "State uploads (packed)",
        "Webhook passwords (value)",
    }


@pytest.mark.on_postgresql
def test_every_secret_moves_to_the_new_key(world: World, settings: Settings) -> None:
    before = read_all()
    assert all(len(values) >= 2 for values in before.values()), "a model is not in the world"
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY = NEW, OLD
    said = rotate()
    count = sum(len(values) for values in before.values())
    assert f"Re-encrypted: {count}. Already done: 0." in said
    assert said.endswith("FIELD_ENCRYPTION_OLD_KEY can be removed.\n")
    for name, values in before.items():
        assert f"{name}: {len(values)} of {len(values)}\n" in said
    settings.FIELD_ENCRYPTION_OLD_KEY = ""
    assert read_all() == before
    assert "can be removed" not in rotate()
    settings.FIELD_ENCRYPTION_KEY = OLD
    for field in secret_fields():
        with pytest.raises(WrongKey), decrypting(str(field)):
            list(field.model._base_manager.only(field.name))


def test_all_that_is_printed_holds_no_secret(both_keys: None) -> None:
    values = [str(value) for found in read_all().values() for value in found]
    said = rotate()
    assert [value for value in values if len(value) > 2 and value in said] == []
    assert NEW not in said and OLD not in said


def test_while_both_keys_are_set_either_reads_and_the_new_one_writes(
    world: World, settings: Settings
) -> None:
    before = read_all()
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY = NEW, OLD
    assert read_all() == before
    variable = StackVariable.objects.get(name="B")
    variable.value = "entered now"
    variable.save()
    [field] = [field for field in secret_fields() if field.model is StackVariable]
    assert sorted(map(is_done, stored(field))) == [False, True]
    assert [one.value for one in StackVariable.objects.order_by("name")] == ["entered now", "eu"]


def test_done_again_it_changes_nothing(both_keys: None) -> None:
    rotate()
    before = {field: stored(field) for field in secret_fields()}
    count = sum(map(len, before.values()))
    assert f"Re-encrypted: 0. Already done: {count}." in rotate()
    assert {field: stored(field) for field in secret_fields()} == before


@pytest.mark.on_postgresql
def test_ended_before_any_of_its_queries_it_goes_on_where_it_was(
    world: World, settings: Settings
) -> None:
    """Started again and again, each time it gets further than the last."""
    before = read_all()
    fields = list(secret_fields())
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY = NEW, OLD
    done, said, point = 0, "", 0
    while not said:
        with killed_at(point):
            said = rotate()
        assert read_all() == before, f"ended at query {point}"
        done_now = sum(is_done(one) for field in fields for one in stored(field))
        assert done_now >= done
        done, point = done_now, point + 1
    assert done == sum(map(len, before.values()))
    assert point > 20
    settings.FIELD_ENCRYPTION_OLD_KEY = ""
    assert read_all() == before


@pytest.mark.on_postgresql
def test_what_neither_key_reads_is_named_and_stays(world: World, settings: Settings) -> None:
    settings.FIELD_ENCRYPTION_KEY = "a third key"
    world.variable.value = "of a third key"
    world.variable.save()
    Credentials(integration=world.unlinked, token="of a third key").save(update_fields=["token"])
    plan = PlanFile.objects.defer("content").get(run__number=3)
    plan.content = b"of a third key"
    plan.save(update_fields=["content"])
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY = NEW, OLD
    kept = {field: set(stored(field)) for field in secret_fields()}
    readable = sum(map(len, kept.values())) - 3
    out = StringIO()
    with pytest.raises(CommandError, match="3 secrets could not be read with"):
        call_command("rotate_encryption_key", stdout=out, stderr=out)
    said = out.getvalue()
    for line in (
        "Credentials (token): Azure DevOps · left can't be decrypted.",
        "Stack variables (value): TF_VAR_region of Network can't be decrypted.",
        "Plan files (content): Run 3 of Old network can't be decrypted.",
        f"Re-encrypted: {readable}. Already done: 0.",
    ):
        assert f"{line}\n" in said
    assert "can be removed" not in said
    stayed = {str(field): len(kept[field] & set(stored(field))) for field in kept}
    assert [count for count in stayed.values() if count] == [1, 1, 1]
    settings.FIELD_ENCRYPTION_OLD_KEY = "a third key"
    assert f"Re-encrypted: 3. Already done: {readable}." in rotate()
    assert world.variable.value == "of a third key"


@pytest.mark.on_postgresql
def test_what_is_entered_in_the_moment_a_row_is_done_stays(
    both_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is read in batches; a row that is stored again or removed then is skipped."""
    really = SecretField.keys_left

    def keys_left(field: SecretField) -> Iterator[Any]:
        found = list(really(field))
        if field.model is StackVariable:
            variable = StackVariable.objects.get(name="B")
            variable.value = "entered now"
            variable.save()
            StackVariable.objects.filter(name="TF_VAR_region").delete()
        return iter(found)

    monkeypatch.setattr(SecretField, "keys_left", keys_left)
    rotate()
    assert StackVariable.objects.get().value == "entered now"


# A wrong key


SENTENCE = "can't be decrypted. Start Stackhook with the FIELD_ENCRYPTION_KEY that it was stored"
CREDENTIALS = f"The stored token and webhook password {SENTENCE}"
ENVIRONMENT = f"The variable TF_VAR_region of this stack {SENTENCE}"
VCS = "settings/vcs-providers/<int:pk>/"
STACK = "stacks/<slug:slug>/"
# Where a secret would be, or is used
REPORTED = [
    ("POST", f"{VCS}reveal/", CREDENTIALS),
    ("POST", f"{VCS}test/", CREDENTIALS),
    ("GET", f"{VCS}unlink/", CREDENTIALS),
    ("POST", f"{STACK}head/", CREDENTIALS),
    ("GET", f"{STACK}environment/", ENVIRONMENT),
    ("GET", f"{STACK}environment/<int:variable_pk>/", ENVIRONMENT),
    ("GET", f"{STACK}state/versions/<int:version>/", f"The stored state {SENTENCE}"),
]


def words(response: Any) -> str:
    text = re.sub(r"<[^>]*>", " ", response.content.decode())
    return " ".join(text.replace("&#x27;", "'").split())


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "htmx"])
def test_with_a_wrong_key_every_page_opens(
    world: World, settings: Settings, headers: dict[str, str]
) -> None:
    asking = clients()
    state = world.path(f"{STACK}state/versions/<int:version>/")
    for role in ("admin", "member"):
        for path in world.paths():
            settings.FIELD_ENCRYPTION_KEY = OLD
            right = asking[role].get(path, headers=headers).status_code
            settings.FIELD_ENCRYPTION_KEY = "a wrong key"
            wrong = asking[role].get(path, headers=headers).status_code
            leads_back = role == "admin" and path == state
            assert wrong == (302 if leads_back else right), (role, path)


@pytest.mark.parametrize(("method", "route", "sentence"), REPORTED)
def test_with_a_wrong_key_one_sentence_stands_where_the_secret_is_needed(
    world: World, admin: Client, settings: Settings, method: str, route: str, sentence: str
) -> None:
    settings.FIELD_ENCRYPTION_KEY = "a wrong key"
    response = admin.generic(method, world.path(route))
    if response.status_code == 302:
        response = admin.get(response["Location"])
    assert response.status_code == 200
    # The card repeats what the notification says.
    assert words(response).count(sentence) in {1, 2}


@pytest.mark.on_postgresql
def test_entering_the_token_again_repairs_a_lost_key(
    world: World, admin: Client, settings: Settings, token: str
) -> None:
    settings.FIELD_ENCRYPTION_KEY = "a wrong key"
    path = world.path(f"{VCS}edit/")
    assert admin.post(path, {"name": "Ours", "token": token}).status_code == 302
    assert world.integration.read_credentials().token == token


def test_another_secret_key_makes_nothing_unreadable(world: World, settings: Settings) -> None:
    before = read_all()
    settings.SECRET_KEY = "sessions end with it, and no more"
    assert read_all() == before
