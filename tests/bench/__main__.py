"""Runs the measurements and prints them; exits 0 whatever they are.

python -m tests.bench [--deliveries 500000]
    [--only webhooks|field|processing|runs|plans|registry|pages]
"""

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from tests.bench.load import Result, drive
from tests.bench.processing import BACKLOG, STEADY_PER_SECOND
from tests.bench.slow_disk import slow_disk
from tests.postgresql import installed, postgresql
from tests.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = secrets.token_urlsafe(32)
ROUNDS = 5
SECONDS = 4
SLOW_SENDERS = 200
REPOSITORIES = 10_000
SLOW_DISK_MS = 2


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench")
    options.add_argument("--deliveries", type=int, default=500_000, help="stored before")
    parts = ["webhooks", "field", "processing", "runs", "plans", "registry", "pages"]
    options.add_argument("--only", choices=parts)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "BENCH_DATABASE": f"sqlite:///{folder}/floor.sqlite3",
            "BENCH_PASSWORD": PASSWORD,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "bench",
            "FIELD_ENCRYPTION_KEY": "bench",
            "DATABASE_URL": f"sqlite:///{folder}/product.sqlite3",
            "SECURE_SSL_REDIRECT": "false",
        }
        path = prepare_endpoint()
        if given.only in {None, "webhooks"}:
            measure_webhooks(Path(folder), path, given.deliveries)
            measure_databases(Path(folder))
        if given.only in {None, "field"}:
            measure_repository_field()
        if given.only in {None, "processing"}:
            measure_processing(Path(folder))
        if given.only in {None, "runs"}:
            measure_runs(Path(folder))
        if given.only in {None, "plans"}:
            measure_plans()
        if given.only in {None, "registry"}:
            measure_registry(Path(folder))
        if given.only in {None, "pages"}:
            measure_pages(Path(folder))


def measure_webhooks(folder: Path, path: str, deliveries: int) -> None:
    """Compare the webhook endpoint with the bare floor, in turns; also with much behind it."""
    run([sys.executable, "-m", "tests.bench.floor"])
    urls_of_databases = {"product": os.environ["DATABASE_URL"]}
    for name, fill in {
        "many stacks": "make_stacks(10_000, on=range(1000))",
        "many deliveries": f"multiply_deliveries({deliveries})",
    }.items():
        copy = shutil.copy(folder / "product.sqlite3", folder / f"{name}.sqlite3")
        urls_of_databases[name] = f"sqlite:///{copy}"
        script = f"import django; django.setup(); from tests.bench.processing import *; {fill}"
        run([sys.executable, "-c", script], DATABASE_URL=urls_of_databases[name])
    with ExitStack() as servers:
        floor = servers.enter_context(serving("tests.bench.floor:application", ["-w", "2"]))
        urls = {"floor": f"{floor}/hook"}
        for name, database in urls_of_databases.items():
            as_shipped = serving("config.wsgi", ["-c", "config/gunicorn.py"], DATABASE_URL=database)
            urls[name] = f"{servers.enter_context(as_shipped)}{path}"
        urls["slow senders"] = urls["product"]
        results: dict[str, list[Result]] = {name: [] for name in urls}
        for _ in range(ROUNDS):
            for name, url in urls.items():
                slow = SLOW_SENDERS if name == "slow senders" else 0
                results[name].append(drive(url, PASSWORD, new_body(), SECONDS, slow))
    rates = {name: statistics.median(r.per_second for r in all_) for name, all_ in results.items()}
    p99 = {name: statistics.median(r.p99_ms for r in all_) for name, all_ in results.items()}
    errors = sum(r.errors for all_ in results.values() for r in all_)
    show("webhooks accepted, to the floor", rates["product"] / rates["floor"], ">= 1")
    show("webhooks, slowest hundredth, to the floor", p99["product"] / p99["floor"], "<= 1.5")
    few, stacks, stored = rates["product"], rates["many stacks"], rates["many deliveries"]
    show("the same with 10000 stacks on 1000 repositories, to none", stacks / few, ">= 0.95")
    show(f"the same with {deliveries} deliveries stored, to none", stored / few, ">= 0.9")
    show(
        f"the same beside {SLOW_SENDERS} slow senders, to none",
        rates["slow senders"] / few,
        ">= 0.9",
    )
    show("the same, slowest hundredth, to the floor", p99["slow senders"] / p99["floor"], "<= 2")
    say(f"  (floor {rates['floor']:.0f}/s, product {rates['product']:.0f}/s, {errors} wrong)")


def measure_databases(folder: Path) -> None:
    """Compare the webhook endpoint with the floor on each database, also on a slower disk."""
    with ExitStack() as running:
        disks: dict[str, dict[str, str]] = {"": {}}
        if shutil.which("cc"):
            disks[f", slow disk (+{SLOW_DISK_MS} ms)"] = running.enter_context(
                slow_disk(SLOW_DISK_MS)
            )
        else:
            say("  (there is no C compiler, so nothing is measured on a slower disk)")
        urls: dict[str, dict[str, str]] = {}
        for disk, variables in disks.items():
            file = f"sqlite:///{folder}/{len(urls)}"
            urls[f"SQLite{disk}"] = {
                "floor": running.enter_context(serving_floor(f"{file}-floor.sqlite3", **variables)),
                "product": running.enter_context(
                    serving_product(f"{file}-product.sqlite3", **variables)
                ),
            }
            if installed():
                server = running.enter_context(postgresql(variables=variables))
                urls[f"PostgreSQL{disk}"] = {
                    "floor": running.enter_context(serving_floor(server.create("floor"))),
                    "product": running.enter_context(serving_product(server.create("product"))),
                }
        results = {name: {which: list[Result]() for which in pair} for name, pair in urls.items()}
        for _ in range(ROUNDS):
            for name, pair in urls.items():
                for which, url in pair.items():
                    results[name][which].append(drive(url, PASSWORD, new_body(), SECONDS))
    for name, rounds in results.items():
        rates = [statistics.median(r.per_second for r in all_) for all_ in rounds.values()]
        p99 = [statistics.median(r.p99_ms for r in all_) for all_ in rounds.values()]
        target = ">= 2" if "slow" in name else ">= 1"
        show(f"webhooks on {name}, to the floor", rates[1] / rates[0], target)
        show("the same, slowest hundredth, to the floor", p99[1] / p99[0], "<= 1.5")


@contextmanager
def serving_floor(database: str, **variables: str) -> Iterator[str]:
    """Serve the bare floor on an empty database; yield the URL of its hook."""
    variables |= {"BENCH_DATABASE": database}
    run([sys.executable, "-m", "tests.bench.floor"], **variables)
    with serving("tests.bench.floor:application", ["-w", "2"], **variables) as address:
        yield f"{address}/hook"


@contextmanager
def serving_product(database: str, **variables: str) -> Iterator[str]:
    """Serve the product as shipped on an empty database; yield the URL of its endpoint."""
    variables |= {"DATABASE_URL": database}
    path = prepare_endpoint(**variables)
    with serving("config.wsgi", ["-c", "config/gunicorn.py"], **variables) as address:
        yield f"{address}{path}"


def measure_repository_field() -> None:
    """Time one keystroke of the repository field, with few and with many repositories."""
    import django

    django.setup()
    from django.test import Client
    from django.test.utils import override_settings

    from accounts.models import User
    from vcs_integrations.models import Integration, Repository

    integration = Integration.objects.get()
    client = Client()
    client.force_login(User.objects.create_superuser("bench"))

    def keystroke(text: str) -> float:
        start = time.perf_counter()
        query = {"provider": str(integration.pk), "repository": text}
        answer = client.get("/stacks/new/repositories/", query)
        assert answer.status_code == 200, answer.status_code
        return (time.perf_counter() - start) * 1000

    def typed() -> float:
        texts = ["s", "se", "ser", "service 77", "web 1", "nothing", "99", "team"] * 10
        return statistics.median(keystroke(text) for text in texts)

    def add(count: int) -> None:
        names = [(f"Team {n % 50}", f"service {n}") for n in range(count)]
        Repository.objects.bulk_create(
            Repository(
                integration=integration,
                external_id=str(uuid4()),
                project_name=project,
                name=name,
                search_text=f"{project}/{name}".casefold(),
                default_branch="main",
            )
            for project, name in names
        )

    with override_settings(ALLOWED_HOSTS=["*"]):
        add(10)
        few = typed()
        add(REPOSITORIES)
        many = typed()
    show(f"keystroke with {REPOSITORIES} repositories, median ms", many, "<= 20")
    show("the same, to ten repositories", many / few, "")


def measure_processing(folder: Path) -> None:
    """Time the way from a delivery to its run, on SQLite and on PostgreSQL where it is."""
    time_processing("SQLite", f"sqlite:///{folder}/processing.sqlite3")
    if installed():
        with postgresql() as server:
            time_processing("PostgreSQL", server.create("processing"))
    else:
        say("  (PostgreSQL is not installed, so nothing is measured on it)")


def time_processing(name: str, database: str) -> None:
    command = [sys.executable, "-m", "tests.bench.processing"]
    with serving("tests.bench.provider:application", ["-w", "1"]) as provider:
        variables = {
            "DATABASE_URL": database,
            "BENCH_ORGANIZATION": f"{provider}/bench",
            "AZURE_DEVOPS_SERVERS": provider,
        }
        prepare_endpoint(**variables)
        median, p99, few, many = json.loads(run(command, **variables))
    show(f"delivery to run at {STEADY_PER_SECOND}/s on {name}, median ms", median, "<= 300")
    show("the same, slowest hundredth", p99, "<= 1000")
    target = ">= 200" if name == "PostgreSQL" else ""
    show(f"backlog of {BACKLOG} on {name}, one worker, per second", few, target)
    show("the same with 10000 stacks on 1000 repositories, to 10", many / few, ">= 0.95")


def measure_runs(folder: Path) -> None:
    """Time the way from a push to the status of its plan, if Terraform is there."""
    if not shutil.which("terraform"):
        say("  (Terraform is not installed, so no run is measured)")
        return
    variables = {"DATABASE_URL": f"sqlite:///{folder}/runs.sqlite3", "PORT": str(free_port())}
    run([sys.executable, "manage.py", "migrate", "-v", "0"], **variables)
    ours, bare = json.loads(run([sys.executable, "-m", "tests.bench.runs"], **variables))
    show("push to status, beyond the bare commands, seconds", ours - bare, "<= 0.4")
    say(f"  (push to status {ours:.2f} s, bare commands {bare:.2f} s)")


def measure_plans() -> None:
    """Time the pages that show a plan, with few and with many changes."""
    few, many = json.loads(run([sys.executable, "-m", "tests.bench.plans"]))
    for page, milliseconds in many.items():
        show(f"{page} with 10000 changes, to 10", milliseconds / few[page], "<= 2")
        say(f"  (10: {few[page]:.1f} ms, 10000: {milliseconds:.1f} ms)")


def measure_registry(folder: Path) -> None:
    """Time the registry's answers with few and with many modules, in databases of their own."""
    medians = []
    for number in (10, 1000):
        database = {"DATABASE_URL": f"sqlite:///{folder}/modules-{number}.sqlite3"}
        prepare_endpoint(**database)
        program = [sys.executable, "-m", "tests.bench.registry", str(number)]
        medians.append(json.loads(run(program, **database)))
    few, many = medians
    for name, milliseconds in many.items():
        show(f"{name} among 1000 modules of 100 versions, to 10", milliseconds / few[name], "<= 2")
        say(f"  (10: {few[name]:.1f} ms, 1000: {milliseconds:.1f} ms)")


def measure_pages(folder: Path) -> None:
    """Time the pages across stacks with ten rows and with many, in databases of their own."""
    times = {}
    for stacks, runs in ((10, 10), (50, 50), (500, 100_000)):
        database = {"DATABASE_URL": f"sqlite:///{folder}/stacks-{stacks}.sqlite3"}
        prepare_endpoint(**database)
        program = [sys.executable, "-m", "tests.bench.pages", str(stacks), str(runs)]
        times[stacks] = json.loads(run(program, **database))
    for name, milliseconds in times[500].items():
        few = times[50 if "failed" in name else 10][name]  # a fifth of the newest runs failed
        show(f"{name} at 500 stacks, 100000 runs, to ten rows", milliseconds / few, "<= 2")
        say(f"  (ten rows: {few:.1f} ms, 500 stacks: {milliseconds:.1f} ms)")


def prepare_endpoint(**variables: str) -> str:
    """Make the product's database with one integration; return its endpoint's path."""
    run([sys.executable, "manage.py", "migrate", "-v", "0"], **variables)
    code = (
        "import os, hashlib; from vcs_integrations.models import Integration, WebhookSecret;"
        "password = os.environ['BENCH_PASSWORD'].encode();"
        "one = Integration.objects.create(provider_key='azure_devops', name='bench',"
        "organization_url=os.environ.get('BENCH_ORGANIZATION', 'https://dev.azure.com/bench'),"
        "organization_name='bench', organization_key='bench');"
        "one.store_credentials('bench');"
        "WebhookSecret.objects.update(digest=hashlib.sha256(password).hexdigest());"
        "print(one.endpoint_url)"
    )
    shell = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    url = run(shell, **variables)
    return "/webhooks/" + url.strip().partition("/webhooks/")[2]


def new_body() -> Callable[[int], bytes]:
    """Return a function that makes git.push bodies of about 3.5 KB, no two the same."""
    subscription = str(uuid4())
    commit = {"commitId": "5" * 40, "comment": "Raise the limits of the queue " * 10}
    resource = {
        "commits": [commit] * 8,
        "refUpdates": [
            {"name": "refs/heads/main", "oldObjectId": "4" * 40, "newObjectId": "5" * 40}
        ],
        "repository": {
            "id": "9f1c6f9a-5b5a-4c59-8d6c-0f6a3c0f3a11",
            "name": "infrastructure",
            "project": {"id": "1c6f9f9a-5b5a-4c59-8d6c-0f6a3c0f3a11", "name": "Platform Team"},
        },
        "pushId": 7,
    }

    def body(number: int) -> bytes:
        return json.dumps(
            {
                "subscriptionId": subscription,
                "notificationId": number,
                "id": str(uuid4()),
                "eventType": "git.push",
                "publisherId": "tfs",
                "resource": resource,
                "resourceVersion": "1.0",
                "createdDate": "2026-01-02T03:04:05.6789012Z",
            }
        ).encode()

    return body


@contextmanager
def serving(application: str, how: list[str], **variables: str) -> Iterator[str]:
    """Serve an application with gunicorn; yield its address."""
    port = free_port()
    options = [*how, "-b", f"127.0.0.1:{port}", "--log-level", "error", "--preload"]
    options += ["--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", *options, application]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def run(command: list[str], **variables: str) -> str:
    """Run a program with some variables more; return what it prints."""
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def show(what: str, value: float, target: str) -> None:
    say(f"{what:<60}{value:8.2f}  {target}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
