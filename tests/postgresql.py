"""A PostgreSQL server of the tests' own, where Debian's package is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
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
    """A running server, which listens on a socket in a folder that nobody else may enter."""

    folder: Path

    def url(self, database: str) -> str:
        """Return what DATABASE_URL says for one of its databases, which need not exist."""
        return f"postgres://stackhook@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """Make a database with all tables, a copy of a migrated one; return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as server:
            asked = "SELECT 1 FROM pg_database WHERE datname = 'migrated'"
            if not server.execute(asked).fetchone():
                server.execute("CREATE DATABASE migrated")
                migrate(self.url("migrated"))
            server.execute(f'CREATE DATABASE "{database}" TEMPLATE migrated'.encode())
        return self.url(database)

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
def postgresql(*options: str, **variables: str) -> Iterator[PostgreSQL]:
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
                env=os.environ | variables,
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
            yield PostgreSQL(folder)
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> str | None:
    """Return the user to run the server as; None for the present one."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


needs_postgresql = pytest.mark.skipif(
    installed() is None, reason="no PostgreSQL server: on Debian, apt-get install postgresql"
)
