"""A rotation of the key that is killed while the product goes on loses nothing."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.databases import Database, copy_database
from tests.postgresql import PostgreSQL, needs_postgresql
from tests.processes import KEYS, running

FILL = """
from stacks.models import StackVariable
from tests.builders import make_stack, store_integration
from vcs_integrations.models import Credentials, WebhookSecret
integration = store_integration()
Credentials.objects.create(integration=integration, token="a token")
WebhookSecret.objects.create(integration=integration, digest="d", value="a password")
stack = make_stack(integration, "Network")
for number in range(400):
    StackVariable.objects.create(stack=stack, name=f"V{number}", value=f"value {number}")
"""
READ = """
import json, sys
from stacks.models import StackVariable
from vcs_integrations.models import Credentials, WebhookSecret
values = {one.name: one.value for one in StackVariable.objects.all()}
secrets = [Credentials.objects.get().token, WebhookSecret.objects.get().value]
sys.stdout.write(json.dumps([values, secrets]))
"""
GO_ON = """
import time
from stacks.models import StackVariable
for number in range(150):
    assert len({one.value for one in StackVariable.objects.all()}) == 400
    variable = StackVariable.objects.get(name=f"V{number}")
    variable.value = f"value {number}, changed"
    variable.save(update_fields=["value"])
    time.sleep(0.02)
"""
COMMAND = ("manage.py", "rotate_encryption_key")


@pytest.fixture
def on_sqlite(tmp_path: Path, migrated: Path) -> Database:
    return Database(copy_database(migrated, tmp_path / "data.sqlite3"))


@pytest.fixture
def on_postgresql(server: PostgreSQL) -> Iterator[Database]:
    yield Database(server.create("rotated"))
    server.drop("rotated")


def test_killed_again_and_again_it_loses_nothing_and_disturbs_nobody(on_sqlite: Database) -> None:
    kill_again_and_again(on_sqlite)


@needs_postgresql
def test_nor_does_it_on_postgresql(on_postgresql: Database) -> None:
    kill_again_and_again(on_postgresql)


def kill_again_and_again(database: Database) -> None:
    database.run(FILL)
    keys = {
        "FIELD_ENCRYPTION_KEY": "the new key",
        "FIELD_ENCRYPTION_OLD_KEY": KEYS["FIELD_ENCRYPTION_KEY"],
    }
    variables = database.variables | keys
    chance = random.Random(5)  # noqa: S311
    unlike_at_first = {value for (value,) in database.ask("SELECT value FROM stacks_stackvariable")}
    with database.running(GO_ON, **keys):
        for _ in range(3):
            with running(settings.BASE_DIR, *COMMAND, **variables) as process:
                assert process.stdout
                lines = iter(process.stdout.readline, "")
                assert any(line.startswith("Stack variables (value): 50 of ") for line in lines)
                time.sleep(chance.uniform(0, 0.02))
                process.kill()
                process.wait()
    left = {value for (value,) in database.ask("SELECT value FROM stacks_stackvariable")}
    assert 0 < len(left & unlike_at_first) < 400
    with running(settings.BASE_DIR, *COMMAND, **variables) as process:
        assert process.stdout
        said = process.stdout.read()
        assert process.wait() == 0
    assert said.endswith("FIELD_ENCRYPTION_OLD_KEY can be removed.\n")
    values, secrets = json.loads(database.run(READ, FIELD_ENCRYPTION_KEY="the new key"))
    assert values == {
        f"V{number}": f"value {number}" + ", changed" * (number < 150) for number in range(400)
    }
    assert secrets == ["a token", "a password"]
