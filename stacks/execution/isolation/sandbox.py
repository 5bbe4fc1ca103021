"""Run a command that is not trusted: isolate it with bubblewrap, limit it, and end it.

What a job may reach is the folder of its job, the system read-only, and a network (network.py),
which providers are downloaded through. A worker that is root gives each job a user of its own, for
which no limit is waived; another worker's jobs are users of their own in bubblewrap alone.
"""

import fcntl
import json
import logging
import os
import platform
import pwd
import select
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO

from django.conf import settings

from stacks.execution.isolation import cgroups, seccomp
from stacks.execution.isolation.network import Network, network_of_job
from stacks.execution.isolation.reading import read_beneath
from stacks.execution.isolation.removal import remove
from stacks.execution.isolation.system import MEGABYTE, SYSTEM_PATH
from stacks.execution.isolation.watching import Watch, descendants

logger = logging.getLogger(__name__)

# Users that nothing else on a machine has; the kernel counts processes by user.
USER_IDS = range(64700, 64764)
LOOK_EVERY = 0.1  # seconds
# More than the log keeps, and more than the plan of anybody's stack has as text.
PRINTED_LIMIT = 100 * MEGABYTE
COLLECT_SECONDS = 300
END_SECONDS = 10
# What is asked to end at its time limit is killed this many seconds later.
KILLED_AFTER = 60
PARTS_AT_ONCE = 8
PROGRAMS = ("bwrap", "prlimit", "setpriv", "timeout")
# What a program needs of /etc: names of hosts, certificates, the linker's cache.
ETC = (
    "ssl",
    "pki",
    "ca-certificates",
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "ld.so.cache",
    "alternatives",
)
PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class NotIsolated(Exception):
    """Jobs can't be isolated on this machine; the text says why and what to do."""


class LimitReached(Exception):
    """A job was ended because it exceeded a limit; the text says which."""


class Stopped(Exception):
    """A job was ended because nobody wants its result any more."""


@dataclass(frozen=True)
class Limits:
    """What a command may take. Seconds, bytes, numbers.

    With `outlives` only its own time limit ends it, and it continues when the worker dies.
    With `is_offline` it needs no network.
    """

    seconds: float
    outlives: bool = False
    is_offline: bool = False


class Sandbox:
    """The folder of one job, and the commands that are run in it.

    `folder` has three parts: `workspace`, which belongs to the job; `tmp`, its /tmp; and `input`,
    which it can only read. Nothing outside of a sandbox may follow a link in the first two, where
    the job could have put one.
    """

    def __init__(
        self, folder: Path, user_id: int | None, is_isolated: bool, network: Network | None = None
    ) -> None:
        self.folder = folder
        self.user_id = user_id
        self.is_isolated = is_isolated
        self.network = network
        self.watch = Watch([folder / "workspace", folder / "tmp"])
        for name in ("workspace", "tmp", "input"):
            (folder / name).mkdir()
        # Other jobs are other users, and read none of it.
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700)  # whatever the umask is
            if user_id is not None:
                os.chown(path, user_id, user_id)

    def path(self, part: str, name: str = "") -> str:
        """Return where a job sees a file of one part of its folder."""
        top = Path("/", part) if self.is_isolated else self.folder / part
        return str(top / name)

    def provide(self, name: str, content: bytes) -> str:
        """Let the job read a file, whose name may have folders; return its path there."""
        target, top = self.folder / "input" / name, self.folder / "input"
        for folder in reversed([one for one in target.parents if top in one.parents]):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # whatever the umask is
        target.write_bytes(content)
        target.chmod(0o644)
        return self.path("input", name)

    def program(self, path: Path, beside: Sequence[Path] = ()) -> str:
        """Return where a job finds a program of the operator; a copy, unless the system has it.

        `beside` are the files that it needs in its folder.
        """
        if not self.is_isolated or path.is_relative_to("/usr"):
            return str(path)
        folder = self.folder / "input" / "program"
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask is
        for file in (path, *beside):
            shutil.copyfile(file, folder / file.name)
            (folder / file.name).chmod(0o755)
        return self.path("input", f"program/{path.name}")

    def certificates(self, *names: str) -> dict[str, str]:
        """Return variables that lead to the operator's own certificate authorities, if any."""
        bundle = Path(os.environ.get("REQUESTS_CA_BUNDLE") or os.devnull)
        # In a folder, OpenSSL reads what `openssl rehash` named.
        files = sorted(bundle.glob("????????.[0-9]")) if bundle.is_dir() else [bundle]
        found = b"\n".join(file.read_bytes() for file in files if file.is_file())
        return dict.fromkeys(names, self.provide("certificates.pem", found)) if found else {}

    def read_file(self, name: str, most: int, is_unwanted: Callable[[], bool]) -> bytes:
        """Return a file that the job wrote into its workspace; empty if there is none.

        It is read inside, where a link leads nowhere that the job can't read anyway. Raises
        LimitReached when it is larger, and Stopped.
        """
        command = ["cat", "--", self.path("workspace", name)]
        content, code = self.collect(command, {}, is_unwanted, most)
        return b"" if code else content

    def read_at_once(self, name: str, most: int) -> bytes:
        """Return a file of the workspace to which no link leads, without a command that reads it.

        Empty if there is none, or if there is a link. Raises LimitReached when it is larger.
        """
        content = read_beneath(self.folder / "workspace", name, most + 1)
        if len(content) > most:
            raise LimitReached(f"It made a file of more than {most // MEGABYTE} MB.")
        return content

    def collect_each(
        self, commands: Sequence[Sequence[str]], is_unwanted: Callable[[], bool], most: int
    ) -> list[tuple[bytes, int]]:
        """Run commands one after the other as `collect` does, at one start, which takes long.

        Return what each printed, and its exit code. Raises LimitReached when they printed more
        than that many bytes together, and Stopped.
        """
        parts = [f"$parts/{number:03}" for number in range(len(commands))]
        script = [f"parts=$(mktemp -d -p {shlex.quote(self.path('tmp'))}) || exit"]
        script += [
            f'{shlex.join(one)} > "{part}"; echo $?'
            for one, part in zip(commands, parts, strict=True)
        ]
        # The lengths tell apart what was printed: anything may be in a file of the code.
        quoted = " ".join(f'"{part}"' for part in parts)
        script += [f"stat --format=%s {quoted} || exit", f"cat {quoted}", 'rm -r "$parts"']
        printed, code = self.collect(["sh", "-c", "\n".join(script)], {}, is_unwanted, most)
        if code:
            raise LimitReached("There was no room for what it printed.")
        *heads, content = printed.split(b"\n", 2 * len(commands))
        codes, lengths = heads[: len(commands)], heads[len(commands) :]
        stream = BytesIO(content)
        return [
            (stream.read(int(length)), int(code))
            for code, length in zip(codes, lengths, strict=True)
        ]

    def collect(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_unwanted: Callable[[], bool],
        most: int,
        folder: str = "",
    ) -> tuple[bytes, int]:
        """Run a command without network; return what it printed, no errors, and its exit code.

        Raises LimitReached when it printed more than that many bytes, and Stopped.
        """
        found = bytearray()

        def keep(part: bytes) -> None:
            found.extend(part)
            if len(found) > most:
                raise LimitReached(f"It printed more than {most // MEGABYTE} MB.")

        limits = Limits(COLLECT_SECONDS, is_offline=True)
        code = self.run(command, environment, keep, is_unwanted, limits, folder, errors=False)
        return bytes(found), code

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Callable[[bytes], None],
        is_unwanted: Callable[[], bool],
        limits: Limits,
        folder: str = "",
        *,
        errors: bool = True,
    ) -> int:
        """Run a command in a folder of the workspace; return its exit code.

        `output` is given what it prints, with errors unless `errors` is False. While it
        goes on, `is_unwanted` is asked. Raises LimitReached, or Stopped; nothing of it runs on.
        """
        if limits.outlives:
            command = [
                "timeout",
                "--signal=INT",
                f"--kill-after={KILLED_AFTER}",
                f"{limits.seconds:.0f}",
                *command,
            ]
        memory = settings.RUN_MEMORY_MB * MEGABYTE
        with (
            cgroups.group(memory, settings.RUN_PROCESSES, ends_whole=not limits.outlives) as group,
            Printed(self.folder / "output", output) as printed,
            self._started(
                command, environment, folder, printed.file, limits, errors, group
            ) as process,
            _ending_of(process.pid) as has_ended,
        ):
            until = (
                time.monotonic() + limits.seconds + (KILLED_AFTER + 30 if limits.outlives else 0)
            )
            while not has_ended(LOOK_EVERY):
                printed.pass_on(PARTS_AT_ONCE)
                if not limits.outlives and (exceeded := self.watch.exceeded(process.pid)):
                    raise LimitReached(exceeded)
                if is_unwanted() and not limits.outlives:
                    raise Stopped
                if time.monotonic() > until:
                    raise LimitReached(f"It took more than {limits.seconds / 60:.0f} minutes.")
            process.wait()
            printed.pass_on(PRINTED_LIMIT // MEGABYTE)
            if group and group.ran_out_of_memory() and not limits.outlives:
                raise LimitReached(f"It needed more than {settings.RUN_MEMORY_MB} MB of memory.")
            return process.returncode

    @contextmanager
    def _started(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        output: int,
        limits: Limits,
        errors: bool,
        group: cgroups.Group | None,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a command; at the end nothing of it is left, unless it outlives the worker."""
        # Dynamic linkers obey these, also that of what starts the job.
        known = {name: value for name, value in environment.items() if not name.startswith("LD_")}
        known = {"PATH": SYSTEM_PATH, "HOME": self.path("tmp"), "LC_ALL": "C.UTF-8"} | known
        known |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        with (
            tempfile.TemporaryFile() as arguments,
            tempfile.TemporaryFile() as calls,
            tempfile.TemporaryFile() as info,
        ):
            if self.is_isolated:
                if self.user_id is None:
                    # Inside, where only the job's own processes count (from Linux 5.14 on).
                    command = ["prlimit", f"--nproc={settings.RUN_PROCESSES}", "--", *command]
                arguments.write(
                    b"\0".join(map(os.fsencode, self._isolation(known, folder, limits)))
                )
                arguments.seek(0)
                calls.write(seccomp.program(platform.machine()))
                calls.seek(0)
                files = [
                    *("--args", str(arguments.fileno())),
                    *("--seccomp", str(calls.fileno())),
                    *("--info-fd", str(info.fileno())),
                ]
                full = [*self._limits(), "bwrap", *files, "--", *command]
                if self.network and not limits.is_offline:
                    full = [*self.network.prefix, *full]
                # Whoever is in the sandbox can read the environment of what started it.
                known = {"PATH": SYSTEM_PATH}
            else:
                full = [*self._limits(), *command]
            passed = [one.fileno() for one in (arguments, calls, info) if self.is_isolated]
            if self.network and limits.outlives:
                passed.append(self.network.lifeline)
            process = subprocess.Popen(
                group.joined(full) if group else full,
                env=known,
                cwd="/" if self.is_isolated else self.folder / "workspace" / folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output if errors else subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                end_group(process, first_inside(info))

    def _limits(self) -> list[str]:
        """Return the command that sets the limits of a job and switches to its user."""
        disk = settings.RUN_DISK_MB * MEGABYTE
        limits = [
            "prlimit",
            f"--as={settings.RUN_MEMORY_MB * MEGABYTE}",
            f"--fsize={disk}",
            "--nofile=4096",
            "--core=0",
        ]
        if self.user_id is None:
            return [*limits, "--"]
        user = [
            "setpriv",
            f"--reuid={self.user_id}",
            f"--regid={self.user_id}",
            "--clear-groups",
            "--no-new-privs",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--",
        ]
        return [*limits, f"--nproc={settings.RUN_PROCESSES}", "--", *user]

    def _isolation(self, environment: Mapping[str, str], folder: str, limits: Limits) -> list[str]:
        """Return bubblewrap's arguments; they are passed by file, as they hold secrets."""
        arguments = [
            "--unshare-user",
            *(("--disable-userns",) if can_disable_namespaces() else ()),
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--hostname",
            "stackhook",
            "--clearenv",
            *(() if limits.outlives else ("--die-with-parent",)),
            *("--ro-bind", "/usr", "/usr"),
        ]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            top = Path("/", name)
            if top.is_symlink():
                arguments += ["--symlink", str(top.readlink()), str(top)]
            elif top.is_dir():
                arguments += ["--ro-bind", str(top), str(top)]
        for name in ETC:
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        if self.network:
            arguments += self.network.isolation(self.folder, is_offline=limits.is_offline)
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        for part, option in (("workspace", "--bind"), ("tmp", "--bind"), ("input", "--ro-bind")):
            arguments += [option, str(self.folder / part), f"/{part}"]
        # What bubblewrap made itself is memory without a limit.
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        return [*arguments, "--chdir", self.path("workspace", folder)]


@contextmanager
def _ending_of(pid: int) -> Iterator[Callable[[float], bool]]:
    """Yield what waits for the end of a process, for so many seconds at most, and says if it is.

    Raises OSError if there is no such process.
    """
    # `Popen.wait` looks every 50 ms, which adds up in a job of a dozen commands.
    descriptor = os.pidfd_open(pid)
    ending = select.poll()
    ending.register(descriptor, select.POLLIN)
    try:
        yield lambda seconds: bool(ending.poll(seconds * 1000))
    finally:
        os.close(descriptor)


class Printed:
    """A file that a job prints into, read while it grows.

    It is a file and no pipe: a job that outlives the worker must not break off over it.
    """

    def __init__(self, path: Path, output: Callable[[bytes], None]) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        self.output = output
        self.read = 0

    def __enter__(self) -> "Printed":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.file)

    def pass_on(self, parts: int) -> None:
        """Pass on what was printed since, up to some megabytes: it may grow meanwhile."""
        for _ in range(parts):
            part = os.pread(self.file, MEGABYTE, self.read)
            if not part:
                break
            self.read += len(part)
            self.output(part)
        if self.read > PRINTED_LIMIT:
            # More than anybody reads: it starts over, so that the disk does not fill, even if
            # something that is printed right now is lost.
            os.ftruncate(self.file, 0)
            self.read = 0


@contextmanager
def sandbox(
    report: Callable[[str], object] = logger.error, ports: Collection[int] = ()
) -> Iterator[Sandbox]:
    """Yield a sandbox with a folder of its own, which is removed at the end.

    `report` is called with a sentence if the folder can't be removed. `ports` of the worker's
    loopback can be reached from it, too. Raises NotIsolated and NoNetwork where jobs can't be
    isolated as the operator wants it; so does the first command that uses the network.
    """
    top = runs_folder()
    with free_user() as user_id, network_of_job(user_id, ports) as network:
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=top))
        try:
            yield Sandbox(folder, user_id, settings.RUN_ISOLATION == "bubblewrap", network)
        finally:
            remove(folder, report)


def remove_left_folders() -> None:
    """Remove what workers that died left behind, once no apply can be working there any more."""
    oldest = time.time() - 60 * (max(settings.RUN_APPLY_MINUTES, settings.RUN_PLAN_MINUTES) + 60)
    for folder in runs_folder().glob("job-*"):
        with suppress(OSError):
            if folder.lstat().st_mtime < oldest:
                remove(folder)


def runs_folder() -> Path:
    """Return the folder that holds the folders of jobs."""
    named = settings.RUN_FOLDER
    return own_folder(Path(named) if named else temporary(f"stackhook-runs-{os.getuid()}"))


def temporary(name: str) -> Path:
    return Path(tempfile.gettempdir(), name)


def own_folder(path: Path) -> Path:
    """Return a folder, created if necessary, that other users may only pass through."""
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o711)  # whatever the umask is
    found = path.lstat()
    is_ours = found.st_uid == os.getuid() and not found.st_mode & 0o022
    if not stat.S_ISDIR(found.st_mode) or not is_ours:
        raise NotIsolated(
            f"{path} belongs to somebody else, or others may write there. Remove it, or name "
            f"another folder in RUN_FOLDER."
        )
    return path


@contextmanager
def free_user() -> Iterator[int | None]:
    """Yield a user that no other job on this machine has; None if the worker is not root."""
    if os.getuid() != 0 or settings.RUN_ISOLATION != "bubblewrap":
        yield None
        return
    # The same for all workers of the machine, wherever their jobs work.
    locks = own_folder(temporary("stackhook-users"))
    for user_id in USER_IDS:
        # A job may go on after its worker died.
        if is_known(user_id) or has_processes(user_id):
            continue
        lock = os.open(locks / str(user_id), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        try:
            yield user_id
        finally:
            os.close(lock)
        return
    raise NotIsolated("Every user for jobs is taken on this machine. Run fewer workers.")


def is_known(user_id: int) -> bool:
    try:
        pwd.getpwuid(user_id)
    except KeyError:
        return False
    return True


def has_processes(user_id: int) -> bool:
    wanted = f"Uid:\t{user_id}\t"
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "status").read_text(errors="replace"):
                    return True
    return False


def check_isolation() -> None:
    """Raise NotIsolated or NoNetwork when jobs can't be isolated as the operator wants it."""
    if settings.RUN_ISOLATION == "none":
        return
    missing = [name for name in PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        raise NotIsolated(
            f"Runs are isolated with bubblewrap, and {', '.join(missing)} is missing. Install it "
            f"(on Debian: apt-get install bubblewrap), or set RUN_ISOLATION=none, which lets code "
            f"of repositories do whatever this worker may."
        )
    with sandbox() as one:
        said = bytearray()
        if one.run(["true"], {}, said.extend, lambda: False, Limits(20)):
            raise NotIsolated(
                f"bubblewrap does not work here: {said.decode(errors='replace').strip()[:300]}. "
                "Allow unprivileged user namespaces, or set RUN_ISOLATION=none, which lets code of "
                "repositories do whatever this worker may."
            )


@cache
def can_disable_namespaces() -> bool:
    """Say whether bubblewrap can forbid user namespaces in a sandbox: from version 0.8 on.

    Not in a container whose /proc/sys is read-only: there the filter of system calls does it.
    """
    tried = ["bwrap", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "true"]
    done = subprocess.run(tried, env={"PATH": SYSTEM_PATH}, capture_output=True)
    return done.returncode == 0


def first_inside(info: IO[bytes]) -> list[int]:
    """Return the first process of a sandbox, from bubblewrap's --info-fd; when it ends, all end."""
    info.seek(0)
    try:
        return [int(json.loads(info.read())["child-pid"])]
    except (ValueError, KeyError):  # it was not started, or is not isolated
        return []


def end_group(process: "subprocess.Popen[bytes]", inside: Sequence[int]) -> None:
    """End what was started: bubblewrap, and the first process inside, with which all others end."""
    # Where it ended by itself, nothing is below it any more, and looking for that takes long.
    below = descendants(process.pid) if process.returncode is None else []
    started = [*below, *inside]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + END_SECONDS
    for pid in started:
        # It may be gone, and its number a thread's by now.
        with suppress(OSError), _ending_of(pid) as has_ended:
            has_ended(max(0.0, until - time.monotonic()))
