"""The world in which the emulator is tested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.emulator import Emulator
from tests.emulator.pull_requests import PullRequest
from tests.emulator_checks.world import FILES, Receiver, World, connect
from tests.serving import serving


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Emulator(tmp_path / "emulator", allow_local_hooks=True) as emulator:
        emulator.retry_scale = 0.01
        organization = emulator.add_organization("Fabrikam")
        project = organization.add_project("Platform Team")
        repository = project.add_repository("infrastructure", FILES)
        yield World(emulator, organization, project, repository, organization.add_token())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.received.append((dict(self.headers), json.loads(body)))
            status = found.answers.pop(0) if found.answers else 200
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"seen\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    with serving(server):
        yield found


@pytest.fixture
def sdk(world: World) -> Any:
    return connect(world, world.token)


@pytest.fixture
def opened(world: World) -> PullRequest:
    """An active pull request from topic to main."""
    world.repository.push({"main.tf": "two\n"}, "topic")
    return world.repository.open_pull_request("topic", title="Two", reviewers=["Bo Builder"])
