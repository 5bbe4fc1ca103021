"""How long the pages across stacks take with so many stacks and runs.

Run as a program with the two numbers, and the database that the environment names, it prints JSON.
"""

import json
import statistics
import sys
import time

import django
from django.conf import settings

ROUNDS = 30
PAGES = {
    "the start page": "/",
    "Runs": "/runs/",
    "Runs, failed": "/runs/?state=failed",
    "Stacks": "/stacks/",
    "Stacks by state": "/stacks/?sort=state",
    "Stacks by last run": "/stacks/?sort=run",
    "Stacks, failed": "/stacks/?show=failed",
}


def main() -> None:
    django.setup()
    from django.test import Client
    from django.test.utils import override_settings

    from accounts.models import User

    stacks, runs = map(int, sys.argv[1:])
    store_runs(stacks, runs)
    client = Client()
    client.force_login(User.objects.create_superuser("pages"))

    def once(url: str) -> float:
        started = time.perf_counter()
        answer = client.get(url)
        assert answer.status_code == 200
        return (time.perf_counter() - started) * 1000

    # Without the list of hashed names, which only a build of static files makes.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    storages = settings.STORAGES | {"staticfiles": plain}
    with override_settings(ALLOWED_HOSTS=["*"], STORAGES=storages):
        times: dict[str, list[float]] = {name: [] for name in PAGES}
        for _ in range(ROUNDS):
            for name, url in PAGES.items():
                times[name].append(once(url))
    sys.stdout.write(json.dumps({name: statistics.median(all_) for name, all_ in times.items()}))


def store_runs(stacks: int, runs: int) -> None:
    """Store so many stacks, and as many runs of each: most ended, the newest of some wait."""
    from stacks.models import Run, Stack
    from stacks.rules.states import Kind, State
    from tests.builders import make_repository, new_run
    from vcs_integrations.models import Integration

    repository = make_repository(Integration.objects.get())
    made = Stack.objects.bulk_create(
        Stack(
            name=f"Stack {number}",
            slug=f"stack-{number}",
            repository=repository,
            branch="main",
            labels=[f"label-{number % 40}", "all"],
            search_text=f"stack {number} main",
        )
        for number in range(stacks)
    )
    each = runs // stacks
    newest = [State.UNCONFIRMED, State.FAILED, State.FINISHED, State.FINISHED, State.QUEUED]
    past = [State.FINISHED, State.SUPERSEDED, State.FAILED, State.FINISHED]
    Run.objects.bulk_create(
        (
            new_run(
                stack,
                number,
                kind=Kind.TRACKED if number == each or number % 2 else Kind.PROPOSED,
                state=newest[at % len(newest)] if number == each else past[number % len(past)],
            )
            for number in range(1, each + 1)
            for at, stack in enumerate(made)
        ),
        batch_size=1000,
    )


if __name__ == "__main__":
    main()
