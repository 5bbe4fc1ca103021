"""Jobs on networks of their own: what they reach, and how these networks end."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.roles import Role
from config import environment
from stacks.execution.isolation import network
from stacks.execution.isolation.sandbox import Limits, has_processes, sandbox
from stacks.execution.output.logs import as_text
from stacks.lifecycle.actions import Action, act
from stacks.models import Stack
from stacks.rules.states import State
from tests.conftest import make_person
from tests.emulator.model import Repository
from tests.processes import KEYS, wait_for
from tests.processes import environment as environment_with
from tests.stacks.execution.conftest import THREE, log_of, pushed, work
from tests.stacks.execution.isolation.networks import PLACES, reached_places, why_not

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can build networks")
PROBES = """
resource "terraform_data" "probe" {{
  provisioner "local-exec" {{
    interpreter = ["bash", "-c"]
    command     = "! echo > /dev/tcp/127.0.0.1/{port}"
  }}
}}
"""
# A worker with one job, which goes on once there is a file `go`, and then connects to a port.
WORKER = """
import sys, django; django.setup()
from stacks.execution.isolation.sandbox import Limits, sandbox
connect = "until [ -e go ]; do sleep 0.1; done; echo > /dev/tcp/127.0.0.1/" + sys.argv[1]
with sandbox() as box:
    print(box.folder, box.user_id, flush=True)
    job = ["bash", "-c", connect + " && touch reached; sleep 1"]
    box.run(job, {}, print, lambda: False, Limits(60, outlives=sys.argv[2] == "outlives"))
"""


@pytest.fixture(autouse=True)
def found_out_again() -> Iterator[None]:
    """What is missing on a machine is found out once a process."""
    network.what_is_missing.cache_clear()
    yield
    network.what_is_missing.cache_clear()


@pytest.fixture(scope="session")
def can_isolate() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def reached(can_isolate: None) -> dict[str, list[str]]:
    return reached_places()


@AS_ROOT
@pytest.mark.without_resources
def test_everything_near_a_worker_can_be_reached_without_isolation(
    reached: dict[str, list[str]],
) -> None:
    assert reached["shared"] == sorted(PLACES)


@AS_ROOT
@pytest.mark.without_resources
@pytest.mark.parametrize(("place", "is_open"), PLACES.items())
def test_a_job_reaches_the_outside_world_stackhook_and_what_is_listed(
    reached: dict[str, list[str]], place: str, is_open: bool
) -> None:
    assert (place in reached["isolated"]) == is_open


def test_a_run_whose_state_stackhook_keeps_works_isolated(
    kept: Stack, repository: Repository, settings: Settings, can_isolate: None, db: None
) -> None:
    """Stackhook and the emulator listen on loopback, like the service that is not for jobs."""
    settings.RUN_NETWORK = "isolated"
    with socket.create_server(("127.0.0.1", 0)) as service:
        code = THREE + PROBES.format(port=service.getsockname()[1])
        run = pushed(kept, repository, {"main.tf": code})
        (planned,) = work()
        assert planned.state == State.UNCONFIRMED, as_text(log_of(run))
        act(planned, Action.CONFIRM, make_person("bob", Role.MEMBER), "")
        (applied,) = work()
    assert applied.state == State.FINISHED, as_text(log_of(run))
    assert kept.state_versions.get().resources == 4


@pytest.mark.without_resources
def test_steps_that_need_no_network_have_none(settings: Settings, can_isolate: None) -> None:
    settings.RUN_NETWORK = "isolated"
    with sandbox() as box:
        devices, _ = box.collect(["cat", "/proc/net/dev"], {}, lambda: False, 9999)
    names = [line.split(":")[0].strip() for line in devices.decode().splitlines()[2:]]
    assert [name for name in names if not name.startswith(("tun", "sit", "ip6"))] == ["lo"]


@contextmanager
def killed_worker(kind: str, port: int) -> Iterator[tuple[Path, int]]:
    """Kill a worker while its job waits; yield the workspace and the user of the job."""
    variables = KEYS | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "RUN_NETWORK": "isolated",
        "RUN_FOLDER": configured.RUN_FOLDER,
    }
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(port), kind],
        env=environment_with(**variables),
        cwd=configured.BASE_DIR,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout
        folder, user_id = worker.stdout.readline().split()
        waits = Path(folder, "output").exists
        assert wait_for(lambda: waits() and b"sleep\0" in commands_of(int(user_id)))
        worker.kill()
        worker.wait()
        yield Path(folder, "workspace"), int(user_id)


def commands_of(user_id: int) -> bytes:
    """Return the command lines of a user's processes."""
    found = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == user_id:
                found += (process / "cmdline").read_bytes()
        except OSError:
            continue
    return found


@AS_ROOT
@pytest.mark.without_resources
def test_an_apply_that_outlives_its_worker_keeps_its_network_to_its_end(can_isolate: None) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as stackhook,
        killed_worker("outlives", stackhook.getsockname()[1]) as (workspace, user_id),
    ):
        assert b"pasta" in commands_of(user_id)
        (workspace / "go").touch()
        assert wait_for((workspace / "reached").exists)
        assert wait_for(lambda: not has_processes(user_id))


@AS_ROOT
@pytest.mark.without_resources
def test_the_network_of_any_other_job_ends_with_its_worker(can_isolate: None) -> None:
    with killed_worker("ends", 9) as (_, user_id):
        assert wait_for(lambda: not has_processes(user_id))


@AS_ROOT
@pytest.mark.without_resources
def test_a_network_ends_with_its_job(settings: Settings, can_isolate: None) -> None:
    settings.RUN_NETWORK = "isolated"
    with sandbox() as box:
        assert box.user_id and box.network and box.network.prefix  # it is there
        assert b"pasta" in commands_of(box.user_id)
    assert commands_of(box.user_id) == b""


# Where it does not work


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stacks.execution.isolation.network.SYSTEM_PATH", str(tmp_path))


@pytest.mark.without_resources
def test_a_worker_that_must_isolate_networks_and_cannot_refuses_to_start(
    settings: Settings, nothing_installed: None
) -> None:
    settings.RUN_NETWORK = "isolated"
    with pytest.raises(CommandError, match=r"pasta and nft .* apt-get install passt nftables"):
        call_command("run_worker")


@pytest.mark.without_resources
def test_a_worker_that_must_isolate_networks_needs_bubblewrap(settings: Settings) -> None:
    settings.RUN_NETWORK = "isolated"
    settings.RUN_ISOLATION = "none"
    with pytest.raises(CommandError, match="RUN_ISOLATION=none isolates nothing"):
        call_command("run_worker")


@pytest.mark.without_resources
@pytest.mark.parametrize(
    ("device", "sentence"),
    [(None, "tun is missing; load the module"), (0o600, "run chmod 666 .*tun")],
)
def test_a_device_that_jobs_cannot_use_is_named(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    can_isolate: None,
    device: int | None,
    sentence: str,
) -> None:
    if device is not None:
        if os.getuid() != 0:
            pytest.skip("only the users of jobs are others")
        (tmp_path / "tun").touch(device)
    monkeypatch.setattr("stacks.execution.isolation.network.TUNNEL", tmp_path / "tun")
    settings.RUN_NETWORK = "isolated"
    with pytest.raises(network.NoNetwork, match=sentence):
        network.describe_network()


@pytest.mark.without_resources
def test_a_worker_that_may_share_its_network_says_so_and_why(
    settings: Settings, nothing_installed: None
) -> None:
    settings.RUN_NETWORK = "auto"
    assert "SHARED with this machine (pasta and nft" in network.describe_network()
    with sandbox() as box:
        assert box.network is None
    settings.RUN_NETWORK = "shared"
    assert "SHARED with this machine (RUN_NETWORK=shared)" in network.describe_network()


@pytest.mark.without_resources
def test_a_worker_whose_stackhook_has_no_ipv4_address_says_so(
    settings: Settings, can_isolate: None
) -> None:
    settings.RUN_NETWORK = "auto"
    settings.PUBLIC_URL = "http://[::1]:8000"
    assert "::1 has no IPv4 address" in network.describe_network()


@pytest.mark.without_resources
def test_networks_are_isolated_where_that_works(settings: Settings, can_isolate: None) -> None:
    settings.RUN_NETWORK = "auto"
    assert network.describe_network() == "Network of jobs: isolated"


@pytest.mark.without_resources
def test_a_failure_to_isolate_is_never_answered_by_sharing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, can_isolate: None
) -> None:
    """It worked at the worker's start, and then does not."""
    settings.RUN_NETWORK = "auto"
    network.describe_network()
    monkeypatch.setattr("stacks.execution.isolation.network.SET_UP", "exit 1")
    with pytest.raises(network.NoNetwork), sandbox() as box:
        box.run(["true"], {}, lambda _: None, lambda: False, Limits(20))


@pytest.mark.without_resources
def test_addresses_that_jobs_may_reach_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED", "10.1.2.3, 10.1.0.0/16,127.0.0.1:8080")
    assert environment.destinations("ALLOWED") == [
        (IPv4Network("10.1.2.3"), None),
        (IPv4Network("10.1.0.0/16"), None),
        (IPv4Network("127.0.0.1"), 8080),
    ]
