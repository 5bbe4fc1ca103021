"""How long it takes from a delivery to its run, with a worker in a process of its own.

Run as a program it measures on the database that DATABASE_URL names, and prints JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import django
from django.db.models import F

from tests.bench.provider import REPOSITORIES, external_id, push

ROOT = Path(__file__).resolve().parents[2]
PUSH = ROOT / "tests" / "payloads" / "git_push__one_commit.json"
BACKLOG = 10_000
STEADY_PER_SECOND = 50
STEADY_SECONDS = 20


def main() -> None:
    hold_reports()
    make_stacks(REPOSITORIES, on=range(REPOSITORIES))
    median, p99 = steady_times()
    with_few = backlog_per_second(BACKLOG)
    make_stacks(9990, on=range(REPOSITORIES, 1000))
    with_many = backlog_per_second(BACKLOG // 5)
    sys.stdout.write(json.dumps([median, p99, with_few, with_many]))


def hold_reports() -> None:
    """Have nothing sent to the provider: what a status costs is no part of the way to a run."""
    from django.utils import timezone

    from vcs_integrations.models import Integration

    Integration.objects.update(reports_held_until=timezone.now() + timedelta(days=1))


def make_stacks(count: int, on: range) -> None:
    """Make stacks by the plain rule, evenly over repositories of the one integration."""
    from django.utils import timezone

    from stacks.models import Stack
    from vcs_integrations.models import Integration, Repository

    integration = Integration.objects.get()
    made = Repository.objects.bulk_create(
        Repository(
            integration=integration,
            external_id=external_id(number),
            name=f"r{number}",
            due_at=timezone.now() + timedelta(days=1),
        )
        for number in on
    )
    Stack.objects.bulk_create(
        Stack(
            name=f"Stack {on.start} {number}",
            slug=f"stack-{on.start}-{number}",
            repository=made[number % len(made)],
            branch="main",
            path_rule=False,
            followed_position=0,
        )
        for number in range(count)
    )


def multiply_deliveries(count: int) -> None:
    """Store many deliveries that were processed long ago."""
    from django.utils import timezone

    from vcs_integrations.models import Delivery, Integration

    old = Delivery(
        integration=Integration.objects.get(),
        outcome="run",
        event_type="git.push",
        subscription_id="2",
        repository_id=external_id(1),
        body=b"{}",
        processed_at=timezone.now(),
    )
    for start in range(0, count, 5000):
        Delivery.objects.bulk_create(
            Delivery(**{f.name: getattr(old, f.name) for f in old._meta.fields if f.name != "id"})
            for _ in range(start, min(start + 5000, count))
        )


def store(numbers: range) -> None:
    """Store pushes of the repositories in turn, as the webhook endpoint does."""
    from django.utils import timezone

    from vcs_integrations.models import Delivery, Integration

    integration = Integration.objects.get()
    payload = json.loads(PUSH.read_bytes())
    deliveries = []
    for number in numbers:
        resource = payload["resource"] | push(number)
        resource["repository"]["id"] = external_id(number % REPOSITORIES)
        payload["resource"] = resource
        deliveries.append(
            Delivery(
                integration=integration,
                outcome="stored",
                event_type="git.push",
                subscription_id="1",
                notification_id=str(number),
                repository_id=external_id(number % REPOSITORIES),
                body=json.dumps(payload).encode(),
                due_at=timezone.now(),
            )
        )
    newest = f"{os.environ['AZURE_DEVOPS_SERVERS']}/newest/{numbers[-1]}"
    with urllib.request.urlopen(newest):  # the provider has them before it announces them
        pass
    Delivery.objects.bulk_create(deliveries, batch_size=500)


def backlog_per_second(count: int) -> float:
    """Store a backlog and return how many of it one worker processes in a second."""
    store(_next(count))
    with worker():
        first = _wait_until_waiting(count - 1)
        last = _wait_until_waiting(0)
    return count / (last - first)


def steady_times() -> tuple[float, float]:
    """Store deliveries at a steady rate; return median and slowest hundredth to a run, in ms."""
    from vcs_integrations.models import Delivery

    with worker():
        store(_next(1))
        _wait_until_waiting(0)  # it runs
        numbers = _next(STEADY_PER_SECOND * STEADY_SECONDS)
        begin = time.perf_counter()
        for number in numbers:
            due = begin + (number - numbers.start) / STEADY_PER_SECOND
            time.sleep(max(0, due - time.perf_counter()))
            store(range(number, number + 1))
        _wait_until_waiting(0)
    steady = Delivery.objects.order_by("-pk")[: len(numbers)]
    took = steady.annotate(took=F("processed_at") - F("received_at")).values_list("took", flat=True)
    times = [one / timedelta(milliseconds=1) for one in took]
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


@contextmanager
def worker() -> Iterator[None]:
    """Run the background worker on the database that the environment names."""
    command = [sys.executable, "manage.py", "background_worker"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _next(count: int) -> range:
    """Return numbers for so many more pushes."""
    from vcs_integrations.models import Delivery

    last = Delivery.objects.exclude(notification_id="").order_by("pk").last()
    newest = int(last.notification_id) if last else 0
    return range(newest + 1, newest + 1 + count)


def _wait_until_waiting(count: int) -> float:
    """Return when no more than so many deliveries wait."""
    from vcs_integrations.models import Delivery

    while Delivery.objects.waiting().count() > count:
        time.sleep(0.1)
    return time.perf_counter()


if __name__ == "__main__":
    django.setup()
    main()
