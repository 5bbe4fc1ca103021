"""The state that Stackhook keeps, as Terraform itself reads, locks and writes it."""

import base64
import io
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core.encryption import WrongKey
from stacks.execution.queue import claim_next, requeue_lost
from stacks.models import Backend, Run, Stack, StateLock, StateVersion
from stacks.rules.states import ENDED, Kind, State
from stacks.tfstate.backend import address_of
from stacks.tfstate.credentials import issue_credential, limit_apply, username_of
from tests.builders import make_run, make_stack
from tests.conftest import over_https
from tests.test_secrets import database_text, holds, logged
from vcs_integrations.models import Integration

TERRAFORM = shutil.which("terraform")
CODE = """
terraform {
  backend "http" {}
}
variable "input" { sensitive = true }
resource "terraform_data" "network" { input = var.input }
"""
SECRET = "a-password-that-terraform-keeps-in-its-state"
LINEAGE = "0b1c"


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def run(stack: Stack) -> Run:
    """A run of the tracked branch that applies."""
    return make_run(stack, 1, state=State.APPLYING)


# Over HTTP


class Program:
    """What a run starts: it knows the run's password."""

    def __init__(self, run: Run, password: str | None = None) -> None:
        self.run = run
        self.password = password or issue_credential(run)
        self.client = over_https()

    def send(
        self, method: str, body: Any = "", query: str = "", username: str = "", **more: Any
    ) -> Any:
        pair = f"{username or username_of(self.run)}:{self.password}".encode()
        return self.client.generic(
            method,
            f"/stacks/{self.run.stack.slug}/state/{query}",
            body if isinstance(body, str | bytes) else json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Basic {base64.b64encode(pair).decode()}"},
            **more,
        )

    def lock(self, lock_id: str = "one") -> Any:
        return self.send("LOCK", {"ID": lock_id, "Operation": "OperationTypeApply", "Who": "me"})

    def write(self, content: Any, lock_id: str = "one") -> Any:
        return self.send("POST", content, f"?ID={lock_id}")


def lose(run: Run) -> None:
    """Requeue a run whose worker does not renew its lease any more."""
    limit_apply(run, timedelta(minutes=5))
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    requeue_lost()


def state(serial: int, lineage: str = LINEAGE, **more: Any) -> dict[str, Any]:
    return {"version": 4, "serial": serial, "lineage": lineage} | more


def test_there_is_no_state_at_first(run: Run) -> None:
    assert Program(run).send("GET").status_code == 204


def test_what_is_written_is_read_again_and_every_version_is_kept(run: Run) -> None:
    program = Program(run)
    assert program.lock().status_code == 200
    resources = [
        {"mode": "managed", "instances": [{}, {}]},
        {"mode": "data", "instances": [{}]},
        {"mode": "managed", "instances": [{}]},
        {"mode": "managed"},
        "nonsense",
    ]
    for serial in (1, 2, 5):
        text = json.dumps(state(serial, terraform_version="1.11.4", resources=resources))
        assert program.write(text).status_code == 200
        answer = program.send("GET")
        assert (answer.content.decode(), answer["Content-Type"]) == (text, "application/json")
        assert "no-store" in answer["Cache-Control"]
    versions = StateVersion.objects.all()
    assert [(one.number, one.serial) for one in versions] == [(3, 5), (2, 2), (1, 1)]
    newest = versions[0]
    assert (newest.run, newest.lineage, newest.tool_version) == (run, LINEAGE, "1.11.4")
    assert (newest.resources, newest.size) == (3, len(text))
    assert json.loads(versions[2].read())["serial"] == 1


@pytest.mark.on_postgresql
def test_a_state_that_comes_twice_is_kept_once(run: Run) -> None:
    program = Program(run)
    program.lock()
    assert [program.write(state(1)).status_code for _ in range(2)] == [200, 200]
    assert StateVersion.objects.count() == 1


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("second", "why"),
    [
        (state(3, outputs={}), "A newer state is stored: serial 3."),
        (state(2), "A newer state is stored: serial 3."),
        (state(4, lineage="other"), "its lineage is another one"),
    ],
)
def test_a_state_that_would_hide_a_newer_one_is_refused(
    run: Run, second: dict[str, Any], why: str
) -> None:
    program = Program(run)
    program.lock()
    program.write(state(3))
    answer = program.write(second)
    assert answer.status_code == 409
    assert why in answer.content.decode()
    assert StateVersion.objects.count() == 1


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        state(-1),
        state(True),
        state(2**63),
        state(1, lineage=""),
        state(1, lineage="a\0b"),
        {"serial": 1},
        {"lineage": "a"},
        {"serial": "1", "lineage": "a"},
    ],
)
def test_what_is_no_state_is_refused(run: Run, content: Any) -> None:
    program = Program(run)
    program.lock()
    answer = program.write(content)
    assert answer.status_code == 400
    assert answer.content.decode().startswith("Invalid state: ")
    assert not StateVersion.objects.exists()


@pytest.mark.on_postgresql
def test_odd_words_in_a_state_harm_nothing(run: Run) -> None:
    program = Program(run)
    program.lock()
    odd = state(1, terraform_version=["\ud800"], resources={"a": 1})
    assert program.write(odd).status_code == 200
    assert StateVersion.objects.get().resources == 0


def test_a_state_may_be_large_but_not_endless(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(run)
    program.lock()
    large = state(1, outputs={"a": "x" * 5_000_000})  # more than a form may have
    assert program.write(large).status_code == 200
    monkeypatch.setattr("stacks.tfstate.backend.LARGEST_STATE", 1024 * 1024)
    answer = program.write(state(2, outputs={"a": "x" * 1024 * 1024}))
    assert answer.status_code == 413
    assert answer.content.decode() == "A state has at most 1 MB.\n"


def test_a_deleted_state_is_gone_for_terraform_and_kept_by_us(run: Run) -> None:
    program = Program(run)
    assert program.send("DELETE").status_code == 409
    program.lock()
    program.write(state(7))
    assert [program.send("DELETE").status_code for _ in range(2)] == [200, 200]
    assert program.send("GET").status_code == 204
    assert program.write(state(1, lineage="new")).status_code == 200
    assert [one.serial for one in StateVersion.objects.all()] == [1, 7, 7]


# Locks


@pytest.mark.on_postgresql
def test_of_many_who_lock_at_once_one_succeeds(site: str, run: Run) -> None:
    password = issue_credential(run)

    def lock(lock_id: str) -> int:
        answer = requests.request(
            "LOCK",
            address_of(run.stack),
            auth=(username_of(run), password),
            json={"ID": lock_id},
            timeout=600,
        )
        return answer.status_code

    ids = ["one", "two", "three", "four", "five", "six"]
    with ThreadPoolExecutor(len(ids)) as pool:
        statuses = list(pool.map(lock, ids))
    assert sorted(statuses) == [200, *[423] * 5]
    assert StateLock.objects.get().lock_id == ids[statuses.index(200)]


@pytest.mark.on_postgresql
def test_who_comes_second_learns_who_holds_the_lock(run: Run) -> None:
    first = Program(run)
    assert first.lock("one").status_code == 200
    assert first.lock("one").status_code == 200  # sent again, as the answer was lost
    lose(run)
    second = Program(make_run(run.stack, 2, state=State.PLANNING))
    answer = second.lock("two")
    assert answer.status_code == 423
    assert answer.json()["ID"] == "one"
    assert second.send("UNLOCK", {"ID": "one"}).status_code == 409
    assert second.send("UNLOCK").status_code == 409
    assert first.send("UNLOCK", {"ID": "two"}).status_code == 409
    assert StateLock.objects.get().lock_id == "one"
    assert first.send("UNLOCK", {"ID": "one"}).status_code == 200
    assert second.lock("two").status_code == 200
    assert second.lock("three").status_code == 423
    for _ in range(2):
        assert second.send("UNLOCK", {"ID": "two"}).status_code == 200


@pytest.mark.on_postgresql
def test_a_lock_holds_one_stack_only(run: Run, linked: Integration) -> None:
    other = make_run(make_stack(linked, "Other"), 1, state=State.APPLYING)
    assert Program(run).lock().status_code == 200
    assert Program(other).lock().status_code == 200


@pytest.mark.on_postgresql
@pytest.mark.parametrize("lock_id", ["", "two"])
def test_a_state_is_written_only_under_its_lock(run: Run, lock_id: str) -> None:
    program = Program(run)
    assert program.write(state(1), lock_id).status_code == 409
    program.lock("one")
    answer = program.write(state(1), lock_id)
    assert answer.status_code == 409
    assert answer.json()["ID"] == "one"
    assert not StateVersion.objects.exists()


@pytest.mark.on_postgresql
def test_the_lock_of_another_run_is_no_leave_to_write(run: Run) -> None:
    first = Program(run)
    first.lock("one")
    first.write(state(1))
    lose(run)
    second = Program(make_run(run.stack, 2, state=State.APPLYING))
    assert second.write(state(2), "one").status_code == 409
    assert second.send("DELETE").status_code == 409
    assert StateVersion.objects.get().run == run


@pytest.mark.on_postgresql
@pytest.mark.parametrize("body", ["", "[]", "{", {"ID": ""}, {"ID": 1}, {"ID": "\0"}])
def test_a_lock_without_an_id_is_refused(run: Run, body: Any) -> None:
    assert Program(run).send("LOCK", body).status_code == 400


@pytest.mark.on_postgresql
def test_odd_words_in_a_lock_harm_nothing(run: Run) -> None:
    odd = {"ID": "one", "Who": "\ud800", "Info": {"a": 1}, "Else": "\0"}
    assert Program(run).send("LOCK", odd).status_code == 200
    assert StateLock.objects.get().info == {"ID": "one", "Who": "", "Info": ""}


# Who may do what


@pytest.mark.on_postgresql
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "LOCK", "UNLOCK"])
def test_a_wrong_password_is_401(run: Run, linked: Integration, method: str) -> None:
    make_stack(linked, "Other")
    password = issue_credential(run)
    other = Program(make_run(make_stack(linked, "Third"), 1, state=State.APPLYING))
    wrong = [
        Program(run, "wrong").send(method),
        Program(run, password).send(method, username=username_of(other.run)),
        Program(run, password).send(method, username="run-"),
        Program(run, password).send(method, username="run-" + "9" * 400),
        Program(run, password).send(method, username=str(run.pk) + "x"),
        Program(run, other.password).send(method),
        over_https().generic(method, "/stacks/network/state/"),
        over_https().generic(
            method, "/stacks/network/state/", headers={"Authorization": "Basic \u00e4"}
        ),
        over_https().generic(
            method, "/stacks/network/state/", headers={"Authorization": f"Bearer {password}"}
        ),
    ]
    for answer in wrong:
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Basic ")
    run.stack = Stack.objects.get(name="Other")
    assert Program(run, password).send(method).status_code == 401


def test_who_is_signed_in_is_led_to_the_page_and_reaches_no_state(admin: Client, run: Run) -> None:
    response = admin.get("/stacks/network/state/")
    assert (response.status_code, response["Location"]) == (302, "/stacks/network/state/versions/")
    wrong = {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}
    assert admin.get("/stacks/network/state/", headers=wrong).status_code == 401
    assert admin.post("/stacks/network/state/", b"{}", "application/json").status_code == 401


@pytest.mark.on_postgresql
def test_a_tracked_plan_reads_and_locks_and_does_not_write(run: Run) -> None:
    applying = Program(run)
    applying.lock()
    applying.write(state(1))
    applying.send("UNLOCK", {"ID": "one"})
    Run.objects.update(state=State.FINISHED)
    planning = Program(make_run(run.stack, 2, state=State.PLANNING))
    assert planning.send("GET").status_code == 200
    assert planning.lock("two").status_code == 200
    assert planning.write(state(2), "two").status_code == 403
    assert planning.send("DELETE").status_code == 403
    assert planning.send("UNLOCK", {"ID": "two"}).status_code == 200
    assert StateVersion.objects.count() == 1


@pytest.mark.parametrize("kind", [Kind.PROPOSED, Kind.DRIFT])
@pytest.mark.parametrize("phase", [State.PREPARING, State.PLANNING])
def test_a_proposed_run_reads_the_state_and_changes_nothing(
    run: Run, phase: State, kind: Kind
) -> None:
    applying = Program(run)
    applying.lock("one")
    applying.write(state(1))
    about = {"operation": "refresh_only", "origin": "person"} if kind == Kind.DRIFT else {}
    proposed = Program(make_run(run.stack, 2, kind=kind, state=phase, **about))
    assert proposed.send("GET").status_code == 200
    for _ in range(2):  # the second time nothing is locked
        for answer in (
            proposed.lock("two"),
            proposed.lock("one"),
            proposed.send("UNLOCK", {"ID": "one"}),
            proposed.send("UNLOCK"),
            proposed.write(state(2), "one"),
            proposed.send("DELETE"),
        ):
            assert answer.status_code == 403
            assert answer.content.decode() == f"A {kind} run may only read the state.\n"
        StateLock.objects.filter(lock_id="one").delete()
    assert not StateLock.objects.exists()
    assert StateVersion.objects.count() == 1


@pytest.mark.parametrize("ended", sorted(ENDED | {State.QUEUED, State.UNCONFIRMED}))
def test_a_password_ends_with_its_run(run: Run, ended: State) -> None:
    program = Program(run)
    assert program.send("GET").status_code == 204
    Run.objects.update(state=ended)
    for method in ("GET", "POST", "DELETE", "LOCK", "UNLOCK"):
        answer = program.send(method, "{}")
        assert answer.status_code == 403
        assert answer.content.decode() == "Run 1 does not run, so its password does not hold.\n"


def test_a_run_whose_state_is_elsewhere_reaches_none_that_was_kept_before(run: Run) -> None:
    program = Program(run)
    program.lock()
    assert program.write(state(1)).status_code == 200
    assert program.send("UNLOCK", {"ID": "one"}).status_code == 200
    Stack.objects.update(backend=Backend.OWN)
    run.refresh_from_db()
    program = Program(run)
    for method in ("GET", "POST", "DELETE", "LOCK", "UNLOCK"):
        answer = program.send(method, json.dumps({"ID": "one"}))
        assert answer.status_code == 404
        assert answer.content.decode() == "Stackhook does not keep the state of Network.\n"
    assert StateVersion.objects.count() == 1
    assert not StateLock.objects.exists()


def test_a_new_password_ends_the_old_one(run: Run) -> None:
    old = Program(run)
    new = Program(run)
    assert old.send("GET").status_code == 401
    assert new.send("GET").status_code == 204


def test_the_password_of_a_lost_attempt_does_not_hold_for_the_next(run: Run) -> None:
    Run.objects.update(state=State.PLANNING)
    program = Program(run)
    lose(run)
    assert program.send("GET").status_code == 403
    assert claim_next("another worker") == run
    assert program.send("GET").status_code == 401


@pytest.mark.on_postgresql
def test_what_a_lost_planning_had_locked_is_free(run: Run) -> None:
    Run.objects.update(state=State.PLANNING)
    run.refresh_from_db()
    Program(run).lock("one")
    again = Program(run)  # its worker died, another one plans it again
    assert again.lock("two").status_code == 200
    Run.objects.update(state=State.CANCELED)
    after = Program(make_run(run.stack, 2, state=State.PLANNING))
    assert after.lock("three").status_code == 200


@pytest.mark.on_postgresql
def test_what_a_lost_workers_apply_did_is_kept_under_the_lock_that_it_held(run: Run) -> None:
    """The worker may be gone from sight and Terraform still at work."""
    program = Program(run)
    program.lock("one")
    program.write(state(1))
    lose(run)
    after = Program(make_run(run.stack, 2, state=State.APPLYING))
    assert after.lock("two").status_code == 423
    assert program.send("GET").status_code == 200
    assert program.write(state(2)).status_code == 200
    assert program.send("UNLOCK", {"ID": "one"}).status_code == 200
    for answer in (program.send("GET"), program.lock("one"), program.write(state(3))):
        assert answer.status_code == 403
    assert after.lock("two").status_code == 200
    assert program.write(state(3), "two").status_code == 403


@pytest.mark.on_postgresql
def test_a_lost_workers_apply_that_holds_no_lock_is_over(run: Run) -> None:
    program = Program(run)
    lose(run)
    for answer in (program.send("GET"), program.lock(), program.write(state(1))):
        assert answer.status_code == 403


@pytest.mark.on_postgresql
def test_a_lost_workers_apply_keeps_its_lock_until_its_time_limit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(run)
    program.lock("one")
    lose(run)
    assert program.write(state(1)).status_code == 200
    later = timezone.now() + timedelta(minutes=5)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    for answer in (program.send("GET"), program.write(state(2)), program.send("UNLOCK")):
        assert answer.status_code == 403
    assert StateVersion.objects.get().serial == 1


@pytest.mark.on_postgresql
@pytest.mark.parametrize("ended", [State.FINISHED, State.FAILED])
def test_a_lock_taken_in_the_last_moment_does_not_keep_a_password(run: Run, ended: State) -> None:
    program = Program(run)
    program.write(state(1))
    limit_apply(run, timedelta(minutes=5))
    program.lock("one")
    Run.objects.update(state=ended)
    for answer in (program.send("GET"), program.write(state(2)), program.send("DELETE")):
        assert answer.status_code == 403
    assert not StateVersion.objects.exists()


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("method", "body"), [("POST", state(1)), ("LOCK", {"ID": "two"}), ("UNLOCK", {"ID": "one"})]
)
@pytest.mark.parametrize("ending", ["run", "password"])
def test_a_request_under_way_changes_nothing_once_its_run_or_password_ended(
    run: Run, method: str, body: dict[str, Any], ending: str
) -> None:
    program = Program(run)
    if method != "LOCK":
        program.lock("one")

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if ending == "run":
                Run.objects.update(state=State.FINISHED)
            else:
                issue_credential(run)
            return super().read(size)

    content = json.dumps(body).encode()
    more: dict[str, Any] = {"wsgi.input": Slow(content)}
    answer = program.send(method, content, "?ID=one", **more)
    assert answer.status_code == (403 if ending == "run" else 401)
    assert not StateVersion.objects.exists()
    assert [one.lock_id for one in StateLock.objects.all()] == ["one"] * (method != "LOCK")


@pytest.mark.on_postgresql
def test_a_state_is_stored_as_bytes_that_reveal_nothing(run: Run) -> None:
    program = Program(run)
    program.lock()
    program.write(state(1, outputs={"password": SECRET}))
    with connection.cursor() as cursor:
        cursor.execute("SELECT packed FROM stacks_statecontent")
        stored = bytes(cursor.fetchone()[0])
    assert SECRET.encode() not in stored
    for start in range(len(stored) - 1):  # the state is compressed, then encrypted
        with pytest.raises(zlib.error):
            zlib.decompress(stored[start:])


@pytest.mark.on_postgresql
def test_a_state_stored_with_another_key_is_not_readable_and_says_so(
    run: Run, settings: Settings
) -> None:
    program = Program(run)
    program.lock()
    program.write(state(1))
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    answer = program.send("GET")
    assert answer.status_code == 500
    assert "Start Stackhook with the FIELD_ENCRYPTION_KEY" in answer.content.decode()
    with pytest.raises(WrongKey):
        StateVersion.objects.get().read()


# With Terraform


class Workspace:
    """A folder with code, in which the real Terraform runs for a run."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.run = folder, run
        folder.mkdir()
        (folder / "main.tf").write_text(CODE)
        self.password = issue_credential(run)

    def move_to(self, state: State) -> None:
        Run.objects.filter(pk=self.run.pk).update(state=state)
        self.run.refresh_from_db()
        self.password = issue_credential(self.run)

    def terraform(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        address = address_of(self.run.stack)
        assert TERRAFORM
        return subprocess.run(
            [TERRAFORM, *arguments],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
                "TF_CLI_ARGS": "-no-color",
                "TF_HTTP_ADDRESS": address,
                "TF_HTTP_LOCK_ADDRESS": address,
                "TF_HTTP_UNLOCK_ADDRESS": address,
                "TF_HTTP_USERNAME": username_of(self.run),
                "TF_HTTP_PASSWORD": self.password,
                "TF_HTTP_RETRY_MAX": "0",
                "TF_VAR_input": SECRET,
            },
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture
def workspace(site: str, tmp_path: Path, stack: Stack) -> Callable[[int], Workspace]:
    """Makes the workspace of a new run that plans; one tracked run at a time holds the stack."""
    if TERRAFORM is None:
        pytest.skip("There is no terraform here.")

    def make(number: int) -> Workspace:
        kind = Kind.TRACKED if number == 1 else Kind.PROPOSED
        run = make_run(stack, number, kind=kind, state=State.PLANNING)
        workspace = Workspace(tmp_path / str(number), run)
        done = workspace.terraform("init", "-input=false")
        assert done.returncode == 0, done.stderr
        return workspace

    return make


@pytest.mark.on_postgresql
def test_terraform_plans_applies_and_finds_no_changes_in_the_next_run(
    workspace: Callable[[int], Workspace], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    first = workspace(1)
    planned = first.terraform("plan", "-input=false", "-out=plan")
    assert "1 to add" in planned.stdout, planned.stderr
    first.move_to(State.APPLYING)
    applied = first.terraform("apply", "-input=false", "plan")
    assert "1 added" in applied.stdout, applied.stderr
    assert not StateLock.objects.exists()
    version = StateVersion.objects.get()
    assert (version.run, version.resources) == (first.run, 1)
    assert SECRET in version.read().decode()
    second = workspace(2)
    again = second.terraform("plan", "-input=false", "-lock=false", "-detailed-exitcode")
    assert (again.returncode, again.stderr) == (0, "")
    assert "No changes" in again.stdout
    secrets = [SECRET, first.password, second.password]
    assert holds(database_text(), secrets) == []
    assert holds(logged(caplog), secrets) == []


def test_terraform_destroys_and_the_earlier_state_is_kept(
    workspace: Callable[[int], Workspace],
) -> None:
    one = workspace(1)
    one.move_to(State.APPLYING)
    assert one.terraform("apply", "-input=false", "-auto-approve").returncode == 0
    assert one.terraform("destroy", "-input=false", "-auto-approve").returncode == 0
    versions = list(StateVersion.objects.all())
    assert versions[0].resources == 0
    assert [one.resources for one in versions if one.resources] == [1]
    assert SECRET in versions[-1].read().decode()


@pytest.mark.on_postgresql
def test_terraform_says_whose_lock_is_in_the_way_and_forces_only_its_own(
    workspace: Callable[[int], Workspace],
) -> None:
    first, second = workspace(1), workspace(2)
    held = Program(first.run, first.password)
    held.lock("held-by-the-first")
    refused = first.terraform("plan", "-input=false")
    assert refused.returncode == 1
    assert "HTTP remote state already locked: ID=held-by-the-first" in refused.stderr
    forced = second.terraform("force-unlock", "-force", "held-by-the-first")
    assert forced.returncode == 1
    assert StateLock.objects.exists()
    proposed = second.terraform("plan", "-input=false", "-lock=false")
    assert proposed.returncode == 0, proposed.stderr
    own = first.terraform("force-unlock", "-force", "held-by-the-first")
    assert own.returncode == 0, own.stderr
    assert first.terraform("plan", "-input=false").returncode == 0


@pytest.mark.on_postgresql
def test_terraform_is_refused_once_its_run_has_ended(
    workspace: Callable[[int], Workspace],
) -> None:
    one = workspace(1)
    Run.objects.update(state=State.CANCELED)
    refused = one.terraform("plan", "-input=false")
    assert refused.returncode == 1
    assert "HTTP remote state endpoint invalid auth" in refused.stderr
    one.password = "wrong"
    refused = one.terraform("plan", "-input=false")
    assert "HTTP remote state endpoint requires auth" in refused.stderr
