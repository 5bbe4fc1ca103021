"""What is not trusted runs in bubblewrap: what it can't see, and what it can't take."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as configured
from pytest_django import Settings

from config.management.commands.run_worker import tidy
from stacks.execution.isolation.sandbox import (
    USER_IDS,
    LimitReached,
    Limits,
    NotIsolated,
    Sandbox,
    Stopped,
    check_isolation,
    free_user,
    runs_folder,
    sandbox,
)
from tests.stacks.execution.conftest import commands_below
from tests.stacks.execution.isolation import networks

pytestmark = pytest.mark.without_resources

SECONDS = 60
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root gives each job its own user")

# Folders that nobody may read, in a path of over 20,000 bytes.
LEFT_OVERS = """exec perl -e '
my $name = "d" x 200;
for (1..100) { mkdir $name; chdir $name or die; open my $file, ">", "file" or die }
for (1..100) { chdir ".." or die; chmod 0, $name or die }
print "made"'"""


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with sandbox() as one:
        yield one


def run(box: Sandbox, script: str, limits: Limits | None = None, **variables: str) -> str:
    """Run a shell script to its end; return what it printed."""
    printed = bytearray()
    command = ["sh", "-c", script]
    box.run(command, variables, printed.extend, lambda: False, limits or Limits(SECONDS))
    return printed.decode(errors="replace")


def left_of(box: Sandbox) -> list[str]:
    """Return the command lines of what still runs in a sandbox."""
    return commands_below(box.folder)


def test_a_job_sees_nothing_of_its_worker(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret of another")
    database = configured.DATABASES["default"]["NAME"]
    places = f"{secret} {database} {configured.BASE_DIR} /root /home /var /run /etc/shadow"
    seen = run(
        box,
        f"env; tr '\\0' '\\n' < /proc/1/environ; cat /proc/*/environ /proc/*/cmdline {places};"
        f"ls -a {places}; ls {box.folder} {box.folder.parent}; ps ax",
        GIVEN="to the job",
    )
    assert "GIVEN=to the job" in seen
    assert "the secret of another" not in seen
    assert configured.SECRET_KEY not in seen
    assert "FIELD_ENCRYPTION_KEY" not in seen
    assert "pytest" not in seen.replace(str(tmp_path), "")
    assert "manage.py" not in seen
    for place in ("/root", "/home", "/var", "/run", "/etc/shadow", str(box.folder)):
        assert f"cannot access '{place}'" in seen


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_job_finds_the_certificates_that_the_operator_trusts(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    for name in ("0123abcd.0", "0123abcd.1", "key.pem"):
        (tmp_path / name).write_text(f"from {name}")
    trusted = tmp_path if is_folder else tmp_path / "0123abcd.0"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    path = box.certificates("SSL_CERT_FILE")["SSL_CERT_FILE"]
    expected = ["from 0123abcd.0", "from 0123abcd.1"] if is_folder else ["from 0123abcd.0"]
    assert run(box, f"cat {path}").splitlines() == expected


def test_a_job_has_namespaces_of_its_own(box: Sandbox) -> None:
    kinds = ("pid", "ipc", "mnt", "user", "uts")
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    ours = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    assert not set(run(box, script).split()) & set(ours)


def test_a_job_writes_its_own_folders_alone(box: Sandbox) -> None:
    places = "/new /usr/new /etc/new /dev/new /input/new /proc/new /workspace/new /tmp/new"
    script = f"touch {places}"
    said = run(box, script)
    refused = {line.split("'")[1] for line in said.splitlines()}
    assert refused == {"/new", "/usr/new", "/etc/new", "/dev/new", "/input/new", "/proc/new"}


@AS_ROOT
def test_a_job_is_a_user_of_its_own_without_rights(box: Sandbox) -> None:
    said = run(box, "id -u; grep -i ^cap /proc/self/status; grep NoNewPrivs /proc/self/status")
    user, *rights = said.split("\n")
    assert int(user) in USER_IDS
    assert {line.split()[-1] for line in rights if line.startswith("Cap")} == {"0" * 16}
    assert "NoNewPrivs:\t1" in rights
    with sandbox() as beside:
        assert beside.user_id != box.user_id


@AS_ROOT
def test_the_folder_of_a_job_is_readable_by_the_job_alone(box: Sandbox) -> None:
    box.provide("token", b"for the job alone")
    assert run(box, "umask 0; echo for the job alone > mine; ls; cat /input/token").endswith(
        "mine\nfor the job alone"
    )
    with sandbox() as beside:
        theirs = [f"--reuid={beside.user_id}", f"--regid={beside.user_id}", "--clear-groups"]
    for place in ("", "workspace", "workspace/mine", "tmp", "input", "input/token"):
        command = ["setpriv", *theirs, "--", "head", "-c", "1", str(box.folder / place)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "Permission denied" in done.stderr, place


def test_long_paths_and_folders_without_read_permission_are_removed(runs_folder: Path) -> None:
    with sandbox() as one:
        assert run(one, LEFT_OVERS) == "made"
        assert one.folder in runs_folder.iterdir()
    assert list(runs_folder.iterdir()) == []


def test_a_secret_is_in_no_command_line_of_the_machine(box: Sandbox) -> None:
    seen = b""

    def look() -> bool:
        nonlocal seen
        for one in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen += one.read_bytes()
            except OSError:
                continue
        return False

    variables = {"PASSWORD": "only-for-the-job"}
    box.run(["sleep", "1"], variables, lambda _: None, look, Limits(SECONDS))
    assert b"sleep" in seen
    assert b"only-for-the-job" not in seen


def test_variables_of_the_dynamic_linker_are_dropped(box: Sandbox) -> None:
    assert "LD_PRELOAD" not in run(box, "env", LD_PRELOAD="/workspace/evil.so")


# Limits


def test_memory_is_limited_for_one_process_and_for_all(box: Sandbox, settings: Settings) -> None:
    settings.RUN_MEMORY_MB = 256
    said = run(box, "head -c 300M /dev/zero | tail")
    assert "memory exhausted" in said
    part = "(head -c 90M /dev/zero; sleep 30) | tail"
    with pytest.raises(LimitReached, match="256 MB of memory"):
        run(box, " & ".join([part] * 5) + " & wait")
    assert left_of(box) == []


@pytest.mark.parametrize(
    "script",
    [
        "head -c 200M /dev/zero > one; head -c 200M /dev/zero > two; sleep 30",
        "exec 3> one; rm one; head -c 200M /dev/zero >&3; head -c 200M /dev/zero > two; sleep 30",
        "head -c 200M /dev/zero > /tmp/one; head -c 200M /dev/zero > two; sleep 30",
    ],
)
def test_disk_is_limited_also_for_files_without_a_name(
    box: Sandbox, settings: Settings, script: str
) -> None:
    settings.RUN_DISK_MB = 300
    with pytest.raises(LimitReached, match="300 MB of disk"):
        run(box, script)


def test_one_file_is_limited_by_the_kernel(box: Sandbox, settings: Settings) -> None:
    settings.RUN_DISK_MB = 20
    run(box, "head -c 100M /dev/zero > one", Limits(SECONDS, outlives=True))
    assert (box.folder / "workspace" / "one").stat().st_size <= 20 * 1024 * 1024


@AS_ROOT
def test_processes_are_limited_by_the_kernel(box: Sandbox, settings: Settings) -> None:
    settings.RUN_PROCESSES = 50
    said = run(box, "i=0; while [ $i -lt 100 ]; do sleep 3 & i=$((i + 1)); done")
    assert "annot fork" in said or "Resource temporarily unavailable" in said


def test_a_fork_bomb_leaves_nothing(box: Sandbox, settings: Settings) -> None:
    settings.RUN_PROCESSES = 50
    with pytest.raises(LimitReached):
        run(box, "bash -c 'bomb() { bomb | bomb & }; bomb; sleep 3'", Limits(2))
    assert left_of(box) == []


def test_time_is_limited_and_what_hides_in_the_background_ends_too(box: Sandbox) -> None:
    with pytest.raises(LimitReached, match="minutes"):
        run(box, "setsid sleep 60 & trap '' TERM INT; sleep 60", Limits(1))
    assert left_of(box) == []
    run(box, "setsid sleep 60 & true")
    assert left_of(box) == []


def test_a_job_that_is_not_wanted_ends_at_once(box: Sandbox) -> None:
    started = time.monotonic()
    with pytest.raises(Stopped):
        box.run(["sleep", "60"], {}, lambda _: None, lambda: True, Limits(SECONDS))
    assert time.monotonic() - started < 2
    assert left_of(box) == []


def test_an_apply_is_ended_by_its_time_alone_and_asked_first(box: Sandbox) -> None:
    printed = bytearray()
    script = "trap 'echo asked; exit 7' INT; for i in $(seq 100); do sleep 0.1; done"
    code = box.run(["sh", "-c", script], {}, printed.extend, lambda: True, Limits(1, outlives=True))
    assert (bytes(printed), code) == (b"asked\n", 124)


def test_a_link_that_a_job_left_is_not_followed_out(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret of another")
    links = f"ln -s {secret} plan; ln -s /etc/shadow lock; mkfifo pipe; ln -s {tmp_path} folder"
    run(box, f"{links}; mkdir data; echo a > data/file; ln -s file data/link")
    assert box.read_file("plan", 1000, lambda: False) == b""
    assert box.read_file("lock", 1000, lambda: False) == b""
    for name in ("plan", "lock", "pipe", "folder/secret", "data", "data/link", "data/none", "a/b"):
        assert box.read_at_once(name, 1000) == b""
    assert box.read_at_once("data/file", 1000) == b"a\n"


def test_a_large_file_that_a_job_left_is_not_read_whole(box: Sandbox) -> None:
    run(box, "truncate --size=1G plan")
    with pytest.raises(LimitReached, match="more than 1 MB"):
        box.read_at_once("plan", 1024 * 1024)


def test_commands_at_one_start_are_told_apart_whatever_they_print(box: Sandbox) -> None:
    noise = ["sh", "-c", r"head -c 9999 /dev/urandom; printf 'a\0b\n'; echo '$? %s' >&2; exit 7"]
    commands = [noise, ["printf", "%s", "it's $HOME"], ["none"], ["cat", "/proc/1/cmdline"]]
    first, second, third, last = box.collect_each(commands, lambda: False, 99_999)
    assert (len(first[0]), first[1]) == (9999 + 4, 7)
    assert (second, third) == ((b"it's $HOME", 0), (b"", 127))
    assert b"it's" in last[0].replace(b"'\"'\"'", b"'") and last[1] == 0


def test_commands_at_one_start_that_print_too_much_are_ended(box: Sandbox) -> None:
    with pytest.raises(LimitReached):
        box.collect_each([["true"], ["cat", "/dev/zero"]], lambda: False, 1000)


def test_more_output_than_fits_does_not_fill_the_disk(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stacks.execution.isolation.sandbox.PRINTED_LIMIT", 1024 * 1024)
    printed = 0

    def count(part: bytes) -> None:
        nonlocal printed
        printed += len(part)

    script = "for i in 1 2 3 4 5 6; do head -c 2M /dev/zero; sleep 0.4; done"
    box.run(["sh", "-c", script], {}, count, lambda: False, Limits(SECONDS))
    # What comes in the moment in which it is cut is lost, more of it on a busy machine.
    assert 8 * 1024 * 1024 < printed <= 12 * 1024 * 1024
    assert (box.folder / "output").stat().st_size < 4 * 1024 * 1024


# The worker


@AS_ROOT
def test_users_of_jobs_are_taken_once_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.execution.isolation.sandbox.USER_IDS", range(64800, 64802))
    with free_user() as first, free_user() as second:
        assert {first, second} == {64800, 64801}
        with pytest.raises(NotIsolated, match="Every user"), free_user():
            pass
    with free_user() as again:
        assert again == first


@pytest.mark.django_db
def test_tidying_removes_old_folders_of_any_depth_and_never_ends_the_worker(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = runs_folder / "job-of-a-worker-that-died"
    nest = "mkdir $ARGV[0]; chdir $ARGV[0]; for (1..3000) { mkdir 'd'; chdir 'd' or die }"
    subprocess.run(["perl", "-e", nest, str(old)], check=True)
    os.utime(old, (0, 0))
    tidy()
    assert list(runs_folder.iterdir()) == []

    stubborn = runs_folder / "job-that-stays"
    stubborn.mkdir()
    os.utime(stubborn, (0, 0))
    monkeypatch.setattr("stacks.execution.isolation.removal.SYSTEM_PATH", "/nowhere")
    tidy()
    (left,) = runs_folder.iterdir()
    assert f"Remove it by hand: {left}" in caplog.text
    runs_folder.chmod(0o777)  # as if somebody else took it over
    tidy()
    assert "Tidying failed" in caplog.text


def test_a_folder_of_somebody_else_is_refused(settings: Settings, tmp_path: Path) -> None:
    theirs = tmp_path / "runs"
    theirs.mkdir()
    theirs.chmod(0o777)
    settings.RUN_FOLDER = str(theirs)
    with pytest.raises(NotIsolated, match="RUN_FOLDER"):
        runs_folder()


def test_without_bubblewrap_the_worker_refuses_to_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stacks.execution.isolation.sandbox.SYSTEM_PATH", str(tmp_path))
    with pytest.raises(NotIsolated, match="RUN_ISOLATION=none"):
        check_isolation()
    settings.RUN_ISOLATION = "none"
    check_isolation()


def test_the_worker_says_so_on_its_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "run_worker"],
        env={"PATH": os.environ["PATH"], "RUN_ISOLATION": "chroot", "SECRET_KEY": "a",
             "FIELD_ENCRYPTION_KEY": "b"},
        cwd=configured.BASE_DIR, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "RUN_ISOLATION is 'chroot': use bubblewrap or none." in done.stderr


@AS_ROOT
def test_a_worker_that_is_not_root_isolates_as_well(runs_folder: Path) -> None:
    """The whole check, as the user nobody: its user namespace is all it needs."""
    own = runs_folder / "of-nobody"
    own.mkdir()
    os.chown(own, 65534, 65534)
    script = (
        "import os, django; django.setup()\n"
        "from stacks.execution.isolation.sandbox import Limits, check_isolation\n"
        "from stacks.execution.isolation.sandbox import runs_folder, sandbox\n"
        "check_isolation()\n"
        "with sandbox() as box:\n"
        "    said, code = box.collect(['sh', '-c', 'id -u; ls /'], {}, lambda: False, 9999)\n"
        "    assert 'workspace' in said.decode() and 'root' not in said.decode(), said\n"
        "    many = 'i=0; while [ $i -lt 100 ]; do sleep 3 & i=$((i + 1)); done'\n"
        "    said, code = box.collect(['sh', '-c', many + ' 2>&1'], {}, lambda: False, 9999)\n"
        "    assert 'fork' in said.decode(), said\n"
        f"    said, code = box.collect(['sh', '-c', {LEFT_OVERS!r}], {{}}, lambda: False, 9999)\n"
        "    assert said == b'made' and box.folder.stat().st_mode & 0o777 == 0o700, said\n"
        "    assert box.folder in runs_folder().iterdir()\n"
        "    connected = bytearray()\n"
        "    who = ['sh', '-c', 'id -u; grep ^Cap /proc/self/status']\n"
        "    box.run(who, {}, connected.extend, lambda: False, Limits(60))\n"
        "    assert connected.startswith(b'65534\\n'), connected\n"
        "    assert connected.count(b'\\t0000000000000000\\n') == 5, connected\n"
        "assert list(runs_folder().iterdir()) == []\n"
    )
    variables = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": "a",
        "FIELD_ENCRYPTION_KEY": "b",
        "RUN_PROCESSES": "50",
        "RUN_FOLDER": str(own),
        "RUN_NETWORK": "shared" if networks.why_not() else "isolated",
        "PYTHONPATH": ":".join([str(configured.BASE_DIR), *sys.path]),
    }

    def as_nobody(python: str, script: str) -> "subprocess.CompletedProcess[str]":
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        return subprocess.run(
            [*nobody, python, "-c", script], env=variables, cwd="/", capture_output=True, text=True
        )

    for python in (sys.executable, "/usr/bin/python3"):
        if as_nobody(python, "import config.settings, django").returncode == 0:
            done = as_nobody(python, script)
            assert done.returncode == 0, done.stderr
            return
    pytest.skip("no Python here that another user may start")
