"""Messages on PostgreSQL, where several store, post and delete at the same moment."""

import json
from collections.abc import Iterator

import pytest

from tests.databases import Database
from tests.postgresql import PostgreSQL, needs_postgresql

# A run moves, while an admin deletes one of those who are notified of it.
DELETION = """
import json, os, sys
from threading import Thread
from django.conf import settings
from django.db import connection, transaction
from accounts.models import User
from accounts.roles import Role
from notifications.models import Channel, Message, Subscription
from stacks.rules.states import State
from tests.builders import make_channel, make_run, make_stack, store_integration
from tests.conftest import make_person, signed_in
from tests.postgresql import wait_for_lock

settings.SENDS_EMAIL = True
admin = signed_in(make_person("alice", Role.ADMIN))
bob, channel = make_person("bob", Role.MEMBER), make_channel()
Subscription.objects.create(person=bob, events=["failed"])
run = make_run(make_stack(store_integration(), "Network"), state=State.PLANNING)
addresses = {
    "channel": f"{channel.get_absolute_url()}delete/",
    "person": f"/settings/people/{bob.pk}/remove/",
}

def delete():
    admin.post(addresses[os.environ["DELETED"]])
    connection.close()

deleting = Thread(target=delete)
with transaction.atomic():
    run.move_to(State.FAILED)
    deleting.start()
    wait_for_lock(deleting)
deleting.join()
run.refresh_from_db()
left = [message.target for message in Message.objects.all()]
targets = [str(one) for one in (*Channel.objects.all(), *User.objects.filter(username="bob"))]
json.dump([run.state, left, targets], sys.stdout)
"""


@pytest.fixture
def on_postgresql(server: PostgreSQL) -> Iterator[Database]:
    url = server.create("notified")
    variables = {"DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_DATABASE_URL": url}
    yield Database(url, **variables)
    server.drop("notified")


@needs_postgresql
@pytest.mark.parametrize(("deleted", "left"), [("channel", "bob"), ("person", "Ops")])
def test_a_run_moves_though_a_target_is_deleted_at_the_same_moment(
    on_postgresql: Database, deleted: str, left: str
) -> None:
    found = json.loads(on_postgresql.run(DELETION, DELETED=deleted))
    assert found == ["failed", [left], [left]]
