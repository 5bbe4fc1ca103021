"""A PostgreSQL server of the tests' own, where Debian's package is installed."""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from django.db import connection

from tests.databases import migrate


@dataclass(frozen=True)
class PostgreSQL:
    """A running server, which listens on a socket in a folder that nobody else may enter.

    Migrations take seconds, so that servers with a shared folder run them once.
    """

    folder: Path
    shared: Path | None = None

    def url(self, database: str) -> str:
        """Return what DATABASE_URL says for one of its databases, which need not exist."""
        return f"postgres://stackhook@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """Make a database with all tables, a copy of a migrated one; return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as server:
            asked = "SELECT 1 FROM pg_database WHERE datname = 'migrated'"
            if not server.execute(asked).fetchone():
                server.execute("CREATE DATABASE migrated")
                self._fill(self.url("migrated"))
            server.execute(f'CREATE DATABASE "{database}" TEMPLATE migrated'.encode())
        return self.url(database)

    def _fill(self, url: str) -> None:
        """Make all tables in an empty database, by a dump if another server has made them."""
        if self.shared is None:
            migrate(url)
            return
        dump = self.shared / "migrated.sql"
        with (self.shared / "dump.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if dump.exists():
                _run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", url)
            else:
                migrate(url)
                _run("pg_dump", f"--file={dump}", url)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as server:
            server.execute(f'DROP DATABASE "{database}" WITH (FORCE)'.encode())


def wait_for_lock(thread: Thread) -> None:
    """Wait until a thread waits for what others hold in Django's database, or has ended."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with connection.cursor() as cursor:
        while thread.is_alive():
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return


def installed() -> Path | None:
    """Return the folder of the newest server's programs; None where there is none."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(found, key=lambda program: float(program.parts[-3]))
    return newest[-1].parent if newest else None


@contextmanager
def postgresql(
    *options: str, shared: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[PostgreSQL]:
    """Run a new, empty server with some options of `postgres` and variables; it is gone afterwards.

    The programs refuse to run as root, so they then run as a user who may do nothing else.
    """
    programs = installed()
    assert programs, "no PostgreSQL server is installed"
    user = _unprivileged()
    # Apart from pytest's folders, which that user may not enter; a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        log = folder / "log"
        with log.open("a") as output:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | dict(variables or {}),
                user=user,
                stdout=output,
                stderr=output,
            )
        assert done.returncode == 0, log.read_text()

    listen = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
    try:
        run("initdb", "-U", "stackhook", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "start", "-w", "-o", " ".join([listen, *options]))
        try:
            yield PostgreSQL(folder, shared)
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def _run(program: str, *arguments: str) -> None:
    folder = installed()
    assert folder
    done = subprocess.run([folder / program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _unprivileged() -> str | None:
    """Return the user to run the server as; None for the present one."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


needs_postgresql = pytest.mark.skipif(
    installed() is None, reason="no PostgreSQL server: on Debian, apt-get install postgresql"
)
