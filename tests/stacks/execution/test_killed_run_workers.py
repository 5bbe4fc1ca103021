"""Run workers that are killed: no plan is applied twice, no state is lost, every run ends."""

import json
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from django.conf import settings as configured

from tests.databases import Database, copy_database
from tests.emulator.model import Organization, Repository
from tests.processes import free_port, running, wait_for
from tests.repetitions import repeated
from tests.stacks.execution.conftest import commands_below

# In which state a worker is killed, and how many seconds after that began. The first four are in
# every state, and while as well as after something is applied.
POINTS = [
    ("preparing", 0.4),
    ("planning", 0.3),
    ("applying", 0.6),
    ("applying", 1.8),
    ("preparing", 0.0),
    ("preparing", 0.9),
    ("planning", 0.0),
    ("planning", 0.6),
    ("applying", 0.0),
    ("applying", 1.2),
][: repeated(4)]
SETTLED = "('finished', 'failed', 'discarded', 'canceled', 'superseded')"
LINK = """
import os
from tests.builders import make_integration, make_repository, make_stack
integration = make_integration(os.environ["ORGANIZATION"], os.environ["TOKEN"])
make_stack(make_repository(integration, os.environ["REPOSITORY"]), autodeploy=True)
"""
START = """
import os
from stacks.models import Stack
from tests.builders import make_run
make_run(Stack.objects.get(), sha=os.environ["SHA"])
"""
STATE = """
import sys
from stacks.models import Stack
newest = Stack.objects.get().state_versions.first()
sys.stdout.write(newest.read().decode() if newest else "{}")
"""


@pytest.fixture
def calls() -> Iterator[tuple[int, Counter[str]]]:
    """A port, and how often each line was sent to it: what code did when it was applied."""
    counted: Counter[str] = Counter()

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                counted[connection.recv(100).decode().strip()] += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()[1], counted
        listener.shutdown(socket.SHUT_RDWR)


def code(port: int, last: int) -> str:
    """Return code with a resource of each number up to the last, whose making takes a while."""
    return "\n".join(
        f"""resource "terraform_data" "r{number}" {{
  provisioner "local-exec" {{
    interpreter = ["bash", "-c"]
    command     = "exec 3<>/dev/tcp/127.0.0.1/{port}; echo r{number} >&3; sleep 1"
  }}
}}"""
        for number in range(1, last + 1)
    )


def test_killed_at_any_point_no_plan_is_applied_twice_and_no_state_is_lost(
    tmp_path: Path,
    migrated: Path,
    organization: Organization,
    repository: Repository,
    calls: tuple[int, Counter[str]],
) -> None:
    port, made = calls
    web = free_port()
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    folder = Path(tempfile.mkdtemp(prefix="runs-"))
    folder.chmod(0o711)
    database = Database(
        url,
        AZURE_DEVOPS_SERVERS=organization.url.rpartition("/")[0],
        PUBLIC_URL=f"http://127.0.0.1:{web}",
        PORT=str(web),
        WEB_CONCURRENCY="1",
        SECURE_SSL_REDIRECT="false",
        RUN_FOLDER=str(folder),
        RUN_NETWORK="auto",
        RUN_NETWORK_ALLOWED=f"127.0.0.1:{port}",
        NO_PROXY="127.0.0.1,localhost",
    )
    token = organization.add_token({"vso.code_write"})
    database.run(LINK, ORGANIZATION=organization.url, TOKEN=token, REPOSITORY=repository.id)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = ["-m", "gunicorn", "-c", "config/gunicorn.py", "config.wsgi"]
        stack.enter_context(running(configured.BASE_DIR, *server, **database.variables))
        assert wait_for(lambda: answers(f"http://127.0.0.1:{web}/healthz"))
        for number, (state, delay) in enumerate(POINTS, start=1):
            sha = repository.push({"main.tf": code(port, number)}, branch="main")
            database.run(START, SHA=sha)
            kill_worker(database, number, state, delay)
            # What an apply began that outlived its worker is brought to its end.
            assert wait_for(lambda: not commands_below(folder), 120)
            end_leases(database)
        sha = repository.push({"main.tf": code(port, len(POINTS))}, branch="main")
        database.run(START, SHA=sha)
        with running(configured.BASE_DIR, "manage.py", "run_worker", **database.variables):
            assert wait_for(lambda: unfinished(database) == 0, 300), states(database)
    assert set(made) == {f"r{number}" for number in range(1, len(POINTS) + 1)}
    assert set(made.values()) == {1}
    state_now = json.loads(database.run(STATE))
    assert {one["name"] for one in state_now["resources"]} == set(made)
    assert states(database)[-1] == (len(POINTS) + 1, "finished")


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=2).ok
    except requests.ConnectionError:
        return False


def kill_worker(database: Database, number: int, state: str, delay: float) -> None:
    """Start a worker, and kill it some time after a run came to a state."""
    reached = f"SELECT 1 FROM stacks_run WHERE number = {number} AND state = '{state}'"  # noqa: S608
    with running(configured.BASE_DIR, "manage.py", "run_worker", **database.variables) as worker:
        assert wait_for(lambda: database.ask(reached), 300), states(database)
        time.sleep(delay)
        worker.kill()
        worker.wait()


def end_leases(database: Database) -> None:
    database.ask(
        "UPDATE stacks_run SET lease_until = '2020-01-01 00:00:00' WHERE lease_until IS NOT NULL"
    )


def unfinished(database: Database) -> int:
    question = f"SELECT count(*) FROM stacks_run WHERE state NOT IN {SETTLED}"  # noqa: S608
    return int(database.ask(question)[0][0])


def states(database: Database) -> list[tuple[object, ...]]:
    return database.ask("SELECT number, state FROM stacks_run ORDER BY number")
