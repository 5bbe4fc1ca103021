"""What tests of the git proxy share: a sandbox whose git asks it, and repositories to ask for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from stacks.execution.git_proxy.proxy import GitProxy, Served, git_proxy
from stacks.execution.isolation.sandbox import Limits, Sandbox, sandbox
from stacks.models import Run, Stack
from tests.builders import make_run
from tests.emulator.model import Organization, Project, Repository
from vcs_integrations.models import Integration

ANSWER = 'output "answer" {\n  value = "forty-two"\n}\n'


@pytest.fixture
def module(project: Project) -> Repository:
    """A repository of the stack's own project, with a module at its top and one in a folder."""
    files = {"main.tf": ANSWER, "sub/dir/main.tf": ANSWER.replace("forty-two", "from below")}
    return project.add_repository("module", files)


@pytest.fixture
def elsewhere(organization: Organization) -> Repository:
    """A repository of another project of the organization."""
    return organization.add_project("Secret").add_repository("vault", {"main.tf": ANSWER})


@pytest.fixture
def stack(module: Repository, elsewhere: Repository, stack: Stack) -> Stack:
    """The stack, linked when all of these repositories were there."""
    return stack


@pytest.fixture
def integration(module: Repository, elsewhere: Repository, integration: Integration) -> Integration:
    return integration


@dataclass
class Inside:
    """A sandbox of a run, in which git is led to the run's proxy."""

    run: Run
    box: Sandbox
    proxy: GitProxy
    served: Served

    def sh(
        self, script: str, *words: str, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a script there; return its exit code and what it printed."""
        printed = bytearray()
        variables = self.served.environment() if environment is None else environment
        command = ["sh", "-c", script, "sh", *words]
        code = self.box.run(command, variables, printed.extend, lambda: False, Limits(120))
        return code, printed.decode(errors="replace")

    def raw(self, request: bytes, port: int | None = None) -> bytes:
        """Send bytes to a port of the loopback, this run's proxy; return what is answered."""
        script = 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat "$2" >&3; timeout 60 cat <&3'
        sent = self.box.provide("request", request)
        printed = bytearray()
        command = ["bash", "-c", script, "raw", str(port or self.proxy.port), sent]
        self.box.run(command, {}, printed.extend, lambda: False, Limits(120))
        return bytes(printed)

    def refs(self, url: str) -> tuple[int, str]:
        """Have git read the refs that are at an address."""
        return self.sh('git ls-remote "$1"', url)


@contextmanager
def opened(run: Run, token: str) -> Iterator[Inside]:
    """Yield the sandbox of a run as long as its proxy answers."""
    with (
        git_proxy() as proxy,
        sandbox(ports=[proxy.port]) as box,
        proxy.serving(run, token) as served,
    ):
        yield Inside(run, box, proxy, served)


@pytest.fixture
def inside(stack: Stack, token: str) -> Iterator[Inside]:
    with opened(make_run(stack), token) as found:
        yield found
