"""Runs whose state Stackhook keeps: Terraform speaks to a running Stackhook."""

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from stacks.actions import Action, act
from stacks.execution.logs import as_text
from stacks.models import Backend, Run, Stack
from stacks.states import Kind, State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import THREE, log_of, pushed, work


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[LiveServer]:
    """Stackhook over plain http: the redirect to https is read at its start."""
    with override_settings(SECURE_SSL_REDIRECT=False):
        running = LiveServer("127.0.0.1")
    yield running
    running.stop()


@pytest.fixture
def kept(server: LiveServer, settings: Settings, transactional_db: None, stack: Stack) -> Stack:
    """A stack whose state Stackhook keeps."""
    settings.PUBLIC_URL = server.url
    stack.backend = Backend.STACKHOOK
    stack.save()
    return stack


@pytest.fixture
def person(kept: Stack) -> User:
    """Somebody who confirms; roles are not asked for here."""
    return User.objects.create_user("bob")


def test_what_was_applied_is_there_for_the_next_run(
    kept: Stack, repository: Repository, person: User
) -> None:
    first = pushed(kept, repository, {"main.tf": THREE})
    (planned,) = work()
    assert planned.state == State.UNCONFIRMED, as_text(log_of(first))
    assert not kept.state_versions.exists()
    act(planned, Action.CONFIRM, person, "")
    (applied,) = work()
    assert applied.state == State.FINISHED, as_text(log_of(first))
    version = kept.state_versions.get()
    assert (version.run, version.resources) == (applied, 3)
    assert len(json.loads(version.read())["resources"][0]["instances"]) == 3

    pushed(kept, repository, {"main.tf": THREE + "# Nothing new\n"})
    (unchanged,) = work()
    assert unchanged.state == State.FINISHED
    assert (unchanged.added, unchanged.changed, unchanged.destroyed) == (0, 0, 0)

    fewer = THREE.replace("count = 3", "count = 1").replace("count.index", '"other"')
    pushed(kept, repository, {"main.tf": fewer}, Kind.PROPOSED)
    (proposed,) = work()
    assert (proposed.added, proposed.changed, proposed.destroyed) == (0, 1, 2)


@pytest.mark.parametrize(
    "named",
    [
        'terraform {\n  backend "local" {\n    path = "/tmp/elsewhere"\n  }\n}\n',
        'terraform { backend "s3" {} }\n',
        'terraform {\n  cloud {\n    organization = "fabrikam"\n  }\n}\n',
    ],
)
def test_code_that_names_a_backend_does_not_begin_with_an_empty_state(
    kept: Stack, repository: Repository, named: str
) -> None:
    Stack.objects.update(autodeploy=True)
    pushed(kept, repository, {"main.tf": THREE, "versions.tf": named})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert "versions.tf names a backend" in failed.failure


def test_a_backend_in_a_comment_or_of_an_example_is_none(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    named = 'terraform { backend "s3" {} }\n'
    files: dict[str, str | None] = {
        "main.tf": f"# {named}// {named}{THREE}",
        "examples/main.tf": named,
    }
    pushed(kept, repository, files)
    _, applied = work()
    assert applied.state == State.FINISHED, as_text(log_of(applied))
    assert kept.state_versions.count() == 1


def test_a_stale_plan_is_not_applied(kept: Stack, repository: Repository, person: User) -> None:
    run = pushed(kept, repository, {"main.tf": THREE})
    work()
    other = Stack.objects.create(name="Other", repository=kept.repository, branch="main")
    pushed(other, repository, {"main.tf": THREE})
    Stack.objects.filter(pk=other.pk).update(autodeploy=True)
    work()
    # As if somebody had applied something else meanwhile.
    other.state_versions.update(stack=kept)
    act(Run.objects.get(pk=run.pk), Action.CONFIRM, person, "")
    (failed,) = work()
    assert failed.state == State.FAILED
    assert "Saved plan" in as_text(log_of(run))
    assert kept.state_versions.count() == 1
