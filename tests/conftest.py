"""What tests share: people, a linked organization, and the emulator it is linked to."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings as product
from django.contrib.auth.models import Group
from django.contrib.contenttypes.management import create_contenttypes
from django.core.cache import cache
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client, override_settings
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.audit import refusals
from accounts.forms import give_role
from accounts.models import Team, User
from accounts.roles import Role
from tests.builders import make_integration, store_integration
from tests.databases import copy_database, migrated_file
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from tests.postgresql import PostgreSQL, postgresql
from tests.smtp import MailServer, mail_server
from vcs_integrations.models import Integration
from vcs_integrations.providers.azure_devops import client as azure_devops

# Playwright keeps an event loop in this thread, which Django takes for asynchronous code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

# No test is decided by time, which a machine under load has less of.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """A pause that one test was asked for, or what it left uncounted, is not kept in the next."""
    azure_devops.resume_times.clear()
    azure_devops.spoken_versions.clear()
    refusals.uncounted.clear()


@pytest.fixture
def alice(db: None) -> User:
    """An admin."""
    return make_person("alice", Role.ADMIN)


@pytest.fixture
def bob(db: None) -> User:
    """A member."""
    return make_person("bob", Role.MEMBER)


@pytest.fixture
def dora(db: None) -> User:
    """An approver."""
    return make_person("dora", Role.APPROVER)


@pytest.fixture
def vera(db: None) -> User:
    """A viewer."""
    return make_person("vera", Role.VIEWER)


@pytest.fixture
def charlie(db: None) -> User:
    """Somebody who can sign in and has no role."""
    return make_person("charlie", None)


@pytest.fixture
def admin(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def member(bob: User) -> Client:
    return signed_in(bob)


@pytest.fixture
def approver(dora: User) -> Client:
    return signed_in(dora)


@pytest.fixture
def stranger() -> Client:
    return over_https()


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of all processes of pytest."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session")
def migrated(common_folder: Path) -> Path:
    """A SQLite file with all tables, one for all processes of pytest."""
    return migrated_file(common_folder)


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """The database of the tests: a copy of that file, or what TEST_DATABASE_URL names."""
    # Emptying all tables after a test with transactions of its own would fill these two again,
    # which nothing reads, and which takes fifteen times as long as the emptying.
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    if connection.vendor != "sqlite":
        yield
        return
    file = Path(connection.settings_dict["TEST"]["NAME"])
    connection.close()
    connection.settings_dict["NAME"] = product.DATABASES["default"]["NAME"] = file
    remove_database(file)  # what is beside one that was left would be read as part of the new one
    copy_database(request.getfixturevalue("migrated"), file)
    yield
    connection.close()
    remove_database(file)


@pytest.fixture(scope="session")
def server(common_folder: Path) -> Iterator[PostgreSQL]:
    """A PostgreSQL server that does not wait for the disk."""
    with postgresql("-F", shared=common_folder) as running:
        yield running


@pytest.fixture(scope="session")
def live_server(django_db_setup: None) -> Iterator[LiveServer]:
    """Stackhook on a free port, over plain http: the redirect to https is read at its start."""
    with override_settings(SECURE_SSL_REDIRECT=False, SECURE_HSTS_SECONDS=0):
        server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def site(live_server: LiveServer, settings: Settings, transactional_db: None) -> str:
    """The address of Stackhook, which is also the one webhooks are sent to."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    settings.PUBLIC_URL = live_server.url
    return live_server.url


@pytest.fixture
def emulator(tmp_path: Path, settings: Settings) -> Iterator[Emulator]:
    """A local Azure DevOps without organizations, allowed as a server."""
    with Emulator(tmp_path / "emulator", allow_local_hooks=True) as running:
        settings.AZURE_DEVOPS_SERVERS = [running.url]
        yield running


@pytest.fixture
def organization(emulator: Emulator) -> Organization:
    """The organization fabrikam, with the repository Platform Team/infrastructure."""
    organization = emulator.add_organization("fabrikam")
    organization.add_project("Platform Team").add_repository(
        "infrastructure", files={"main.tf": 'output "a" {\n  value = 1\n}\n'}
    )
    return organization


@pytest.fixture
def project(organization: Organization) -> Project:
    project = organization.project("Platform Team")
    assert project
    return project


@pytest.fixture
def repository(project: Project) -> Repository:
    repository = project.repository("infrastructure")
    assert repository
    return repository


@pytest.fixture
def token(organization: Organization) -> str:
    return organization.add_token({"vso.code_write"})


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    """A mail server that Stackhook mails through."""
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        yield server


@pytest.fixture
def linked(db: None) -> Integration:
    """An organization that is linked, and that nobody answers for."""
    return store_integration(name="Ours")


@pytest.fixture
def integration(db: None, organization: Organization, token: str) -> Integration:
    """The organization of the emulator, linked."""
    return make_integration(organization.url, token)


def remove_database(file: Path) -> None:
    """Remove a SQLite file and its logs."""
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


def make_person(username: str, role: Role | None) -> User:
    person = User.objects.create_user(username, password=PASSWORD)
    if role:
        # A test with transactions of its own, before this one, may have emptied every table.
        Group.objects.get_or_create(name=role)
        give_role(person, role)
    return person


def make_team(name: str, *people: User) -> Team:
    team = Team.objects.create(name=name)
    team.people.set(people)
    return team


def over_https(**options: Any) -> Client:
    """A client as behind a proxy that speaks https; the options are those of Django's."""
    return Client(headers={"X-Forwarded-Proto": "https"}, **options)


def signed_in(person: User) -> Client:
    client = over_https()
    client.force_login(person)
    return client
