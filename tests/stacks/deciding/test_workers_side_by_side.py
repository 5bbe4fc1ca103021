"""Two on PostgreSQL that start runs of one repository at the same moment."""

import json
from collections.abc import Iterator

import pytest

from tests.databases import Database
from tests.postgresql import PostgreSQL, needs_postgresql

LATE_PUSH = """
import json, sys
from threading import Event, Thread
from django.db import connection, transaction
from stacks.deciding.facts import Facts
from stacks.deciding.intake import Batch, Entry
from tests.builders import make_repository, make_stack, store_integration
from tests.postgresql import wait_for_lock
from vcs_integrations.providers.events import RefChanged, RemoteCommit

integration = store_integration(token="a token")
stack = make_stack(make_repository(integration, "r"), path_rule=False, followed_position=1)

def batch(position):
    commit = RemoteCommit(f"{position:040x}", "A change", "Ann", None)
    push = RefChanged("r", position, "refs/heads/main", "", commit.sha, commit=commit)
    made = Batch(integration, "r")
    made.add(Entry([push], Facts(integration)))
    return made

batches = {position: batch(position) for position in (8, 10, 9)}
with transaction.atomic():
    batches[8].store()
is_stored, may_end = Event(), Event()

def store_the_newest():
    with transaction.atomic():
        batches[10].store()
        is_stored.set()
        may_end.wait()
    connection.close()

def store_the_late_one():
    with transaction.atomic():
        batches[9].store()
    connection.close()

newest, late = Thread(target=store_the_newest), Thread(target=store_the_late_one)
newest.start()
is_stored.wait()
late.start()
wait_for_lock(late)
may_end.set()
newest.join()
late.join()
stack.refresh_from_db()
states = dict(stack.runs.values_list("position", "state"))
json.dump([stack.head_position, states], sys.stdout)
"""

RETRY = """
import json, sys
from threading import Event, Thread
from django.db import connection, transaction
from accounts.models import User
from stacks.lifecycle.actions import Action, act
from stacks.lifecycle.triggering import head_of, trigger
from stacks.models import Run
from stacks.rules.states import Kind, Origin, State
from tests.builders import make_repository, make_run, make_stack, store_integration
from tests.postgresql import wait_for_lock
from vcs_integrations.models import Repository

repository = make_repository(store_integration(token="a token"), "r")
stack = make_stack(repository, head_sha="a" * 40, head_position=1)
make_run(stack, 1, kind=Kind.PROPOSED, state=State.FAILED)
bob = User.objects.create_user("bob")
is_locked, may_start = Event(), Event()

def trigger_one():
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        is_locked.set()
        may_start.wait()
        trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.SCHEDULE)
    connection.close()

def retry():
    act(Run.objects.get(number=1), Action.RETRY, bob, "")
    connection.close()

triggering, retrying = Thread(target=trigger_one), Thread(target=retry)
triggering.start()
is_locked.wait()
retrying.start()
wait_for_lock(retrying)
may_start.set()
triggering.join()
retrying.join()
json.dump(list(stack.runs.order_by("number").values_list("number", "origin")), sys.stdout)
"""


@pytest.fixture
def on_postgresql(server: PostgreSQL) -> Iterator[Database]:
    yield Database(server.create("beside"))
    server.drop("beside")


@needs_postgresql
def test_a_late_push_that_waited_for_a_newer_one_is_superseded(on_postgresql: Database) -> None:
    head, states = json.loads(on_postgresql.run(LATE_PUSH))
    assert head == 10
    assert states == {"8": "superseded", "9": "superseded", "10": "queued"}


@needs_postgresql
def test_a_retry_waits_for_whatever_else_starts_a_run(on_postgresql: Database) -> None:
    runs = json.loads(on_postgresql.run(RETRY))
    assert runs == [[1, "push"], [2, "schedule"], [3, "push"]]
