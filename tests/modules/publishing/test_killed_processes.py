"""Processes that are really killed while they publish: each version once, or not at all."""

import shutil
import tempfile
from pathlib import Path

import pytest
from django.conf import settings

from tests.databases import Database, copy_database
from tests.emulator.model import Organization, Repository
from tests.postgresql import PostgreSQL, needs_postgresql
from tests.processes import running, wait_for
from tests.stacks.execution.conftest import commands_below
from tests.stacks.execution.tools.terraforms import installed, packaged

# A process for each query of the end of a check: it is killed before it, and another one ends it.
# The last one comes to the end. Prints how many were killed.
KILL_AT_EACH_QUERY = """
import os, signal, sys
from django.db import connection
from django.utils import timezone
from modules.models import ArchiveChunk, Archive, Check, ModuleVersion
from modules.publishing import queue
from modules.publishing.ending import Publication, end
from stacks.models import Report
from tests.builders import make_check, make_module, make_version, store_integration
PUBLICATION = Publication(b"0123456789" * 300_000, "<p>Read me</p>", {"inputs": []})
module = make_module(store_integration())

def publish(killed_at):
    def query(execute, *arguments):
        nonlocal killed_at
        if killed_at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        killed_at -= 1
        return execute(*arguments)
    check = queue.claim_next()
    with connection.execute_wrapper(query):
        end(check, [], PUBLICATION, "log")

def is_killed_at(point):
    connection.close()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        publish(point)
        connection.close()
    except BaseException as error:
        sys.stderr.write(repr(error))
        os._exit(1)
    os._exit(0)

point, is_over = 0, False
while not is_over:
    for model in (ModuleVersion, Check, Archive, Report):
        model.objects.all().delete()
    versions = [make_version(module, number, state="waiting") for number in ("1.0.0", "1.0.1")]
    make_check(module, versions[0].sha, due_at=timezone.now())
    is_over = not is_killed_at(point)
    states = set(ModuleVersion.objects.values_list("state", flat=True))
    stored = (Archive.objects.count(), ArchiveChunk.objects.count())
    # Both or none, and nothing is left of a publication that did not happen.
    assert (states, stored) in [({"waiting"}, (0, 0)), ({"published"}, (1, 3))], (point, states)
    assert not is_over or states == {"published"}, point
    Check.objects.exclude(lease_until=None).update(lease_until=timezone.now())
    if not is_over:
        publish(-1)
    assert set(ModuleVersion.objects.values_list("state", flat=True)) == {"published"}, point
    assert (Archive.objects.count(), ArchiveChunk.objects.count()) == (1, 3), point
    assert Report.objects.count() == 1, point
    assert queue.claim_next() is None, point
    point += 1
sys.stdout.write(str(point - 1))
"""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def test_a_process_that_is_killed_while_it_publishes_did_it_or_did_not(
    kind: str, tmp_path: Path, migrated: Path, request: pytest.FixtureRequest
) -> None:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    if kind == "postgresql":
        server: PostgreSQL = request.getfixturevalue("server")
        url = server.create("killed_while_publishing")
    killed = int(Database(url).run(KILL_AT_EACH_QUERY))
    assert killed > 8  # it was killed, indeed


STORE = """
import os
from django.utils import timezone
from tests.builders import make_check, make_integration, make_module, make_repository, make_version
integration = make_integration(os.environ["ORGANIZATION"], os.environ["TOKEN"])
module = make_module(make_repository(integration, os.environ["REPOSITORY"]))
make_version(module, state="waiting", sha=os.environ["SHA"])
make_check(module, os.environ["SHA"], due_at=timezone.now())
"""
FOUND = """
SELECT modules_moduleversion.state, modules_check.state, attempts,
  (SELECT count(*) FROM modules_archive), (SELECT count(*) FROM stacks_report)
FROM modules_moduleversion, modules_check
"""


def test_a_run_worker_that_is_killed_while_it_checks_leaves_the_version_to_the_next(
    tmp_path: Path, migrated: Path, organization: Organization, repository: Repository
) -> None:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    folder = Path(tempfile.mkdtemp(prefix="runs-"))
    folder.chmod(0o711)
    database = Database(
        url,
        AZURE_DEVOPS_SERVERS=organization.url.rpartition("/")[0],
        RUN_FOLDER=str(folder),
        TERRAFORM_BIN=installed() or packaged() or "",
        NO_PROXY="127.0.0.1,localhost",
    )
    token = organization.add_token({"vso.code_write"})
    about = {"ORGANIZATION": organization.url, "TOKEN": token, "REPOSITORY": repository.id}
    database.run(STORE, SHA=repository.sha("main"), **about)
    worker = ["manage.py", "run_worker"]
    try:
        with running(settings.BASE_DIR, *worker, **database.variables) as killed:
            begun = "SELECT 1 FROM modules_check WHERE state = 'running'"
            assert wait_for(lambda: database.ask(begun))
            killed.kill()
            killed.wait()
        assert database.ask(FOUND) == [("waiting", "running", 1, 0, 1)]
        assert wait_for(lambda: not commands_below(folder), 120)
        database.ask("UPDATE modules_check SET lease_until = '2020-01-01 00:00:00'")
        with running(settings.BASE_DIR, *worker, **database.variables):
            assert wait_for(lambda: database.ask(FOUND)[0][1] == "passed"), database.ask(FOUND)
        assert database.ask(FOUND) == [("published", "passed", 2, 1, 1)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
