"""Databases that the product's own processes share with a test."""

import fcntl
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from tests.processes import KEYS, run, running, wait_for


class Database:
    """A database with all tables, for processes that work on it at once."""

    def __init__(self, url: str, **variables: str) -> None:
        self.url = url
        self.variables = KEYS | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **variables,
        }

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement in a transaction of its own; return the rows, if it gives any."""
        if self.url.startswith("sqlite"):
            file = self.url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(file, timeout=10)) as data, data:
                return data.execute(statement).fetchall()
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, script: str, **more: str) -> str:
        """Run a script of the product on it; return what it prints."""
        done = run(settings.BASE_DIR, *_program(script), **(self.variables | more))
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, script: str, **more: str) -> Iterator[None]:
        """Run a script of the product on it meanwhile; it has to end well, and soon."""
        variables = self.variables | more
        with running(settings.BASE_DIR, *_program(script), **variables) as process:
            yield
            assert wait_for(lambda: process.poll() is not None, 180)
            assert process.stdout
            assert process.returncode == 0, process.stdout.read()


def migrated_file(folder: Path) -> Path:
    """Return the SQLite file with all tables in a folder, made by the first process that asks.

    Migrations take seconds, so that tests copy it.
    """
    file = folder / "migrated.sqlite3"
    with (folder / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = folder / "unfinished.sqlite3"
            migrate(sqlite_url(unfinished))
            with closing(sqlite3.connect(unfinished)) as made:
                # One file also where the last process left some of it in the log beside.
                made.execute("VACUUM INTO ?", [str(file)])
    return file


def copy_database(migrated: Path, file: Path) -> str:
    """Make a SQLite database with all tables; return its URL."""
    shutil.copyfile(migrated, file)
    return sqlite_url(file)


def migrate(url: str) -> None:
    """Make all tables in an empty database."""
    variables = KEYS | {"DATABASE_URL": url}
    done = run(settings.BASE_DIR, "manage.py", "migrate", "-v", "0", **variables)
    assert done.returncode == 0, done.stderr


def worker(database: Database) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run the background worker on a database."""
    return running(settings.BASE_DIR, "manage.py", "background_worker", **database.variables)


def sqlite_url(file: Path) -> str:
    return f"sqlite:///{file}"


def _program(script: str) -> tuple[str, str]:
    return "-c", "import django; django.setup()\n" + script
