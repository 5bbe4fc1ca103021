"""Workers that are killed while they report: each commit gets its status, once."""

import random
import time
from functools import partial
from pathlib import Path

from tests.databases import Database, copy_database, worker
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.processes import wait_for
from tests.repetitions import repeated

KILLS = repeated(3)
COMMITS = 14 * KILLS  # so that some are left before the last kill
FOLLOW = """
import os
from tests.builders import make_integration, make_stack
integration = make_integration(os.environ["ORGANIZATION"], os.environ["TOKEN"])
make_stack(integration.repositories.get(), path_rule=False, followed_position=1)
"""


def test_a_killed_worker_loses_no_report_and_sends_nothing_twice(
    tmp_path: Path,
    migrated: Path,
    emulator: Emulator,
    organization: Organization,
    repository: Repository,
    token: str,
) -> None:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    database = Database(url, AZURE_DEVOPS_SERVERS=emulator.url)
    database.run(FOLLOW, ORGANIZATION=organization.url, TOKEN=token)
    shas = [repository.push({"a.tf": str(n)}, f"topic-{n}") for n in range(COMMITS)]
    # Slow enough that some are killed between a post and its answer.
    emulator.faults.add("slow", path="statuses", seconds=0.05)
    chance = random.Random(7)  # noqa: S311
    sent = 0
    for number in range(KILLS):
        with worker(database) as process:
            assert wait_for(partial(has_more, repository, sent), 300)
            time.sleep(chance.uniform(0, 0.4))
            process.kill()
            process.wait()
        # As if the time of its leases had passed.
        database.ask("UPDATE stacks_report SET lease_until = NULL")
        database.ask("UPDATE vcs_integrations_repository SET lease_until = NULL")
        sent = len(repository.statuses)
        assert sent < COMMITS, f"all was sent before kill {number}"
    emulator.faults.clear()
    with worker(database):
        assert wait_for(lambda: len(repository.statuses) == COMMITS, 300)
        assert wait_for(lambda: waiting(database) == 0, 300)
    sent_twice = [sha for sha in shas if len(repository.statuses[sha]) > 1]
    assert sent_twice == []
    assert {one.state for sha in shas for one in repository.statuses[sha]} == {"pending"}


def has_more(repository: Repository, than: int) -> bool:
    return len(repository.statuses) > than


def waiting(database: Database) -> int:
    return int(database.ask("SELECT count(*) FROM stacks_report WHERE state = 'waiting'")[0][0])
