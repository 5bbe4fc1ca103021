"""Workers that are killed again and again: no delivery is lost, and no run is there twice."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import DeadlockDetected

from tests.databases import Database, copy_database, worker
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from tests.payloads import PAYLOADS
from tests.postgresql import PostgreSQL, needs_postgresql
from tests.processes import wait_for
from tests.repetitions import repeated

DELIVERIES = repeated(250)
KILLS = repeated(3)
ONE_PUSH = PAYLOADS / "git_push__one_commit.json"
NO_OBJECT = "0" * 40
TRACKED, PROPOSED = "tracked", "proposed"
# A run: of which stack, for what, and of which push (tracked) or commit (proposed).
RunKey = tuple[str, str, str]

LINK = """
import json, os, sys
from tests.builders import make_integration, make_repository, make_stack
from vcs_integrations.models import Repository
integration = make_integration(os.environ["ORGANIZATION"], os.environ["TOKEN"])
for stack in json.loads(os.environ["STACKS"]):
    repository = make_repository(integration, stack.pop("repository"))
    make_stack(repository, followed_position=0, **stack)
# What there is on paper only comes by deliveries.
Repository.objects.filter(stacks__path_rule=False).update(due_at="2100-01-01T00:00:00Z")
password = integration.read_webhook_secret().value
sys.stdout.write(json.dumps([integration.endpoint_url, password]))
"""
POST = """
import base64, os
from pathlib import Path
from urllib.parse import urlsplit
from django.test import Client
path = urlsplit(os.environ["ENDPOINT"]).path
secret = base64.b64encode((":" + os.environ["PASSWORD"]).encode()).decode()
client = Client(headers={"Authorization": "Basic " + secret})
for body in Path(os.environ["BODIES"]).read_bytes().splitlines():
    # What can't be stored now is sent again, as Azure DevOps does it.
    while (answer := client.post(path, body, content_type="application/json")).status_code == 503:
        pass
    assert answer.status_code == 200, answer.content
"""


@dataclass
class History:
    """What happened in an organization: its stacks, its webhooks, and the runs due to it."""

    stacks: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    runs: set[RunKey] = field(default_factory=set)
    heads: dict[str, str] = field(default_factory=dict)

    def follow(self, name: str, repository: str, branch: str, **behavior: object) -> None:
        self.stacks.append(
            {"name": name, "repository": repository, "branch": branch, "path_rule": False}
            | behavior
        )

    def expect(self, repository: str, branch: str, position: int, sha: str) -> None:
        """Note what a push means for the stacks of its repository, the pushes in their order."""
        for stack in self.stacks:
            if stack["repository"] != repository:
                continue
            if stack["branch"] == branch:
                self.runs.add((stack["name"], TRACKED, str(position)))
                self.heads[stack["name"]] = sha
            else:
                self.runs.add((stack["name"], PROPOSED, sha))


class Killed:
    """A linked organization whose webhooks arrive while its workers are killed."""

    def __init__(self, database: Database, organization: Organization, history: History) -> None:
        self.database = database
        token = organization.add_token({"vso.code_write"})
        linked = database.run(
            LINK, ORGANIZATION=organization.url, TOKEN=token, STACKS=json.dumps(history.stacks)
        )
        self.endpoint, self.password = json.loads(linked)

    def posting(self, history: History, folder: Path) -> AbstractContextManager[None]:
        """Post a history's webhooks meanwhile; all of them are stored at the end."""
        bodies = folder / "bodies"
        bodies.write_bytes(b"\n".join(history.bodies))
        return self.database.running(
            POST, ENDPOINT=self.endpoint, PASSWORD=self.password, BODIES=str(bodies)
        )

    def count(self, condition: str) -> int:
        rows = self.database.ask(
            f"SELECT count(*) FROM vcs_integrations_delivery WHERE {condition}"  # noqa: S608
        )
        return int(rows[0][0])

    def nothing_waits(self) -> bool:
        return self.count("due_at IS NOT NULL") == 0

    def end_leases(self) -> int:
        """Let the time come at which others take what was taken; return how much that is."""
        taken = self.count("lease_until > CURRENT_TIMESTAMP")
        self.database.ask(
            "UPDATE vcs_integrations_delivery SET lease_until = '2020-01-01 00:00:00+00:00' "
            "WHERE lease_until IS NOT NULL"
        )
        return taken

    @property
    def runs(self) -> list[RunKey]:
        return [
            (name, kind, str(position) if kind == TRACKED else sha)
            for name, kind, position, sha in self.database.ask(
                "SELECT s.name, r.kind, r.position, r.sha FROM stacks_run r "
                "JOIN stacks_stack s ON s.id = r.stack_id"
            )
        ]

    @property
    def heads(self) -> dict[str, str]:
        return dict(self.database.ask("SELECT name, head_sha FROM stacks_stack"))

    @property
    def rules(self) -> set[str]:
        return {rule for (rule,) in self.database.ask("SELECT DISTINCT rule FROM stacks_decision")}


@pytest.fixture
def repository(emulator: Emulator, organization: Organization) -> Repository:
    """Two subscriptions send everything that happens in it, which is held back until asked for."""
    emulator.deliveries.hold()
    project = organization.project("Platform Team")
    assert project
    for event in ("git.push", "git.pullrequest.created", "git.pullrequest.updated"):
        for _ in range(2):
            organization.add_subscription(project, event, "http://127.0.0.1:9/", password="-")
    made = project.add_repository("network", {"README.md": "# Network\n"})
    emulator.deliveries.drop()
    return made


@pytest.fixture
def history(emulator: Emulator, repository: Repository) -> History:
    """Some of it as people do it; most of it pushes without files."""
    history = History()
    happen_for_real(history, repository)
    happen_on_paper(history, repository.project, DELIVERIES // 2, branches_at_once=[1, 1, 2])
    history.bodies += [request.body for request in emulator.deliveries.take()]
    shuffled = random.Random(2)  # noqa: S311
    history.bodies += shuffled.choices(history.bodies, k=DELIVERIES - len(history.bodies))
    shuffled.shuffle(history.bodies)
    return history


def happen_for_real(history: History, repository: Repository) -> None:
    """Push to branches of a repository and open pull requests; half of it concerns a stack."""
    history.follow("By path", repository.id, "main", path_rule=True, project_root="lab")
    for number in range(20):
        folder = ("lab", "elsewhere")[number % 2]
        branch = "main" if number % 4 < 2 else f"topic/{number}"
        sha = repository.push({f"{folder}/{number}.tf": "#"}, branch)
        if folder == "lab":
            push = next(push for push in reversed(repository.pushes) if sha in push.commits)
            history.expect(repository.id, branch, push.id, sha)
        if branch != "main":
            repository.open_pull_request(branch, "main", "Please")
    history.heads["By path"] = repository.tip("main") or ""


def happen_on_paper(
    history: History, project: Project, pushes: int, branches_at_once: Sequence[int], hooks: int = 2
) -> None:
    """Push to repositories of which there are only the pushes, and webhooks of one hook or two."""
    chance = random.Random(1)  # noqa: S311
    repositories = [project.add_repository(f"paper {number}") for number in range(4)]
    for number, repository in enumerate(repositories):
        for branch in ("main", "release")[: 1 + number % 2]:
            history.follow(f"{branch} of {number}", repository.id, branch)
    payload = json.loads(ONE_PUSH.read_bytes())
    for number in range(1, pushes + 1):
        repository = chance.choice(repositories)
        sha = f"{number:040x}"
        branches = chance.sample(["main", "release", "topic"], chance.choice(branches_at_once))
        refs = [f"refs/heads/{branch}" for branch in branches] + ["refs/tags/v1"]
        position = repository.push_on_paper(dict.fromkeys(refs, sha)).id
        resource = payload["resource"]
        resource["pushId"] = position
        resource["repository"]["id"] = repository.id
        resource["commits"][0]["commitId"] = sha
        resource["refUpdates"] = [
            {"name": ref, "oldObjectId": NO_OBJECT, "newObjectId": sha} for ref in refs
        ]
        for subscription in range(1 + number % hooks):
            payload["subscriptionId"] = str(UUID(int=subscription + 1))
            payload["notificationId"] = position
            history.bodies.append(json.dumps(payload).encode())
        for branch in branches:
            history.expect(repository.id, branch, position, sha)


@pytest.fixture
def on_sqlite(tmp_path: Path, migrated: Path, emulator: Emulator) -> Database:
    url = copy_database(migrated, tmp_path / "data.sqlite3")
    return Database(url, AZURE_DEVOPS_SERVERS=emulator.url, ALLOWED_HOSTS="testserver")


@pytest.fixture
def on_postgresql(server: PostgreSQL, emulator: Emulator) -> Iterator[Database]:
    url = server.create("killed")
    yield Database(url, AZURE_DEVOPS_SERVERS=emulator.url, ALLOWED_HOSTS="testserver")
    server.drop("killed")


def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(
    on_sqlite: Database, organization: Organization, history: History, tmp_path: Path
) -> None:
    kill_again_and_again(Killed(on_sqlite, organization, history), history, tmp_path, beside=0)


@needs_postgresql
def test_a_killed_worker_beside_another_loses_nothing_and_doubles_nothing(
    on_postgresql: Database, organization: Organization, history: History, tmp_path: Path
) -> None:
    kill_again_and_again(Killed(on_postgresql, organization, history), history, tmp_path, beside=1)


@needs_postgresql
def test_two_workers_that_claim_the_same_make_one_run_of_it(
    on_postgresql: Database, organization: Organization, project: Project, tmp_path: Path
) -> None:
    history = History()
    happen_on_paper(history, project, repeated(50), branches_at_once=[1], hooks=1)
    killed = Killed(on_postgresql, organization, history)
    with killed.posting(history, tmp_path):
        pass

    def is_done() -> bool:
        with suppress(DeadlockDetected):  # a worker stores what it processed, in another order
            killed.end_leases()  # what one has in hand is the other's, too
        return killed.nothing_waits()

    with worker(on_postgresql), worker(on_postgresql):
        assert wait_for(is_done, repeated(900))
    assert sorted(killed.runs) == sorted(history.runs)
    assert killed.rules == {"tracked", "proposed", "no_branch"}  # none is the same push again


def test_what_a_killed_worker_had_claimed_is_processed_by_another_within_half_a_minute(
    on_sqlite: Database,
    organization: Organization,
    emulator: Emulator,
    repository: Repository,
    tmp_path: Path,
) -> None:
    history = History()
    history.follow("By path", repository.id, "main", path_rule=True)
    sha = repository.push({"main.tf": "#"})
    history.expect(repository.id, "main", repository.pushes[-1].id, sha)
    history.bodies = [emulator.deliveries.take()[0].body]
    killed = Killed(on_sqlite, organization, history)
    with killed.posting(history, tmp_path):
        pass
    emulator.faults.add("slow", seconds=60)
    with worker(on_sqlite) as process:
        assert wait_for(lambda: killed.count("lease_until > CURRENT_TIMESTAMP"))
        process.kill()
    emulator.faults.clear()
    with worker(on_sqlite):
        assert wait_for(killed.nothing_waits, 30)
    assert killed.runs == [*history.runs]


def kill_again_and_again(killed: Killed, history: History, folder: Path, beside: int) -> None:
    """Post everything, kill workers meanwhile while others go on, and compare the end."""
    chance = random.Random(3)  # noqa: S311
    taken = 0
    with killed.posting(history, folder), ExitStack() as others:
        for _ in range(beside):
            others.enter_context(worker(killed.database))
        for _ in range(KILLS):
            with worker(killed.database) as process:
                assert process.stdout
                assert process.stdout.readline() == "The background worker is running.\n"
                time.sleep(chance.uniform(0, 2))
                process.kill()
                assert "Traceback" not in process.stdout.read()
            taken += killed.end_leases()
    with worker(killed.database):
        assert wait_for(killed.nothing_waits, repeated(900))
    assert taken
    assert killed.count("TRUE") == DELIVERIES
    assert killed.count("outcome = 'stored'") == 0
    assert sorted(killed.runs) == sorted(history.runs)
    assert killed.heads == history.heads
