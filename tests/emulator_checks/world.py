"""What the tests of the emulator share: a small world, a receiver of webhooks, the SDK and git."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["AZURE_DEVOPS_CACHE_DIR"] = tempfile.mkdtemp(prefix="azure-devops-sdk-")

import requests
from azure.devops import _file_cache
from azure.devops.client import Client
from azure.devops.connection import Connection
from msrest.authentication import BasicAuthentication

from tests.emulator import Emulator
from tests.emulator.git import environment
from tests.emulator.model import Organization, Project, Repository

FILES = {"main.tf": "one\n" * 20, "modules/a.tf": "a\n", "modules/deep/b.tf": "b\n" * 9}
JSON = {"Accept": "application/json;api-version=7.1"}


@dataclass
class World:
    """An emulator with one organization, one project and one repository."""

    emulator: Emulator
    organization: Organization
    project: Project
    repository: Repository
    token: str

    def get(self, path: str, token: str | None = None, **options: Any) -> requests.Response:
        return self.call("GET", path, token, **options)

    def call(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> requests.Response:
        defaults: dict[str, Any] = {"headers": JSON, "allow_redirects": False, "timeout": 20}
        auth = ("", self.token if token is None else token)
        url = f"{self.organization.url}/{path}"
        return requests.request(method, url, auth=auth, **defaults | options)  # noqa: S113


@dataclass
class Receiver:
    """A web server that keeps what is posted to it and answers as configured."""

    url: str
    answers: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)


def connect(world: World, token: str) -> Any:
    """Return the SDK's clients for a token, with all its caches emptied."""
    Client._locations_cache.clear()
    _file_cache.OPTIONS_CACHE.clear()
    _file_cache.RESOURCE_CACHE.clear()
    connection = Connection(base_url=world.organization.url, creds=BasicAuthentication("", token))
    return connection.clients_v7_1


def git(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the git of a user, with a name and without configuration."""
    names = {"GIT_AUTHOR_NAME": "Bo", "GIT_AUTHOR_EMAIL": "bo@fabrikam.example"}
    names |= {"GIT_COMMITTER_NAME": "Bo", "GIT_COMMITTER_EMAIL": "bo@fabrikam.example"}
    return subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=environment(**names, HOME=str(cwd or "/")),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def with_token(url: str, token: str) -> str:
    return url.replace("://", f"://anyone:{token}@")


def clone(world: World, repository: Repository, target: Path) -> Path:
    done = git("clone", "--quiet", with_token(repository.clone_url, world.token), str(target))
    assert done.returncode == 0, done.stderr
    return target
