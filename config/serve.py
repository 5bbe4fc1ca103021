"""Starts what makes up Stackhook on one machine: `make run`.

Writes the keys into .env once, migrates, and runs the web server and both workers
until Ctrl-C. The demo starts the same way and adds its emulator.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured

from config import environment

BASE_DIR = environment.BASE_DIR
ENV_FILE = BASE_DIR / ".env"
NEW_ENV_FILE = """\
# Written once by `make run` or `make demo`. Keep it: without FIELD_ENCRYPTION_KEY the stored
# tokens, variables and states are lost. Every variable is explained in .env.example.
SECRET_KEY=
FIELD_ENCRYPTION_KEY=

# For this machine, over http. Behind https: set PUBLIC_URL and delete these four lines.
SECURE_SSL_REDIRECT=false
SESSION_COOKIE_SECURE=false
CSRF_COOKIE_SECURE=false
SECURE_PROXY_SSL_HEADER=off
"""
START_WITHIN = 30  # seconds
STOP_WITHIN = 6  # seconds, more than the web server takes for what it is answering


def main() -> int:
    """Run the product alone; return the exit code."""
    try:
        prepare()
        port = environment.port("PORT", 8000)
        environment.count("WEB_CONCURRENCY", 2)  # gunicorn reads it before our configuration
        refuse_taken(port, "PORT")
        migrate()
    except ImproperlyConfigured as error:
        return fail(str(error))
    return run_together(
        {"web server": WEB_SERVER, "background worker": WORKER, "run worker": RUN_WORKER},
        ready_url=f"http://127.0.0.1:{port}/healthz",
        welcome=f"""
Stackhook runs at http://127.0.0.1:{port}/
The first admin is made by: {sys.executable} manage.py createsuperuser
Ctrl-C ends it.
""",
    )


WEB_SERVER = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "config.wsgi"]
WORKER = [sys.executable, "manage.py", "background_worker"]
RUN_WORKER = [sys.executable, "manage.py", "run_worker"]


def prepare() -> None:
    """Write .env where there is none, add the keys that one lacks, and read it."""
    os.umask(0o077)  # what is written here, the database too, is nobody else's to read
    if not ENV_FILE.exists():
        ENV_FILE.touch(0o600)
        ENV_FILE.write_text(NEW_ENV_FILE)
    old = text = environment.env_file_text(ENV_FILE)
    for key in ("SECRET_KEY", "FIELD_ENCRYPTION_KEY"):
        line = f"{key}={secrets.token_urlsafe(48)}"
        if re.search(rf"^{key}=[ \t]*$", text, re.MULTILINE):
            text = re.sub(rf"^{key}=[ \t]*$", line, text, flags=re.MULTILINE)
        elif not os.environ.get(key) and not re.search(rf"^(?:export )?{key}=", text, re.MULTILINE):
            text = f"{text.rstrip()}\n{line}\n"
    if text != old:
        ENV_FILE.write_text(text)
    environment.read_env_file(ENV_FILE)


def refuse_taken(port: int, variable: str) -> None:
    """Raise ImproperlyConfigured when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ImproperlyConfigured(
                f"port {port} is taken. Stop what uses it, or choose another one, like "
                f"{variable}={port + 10}."
            ) from error


def migrate() -> None:
    """Bring database and static files up to date; exit when a command failed and said why."""
    for command in (["migrate", "--verbosity", "0"], ["collectstatic", "--noinput", "-v", "0"]):
        if subprocess.run([sys.executable, "manage.py", *command], cwd=BASE_DIR).returncode:
            sys.exit(1)


def run_together(commands: Mapping[str, list[str]], ready_url: str, welcome: str) -> int:
    """Run processes until a signal comes or one of them ends; return the exit code."""
    ending = threading.Event()
    # Noted rather than raised: a second Ctrl-C finds nothing that it could break off.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal closed
        signal.signal(number, lambda *_: ending.set())
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            # A session of its own, so that Ctrl-C reaches only this process, which ends them.
            processes[name] = subprocess.Popen(command, cwd=BASE_DIR, start_new_session=True)
        if wait_until_ready(ready_url, processes, ending):
            say(welcome)
        elif not ending.is_set() and first_ended(processes) is None:
            say(f"Still no answer from {ready_url} after {START_WITHIN} seconds; waiting on.")
        while (ended := first_ended(processes)) is None:
            if ending.wait(0.2):
                return 0
        sys.stderr.write(f"Stackhook stopped: the {ended} ended unexpectedly, see above.\n")
        return 1
    finally:
        stop(processes.values())


def wait_until_ready(
    url: str, processes: Mapping[str, subprocess.Popen[bytes]], ending: threading.Event
) -> bool:
    """Wait until an address answers; False when all is to end, one ended or it took too long."""
    until = time.monotonic() + START_WITHIN
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until and first_ended(processes) is None and not ending.wait(0.2):
        try:
            opener.open(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            continue
        return True
    return False


def first_ended(processes: Mapping[str, subprocess.Popen[bytes]]) -> str | None:
    return next((name for name, one in processes.items() if one.poll() is not None), None)


def stop(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """End processes and whatever they started: ask first, then insist."""
    for process in processes:
        process.terminate()
    with suppress(OSError):  # nobody may be left to read it
        say("Ending…")
    until = time.monotonic() + STOP_WITHIN
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, until - time.monotonic()))
        # Also after it ended: what it started may still hold the port.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(text: str) -> int:
    """Print why the start failed; return the exit code."""
    sys.stderr.write(f"Stackhook can't start: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
