"""How long the registry's answers and the list take with so many modules of 100 versions each.

Run as a program with that number, and the database that the environment names, it prints JSON.
"""

import json
import statistics
import sys
import time

import django
from django.conf import settings

ROUNDS = 100
VERSIONS = 100


def main() -> None:
    django.setup()
    from django.test import Client
    from django.test.utils import override_settings

    from accounts.models import User
    from accounts.tokens.records import create_token
    from stacks.rules.states import State
    from stacks.tfstate.credentials import issue_credential, registry_token_of
    from tests.builders import make_run, make_stack
    from vcs_integrations.models import Integration

    number = int(sys.argv[1])
    store_modules(number)
    run = make_run(make_stack(Integration.objects.get()), state=State.PLANNING)
    person = User.objects.create_superuser("registry")
    tokens = {
        "a person": create_token(person, "bench", None)[1],
        "a run": registry_token_of(run, issue_credential(run)),
    }
    path = f"/registry/v1/modules/bench/module-{number // 2}/aws/"
    client = Client()

    client.force_login(person)

    def once(url: str, token: str) -> float:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        started = time.perf_counter()
        answer = client.get(url, headers=headers)
        assert answer.status_code in {200, 204}
        return (time.perf_counter() - started) * 1000

    asked = {
        f"{name} asks for {what}": (f"{path}{end}", token)
        for name, token in tokens.items()
        for what, end in {"versions": "versions", "a version": "1.50.0/download"}.items()
    }
    asked |= {
        "the list of modules": ("/modules/", ""),
        "a search in the list": ("/modules/?q=module-7/aws", ""),
    }
    # Without the list of hashed names, which only a build of static files makes.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    storages = settings.STORAGES | {"staticfiles": plain}
    with override_settings(ALLOWED_HOSTS=["*"], STORAGES=storages):
        times: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS):
            for name, (url, token) in asked.items():
                times[name].append(once(url, token))
    sys.stdout.write(json.dumps({name: statistics.median(all_) for name, all_ in times.items()}))


def store_modules(number: int) -> None:
    """Store so many modules with published versions, which share one archive."""
    from django.utils import timezone

    from modules.models import Module, ModuleVersion, VersionState
    from modules.rules.semver import SemVer
    from tests.builders import archive_of, make_archive, make_repository
    from vcs_integrations.models import Integration

    repository = make_repository(Integration.objects.get())
    archive = make_archive(archive_of({"main.tf": ""}))
    modules = Module.objects.bulk_create(
        Module(
            namespace="bench",
            name=f"module-{index}",
            system="aws",
            repository=repository,
            branch="main",
            search_text=f"bench/module-{index}/aws",
        )
        for index in range(number)
    )
    now = timezone.now()
    versions = []
    for module in modules:
        for minor in range(VERSIONS):
            one = ModuleVersion.of(module, SemVer((1, minor, 0)), f"v1.{minor}.0", "a" * 40)
            one.state, one.published_at, one.archive = VersionState.PUBLISHED, now, archive
            versions.append(one)
    ModuleVersion.objects.bulk_create(versions, batch_size=1000)


if __name__ == "__main__":
    main()
