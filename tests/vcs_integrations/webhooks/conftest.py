"""An endpoint that webhooks are posted to, in this process or at the real web server."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from pytest_django import Settings

from tests.endpoint import Endpoint, basic
from tests.payloads import PAYLOADS

BY_NAME = {path.stem: path for path in PAYLOADS.glob("*.json")}
uses_sqlite = pytest.mark.skipif(
    "sqlite" not in configured.DATABASES["default"]["ENGINE"], reason="locks a SQLite file"
)


def payload(name: str) -> bytes:
    return BY_NAME[name].read_bytes()


PUSH = payload("git_push__one_commit")


@pytest.fixture
def endpoint(db: None) -> Endpoint:
    return Endpoint()


@pytest.fixture
def real_endpoint(transactional_db: None) -> Endpoint:
    """An endpoint whose rows are committed, for what depends on transactions."""
    return Endpoint()


class Served:
    """The product in gunicorn, on the database of the tests."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid

    def ask(
        self, endpoint: Endpoint, body: Any = PUSH, method: str = "POST", **headers: str
    ) -> tuple[int, http.client.HTTPMessage]:
        """Send a request over plain http; a generator as body is sent in chunks."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Authorization": basic(endpoint.password), "Host": "stackhook.example.com"}
        try:
            link.request(method, endpoint.path, body, sent | headers)
            response = link.getresponse()
            response.read()
            return response.status, response.headers
        finally:
            link.close()


@pytest.fixture
def served(
    real_endpoint: Endpoint, tmp_path: Path, settings: Settings, request: pytest.FixtureRequest
) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "GUNICORN_CMD_ARGS": getattr(request, "param", ""),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "config.wsgi"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=configured.BASE_DIR, env=environment, stdout=log, stderr=log
        )
        try:
            wait_for(port, server)
            yield Served(port, server.pid)
        finally:
            server.terminate()
            server.wait(120)
    text = (tmp_path / "log").read_text()
    assert real_endpoint.password not in text
    assert "Traceback" not in text


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    ends_at = time.monotonic() + 120
    while time.monotonic() < ends_at and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("gunicorn did not start")


def worker_of(served: Served) -> int:
    children = Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text()
    return int(children.split()[0])
