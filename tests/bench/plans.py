"""How long the pages take that show a plan, with 10 changes and with 10,000.

Run as a program, with the database that the environment names, it prints JSON.
"""

import json
import statistics
import sys
import time
from typing import Any

import django
from django.conf import settings

ROUNDS = 60
SIZES = (10, 10_000)


def main() -> None:
    django.setup()
    from django.test import Client
    from django.test.utils import override_settings

    from accounts.models import User
    from stacks.rules.states import State
    from tests.builders import make_plan, make_run, make_stack
    from vcs_integrations.models import Integration

    stack = make_stack(Integration.objects.get())
    client = Client()
    client.force_login(User.objects.create_superuser("plans"))
    pages = []
    for number, size in enumerate(SIZES, start=1):
        run = make_plan(make_run(stack, number, state=State.FINISHED), a_plan(size))
        url = run.get_absolute_url()
        pages.append(
            {
                "page of a run": url,
                "page of its plan": f"{url}plan/",
                "search in it": f"{url}plan/?q=subnet",
                "one change": f"{url}plan/{size // 2}/",
            }
        )

    def once(url: str) -> float:
        started = time.perf_counter()
        assert client.get(url).status_code == 200
        return (time.perf_counter() - started) * 1000

    # Without the list of hashed names, which only a build of static files makes.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    storages = settings.STORAGES | {"staticfiles": plain}
    with override_settings(ALLOWED_HOSTS=["*"], STORAGES=storages):
        times: list[dict[str, list[float]]] = [{name: [] for name in one} for one in pages]
        for _ in range(ROUNDS):  # in turns, as the machine's speed changes
            for measured, one in zip(times, pages, strict=True):
                for name, url in one.items():
                    measured[name].append(once(url))
    medians = [{name: statistics.median(all_) for name, all_ in one.items()} for one in times]
    sys.stdout.write(json.dumps(medians))


def a_plan(size: int) -> dict[str, Any]:
    changes = [
        {
            "address": f"module.net.azurerm_subnet.one[{number}]",
            "module_address": "module.net",
            "type": "azurerm_subnet",
            "change": {
                "actions": ["update"],
                "before": {"name": f"subnet-{number}", "tags": {"env": "dev"}},
                "after": {"name": f"subnet-{number}", "tags": {"env": "prod"}},
            },
        }
        for number in range(size)
    ]
    return {"resource_changes": changes}


if __name__ == "__main__":
    main()
