"""What is encrypted for one place of the database is of no use in another, or in a dump."""

import base64
import html
import json
import pickle
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any, cast
from urllib.parse import quote

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from core.encrypted_fields import LEFT_OUT, NotBound
from core.encryption import OTHER_VALUE, Place, WrongKey, encrypt
from core.key_rotation import SecretField, secret_fields
from stacks.environment.variables import environment_of, former_secrets_of
from stacks.models import (
    FormerSecret,
    PlanFile,
    RunCredential,
    Runs,
    StackVariable,
    StateContent,
    StateUpload,
    StateVersion,
)
from stacks.rules.states import Kind
from tests.addresses import World, make_world
from tests.builders import make_run
from vcs_integrations.models import Credentials, Integration, WebhookSecret

STATE = b'{"version": 4, "password": "of-a-resource-somewhere"}'
SECRETS = {
    "variable": "of-a-secret-variable",
    "former": "of-a-former-secret",
    "plan": "of-a-plan-that-waits",
    "state": STATE.decode(),
    "upload": "of-an-uploaded-state",
}


@pytest.fixture
def world(integration: Integration) -> World:
    """Two rows of each kind of secret."""
    world = make_world(integration)
    Credentials.objects.create(integration=world.unlinked, token="token-of-another-link")
    WebhookSecret.objects.create(integration=world.unlinked, digest="d", value="its-password")
    for stack in (world.stack, world.detached):
        StackVariable.objects.create(
            stack=stack, name="SECRET", value=SECRETS["variable"], is_secret=True
        )
        FormerSecret.objects.create(stack=stack, value=SECRETS["former"])
        run = make_run(stack, 9)
        PlanFile.objects.create(run=run, content=SECRETS["plan"].encode())
        RunCredential.objects.create(run=run, password_digest="0" * 64)
        packed = SECRETS["upload"].encode()
        StateUpload.objects.create(stack=stack, person=world.person, packed=packed)
    version = StateVersion.objects.get()
    version.pk, version.number = None, 2
    version.save()
    version.keep(STATE)
    return world


def place_of(model: Any, name: str, row: object) -> Place:
    return Place(model._meta.db_table, name, row)


def read(model: Any, name: str, row: Any) -> bytes:
    """Return the bytes that are stored in a place."""
    table, key = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM {table} WHERE {key} = %s", [row])  # noqa: S608
        return bytes(cursor.fetchone()[0])


def write(model: Any, name: str, row: Any, stored: bytes) -> None:
    table, key = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {name} = %s WHERE {key} = %s",  # noqa: S608
            [stored, row],
        )


def places() -> Iterator[tuple[SecretField, object]]:
    for field in secret_fields():
        for row in field.all().values_list("pk", flat=True):
            yield field, row


def words(response: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


# Moved


@pytest.mark.on_postgresql
def test_no_value_can_be_read_in_the_place_of_another(world: World) -> None:
    """Other rows, columns and tables alike."""
    stored = {(field, row): read(field.model, field.name, row) for field, row in places()}
    assert len(stored) >= 14
    for (field, row), own in stored.items():
        for other in stored.values():
            write(field.model, field.name, row, other)
            found = field.model._base_manager.filter(pk=row).only(field.name)
            if other == own:
                assert found.get()
            else:
                with pytest.raises(WrongKey, match="something other than Stackhook"):
                    found.get()
        write(field.model, field.name, row, own)


@pytest.mark.on_postgresql
def test_rows_whose_primary_keys_were_swapped_can_not_be_read(world: World) -> None:
    """As when rows of another database with the same key are put in here under other numbers."""
    first, second = FormerSecret.objects.values_list("pk", flat=True)
    with connection.cursor() as cursor:
        for old, new in ((first, 1), (second, first), (1, second)):
            cursor.execute("UPDATE stacks_formersecret SET id = %s WHERE id = %s", [new, old])
    for row in (first, second):
        with pytest.raises(WrongKey):
            FormerSecret.objects.get(pk=row)


def test_a_token_copied_into_a_plain_variable_is_not_shown(
    world: World, member: Client, token: str
) -> None:
    stolen = read(Credentials, "token", world.integration.pk)
    write(StackVariable, "value", world.variable.pk, stolen)
    for path in ("", f"{world.variable.pk}/"):
        response = member.get(f"/stacks/{world.stack.slug}/environment/{path}")
        assert response.status_code == 200
        said = words(response)
        assert f"The variable TF_VAR_region of this stack can't be decrypted. {OTHER_VALUE}" in said
        assert "Or enter its value again." in said
        assert token not in response.content.decode()
    path = f"/stacks/{world.stack.slug}/environment/{world.variable.pk}/"
    assert member.post(path, {"value": "entered again"}).status_code == 302
    assert environment_of(world.stack, Kind.TRACKED)[0]["TF_VAR_region"] == "entered again"


@pytest.mark.on_postgresql
def test_a_secret_copied_from_another_stack_is_neither_used_nor_masked(world: World) -> None:
    first, second = StackVariable.objects.filter(name="SECRET").values_list("pk", flat=True)
    write(StackVariable, "value", first, read(StackVariable, "value", second))
    stack = StackVariable.objects.defer("value").get(pk=first).stack
    with pytest.raises(WrongKey, match="The variable SECRET of this stack can't be decrypted"):
        environment_of(stack, Kind.TRACKED)
    first, second = FormerSecret.objects.values_list("pk", flat=True)
    write(FormerSecret, "value", first, read(FormerSecret, "value", second))
    former = FormerSecret.objects.defer("value").get(pk=first)
    assert former.stack
    assert former_secrets_of(former.stack) == []


@pytest.mark.on_postgresql
def test_the_state_of_another_stack_is_not_downloaded(world: World, admin: Client) -> None:
    [first, second] = StateContent.objects.values_list("pk", flat=True)
    write(StateContent, "packed", first, read(StateContent, "packed", second))
    number = StateVersion.objects.get(pk=first).number
    path = f"/stacks/{world.stack.slug}/state/versions/{number}/"
    response = admin.get(path, follow=True)
    assert f"The stored state can't be decrypted. {OTHER_VALUE}" in words(response)
    assert b"of-a-resource" not in response.content


def test_a_token_in_the_place_of_the_password_is_not_revealed(
    world: World, admin: Client, token: str
) -> None:
    stolen = read(Credentials, "token", world.integration.pk)
    [secret] = world.integration.valid_secrets
    write(WebhookSecret, "value", secret.pk, stolen)
    response = admin.post(f"/settings/vcs-providers/{world.integration.pk}/reveal/")
    assert response.status_code == 200
    assert f"can't be decrypted. {OTHER_VALUE} Or enter the token again." in words(response)
    assert token not in response.content.decode()


class Crafted:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a stored value was executed",)


@pytest.mark.on_postgresql
def test_a_pickle_that_was_encrypted_with_the_right_key_is_text_or_bytes(world: World) -> None:
    content = pickle.dumps(Crafted(), protocol=0)
    place = place_of(StackVariable, "value", world.variable.pk)
    write(StackVariable, "value", world.variable.pk, encrypt(content, place))
    assert StackVariable.objects.get(pk=world.variable.pk).value == content.decode()
    plan = PlanFile.objects.first()
    assert plan
    write(PlanFile, "content", plan.pk, encrypt(content, place_of(PlanFile, "content", plan.pk)))
    plan.refresh_from_db()
    assert plan.content == content


@pytest.mark.on_postgresql
@pytest.mark.parametrize("length", [0, 1, 8, 9, 12, 21, 22, 36])
def test_what_was_cut_off_or_changed_can_not_be_read(world: World, length: int) -> None:
    row = world.variable.pk
    stored = read(StackVariable, "value", row)
    flipped = bytes([*stored[:length], stored[length] ^ 1, *stored[length + 1 :]])
    for damaged in (stored[:length], flipped, stored + b"\0"):
        write(StackVariable, "value", row, damaged)
        with pytest.raises(WrongKey):
            StackVariable.objects.get(pk=row)


@pytest.mark.on_postgresql
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL knows types")
@pytest.mark.parametrize("stored", ["text", 10**12, 1.5])
def test_a_value_of_another_type_can_not_be_read(world: World, stored: Any) -> None:
    write(StackVariable, "value", world.variable.pk, stored)
    with pytest.raises(WrongKey):
        StackVariable.objects.get(pk=world.variable.pk)


# Written


@pytest.mark.on_postgresql
def test_what_can_not_be_bound_to_a_row_is_refused(world: World) -> None:
    variables = StackVariable.objects.all()
    [one, *_] = variables
    sealed = variables.values_list("value", flat=True).first()
    for value in ("entered", F("name"), sealed):
        with pytest.raises(NotBound, match="set it on an instance and save"), transaction.atomic():
            variables.update(value=value)
    with pytest.raises(NotBound), transaction.atomic():
        variables.bulk_update([one], ["value"])
    with pytest.raises(NotBound), transaction.atomic():
        Credentials(token="t").save()
    with pytest.raises(TypeError, match="takes str, not bytes"), transaction.atomic():
        StackVariable.objects.create(stack=world.stack, name="C", value=cast(str, b"bytes"))
    with pytest.raises(FieldError, match="Unsupported lookup"):
        variables.filter(value="eu")
    assert environment_of(world.stack, Kind.TRACKED)[0]["TF_VAR_region"] == "eu"


@pytest.mark.on_postgresql
def test_what_is_stored_by_way_of_instances_can_be_read(world: World) -> None:
    StackVariable.objects.bulk_create(
        StackVariable(stack=world.stack, name=name, value=f"of {name}", runs=Runs.ALL)
        for name in "ABC"
    )
    StackVariable.objects.update_or_create(
        stack=world.stack, name="A", defaults={"value": "updated"}
    )
    StackVariable.objects.get_or_create(stack=world.stack, name="D", defaults={"value": "of D"})
    copy = StackVariable.objects.get(name="B")
    copy.pk, copy.name = 7, "E"
    copy.save(force_insert=True)
    values = environment_of(world.stack, Kind.TRACKED)[0]
    assert [values[name] for name in "ABCDE"] == ["updated", "of B", "of C", "of D", "of B"]


def test_a_query_that_makes_no_instance_returns_nothing_readable(world: World) -> None:
    sealed: Any = StackVariable.objects.filter(name="SECRET").values_list("value", flat=True)
    assert not any(SECRETS["variable"] in f"{one} {one!r}" for one in sealed)
    with pytest.raises(WrongKey):
        sealed[0].open(world.variable.pk)


# Rotation


def test_what_rotation_has_left_to_do_is_a_query(
    world: World, settings: Settings, django_assert_num_queries: Any
) -> None:
    settings.FIELD_ENCRYPTION_OLD_KEY = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = "the new key"
    world.variable.save()
    left = {str(field): field.left().count() for field in secret_fields()}
    assert left["Stack variables (value)"] == 2
    assert sum(left.values()) == len(list(places())) - 1
    call_command("rotate_encryption_key", stdout=StringIO())
    fields = list(secret_fields())
    # Two counts and an empty batch for each field, however many rows, after a look at the tables.
    with django_assert_num_queries(3 * len(fields) + 1):
        call_command("rotate_encryption_key", stdout=StringIO())


# Dumps


def spellings(secret: str) -> set[str]:
    """Return what a value would look like in a dump, plain or in an encoding."""
    data = secret.encode()
    encoded = {
        base64.b64encode(b" " * shift + data).decode().rstrip("=")[4:-4] for shift in range(3)
    }
    return encoded | {secret, json.dumps(secret)[1:-1], quote(secret), data.hex(), secret[::-1]}


def dump(**options: Any) -> str:
    out = StringIO()
    call_command("dumpdata", stdout=out, **options)
    return out.getvalue()


@pytest.mark.on_postgresql
@pytest.mark.parametrize("format_", ["json", "jsonl", "xml"])
def test_no_secret_is_in_a_dump(world: World, token: str, format_: str) -> None:
    text = dump(format=format_)
    password = world.integration.read_webhook_secret().value
    for secret in (token, password, "token-of-another-link", *SECRETS.values()):
        assert [one for one in spellings(secret) if one in text] == [], secret
    for field, row in places():
        stored = read(field.model, field.name, row)
        assert base64.b64encode(stored).decode() not in text
    assert text.count(LEFT_OUT) == len(list(places()))


@pytest.mark.on_postgresql
def test_a_row_with_a_secret_is_not_loaded_from_a_dump(world: World) -> None:
    before = {place: read(place[0].model, place[0].name, place[1]) for place in places()}
    for field in secret_fields():
        for one in serializers.deserialize("json", serializers.serialize("json", field.all())):
            with pytest.raises(NotBound, match="can't be loaded from"), transaction.atomic():
                one.save()
    assert before == {place: read(place[0].model, place[0].name, place[1]) for place in places()}
