"""How long it takes from a push to the status of its plan, beside the bare commands.

Run as a program, with the database and the ports that the environment names, it prints JSON.
"""

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import django

from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository

ROOT = Path(__file__).resolve().parents[2]
PUSHES = 8
WAIT = 120  # seconds
BRANCH = "topic"


def main() -> None:
    port = os.environ["PORT"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        emulator = running.enter_context(Emulator(Path(folder), allow_local_hooks=True))
        os.environ |= {
            "AZURE_DEVOPS_SERVERS": emulator.url,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "ALLOWED_HOSTS": "127.0.0.1",
        }
        django.setup()
        organization = emulator.add_organization("fabrikam")
        where = organization.add_project("Platform").add_repository(
            "infrastructure", {"main.tf": code(0)}
        )
        token = organization.add_token({"vso.code_write"})
        web = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "config.wsgi"]
        manage = [sys.executable, "manage.py"]
        for command in (web, [*manage, "background_worker"], [*manage, "run_worker"]):
            running.enter_context(process(command))
        prepare(organization, token)
        ours, bare = [], []
        for number in range(PUSHES + 1):
            ours.append(seconds_to_status(where, number + 1))
            bare.append(seconds_of_bare_commands(where, token))
    # The first one has no cache to begin with.
    sys.stdout.write(json.dumps([statistics.median(ours[1:]), statistics.median(bare[1:])]))


def code(number: int) -> str:
    return f'output "a" {{\n  value = {number}\n}}\n'


def prepare(organization: Organization, token: str) -> None:
    """Link the organization, have its hooks made, and make a stack of the repository."""
    from stacks.models import Stack
    from vcs_integrations.connections.linking import Details, link
    from vcs_integrations.hooks.watching import watch
    from vcs_integrations.providers import PROVIDERS

    provider = PROVIDERS["azure_devops"]
    address = provider.parse_organization_url(organization.url)
    integration, _ = link(provider, address, token, Details("", "", None))
    integration.projects.update(keeps_hooks=True)
    watch(integration.hook_watch)
    Stack.objects.create(name="Bench", repository=integration.repositories.get(), branch="main")


def seconds_to_status(where: Repository, number: int) -> float:
    """Push to a branch, and return how long its plan's status took."""
    begin = time.perf_counter()
    where.push({"main.tf": code(number)}, BRANCH)
    sha = where.tip(BRANCH) or ""
    while time.perf_counter() < begin + WAIT:
        last = [*where.statuses.get(sha, [])][-1:]
        if last and last[0].state != "pending":
            if last[0].state != "succeeded":
                raise SystemExit(f"The run failed: {last[0].description}")
            return time.perf_counter() - begin
        time.sleep(0.002)
    raise SystemExit("There was no status in time.")


def seconds_of_bare_commands(where: Repository, token: str) -> float:
    """Fetch the branch and plan it without Stackhook, and return how long that took."""
    encoded = base64.b64encode(f":{token}".encode()).decode()
    header = f"http.extraHeader=Authorization: Basic {encoded}"
    fetch = ["git", "-c", header, "fetch", "-q", "--depth=1", where.clone_url, BRANCH]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for command in (
            ["git", "init", "-q"],
            fetch,
            ["git", "checkout", "-q", "FETCH_HEAD"],
            ["terraform", "init", "-input=false"],
            ["terraform", "plan", "-input=false", "-out=plan"],
            ["terraform", "show", "-json", "plan"],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - begin


@contextmanager
def process(command: list[str]) -> Iterator[None]:
    """Run a program of the product until the block ends."""
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


if __name__ == "__main__":
    main()
