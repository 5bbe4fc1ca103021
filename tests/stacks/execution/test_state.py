"""Runs whose state Stackhook keeps: Terraform speaks to a running Stackhook."""

import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from stacks.execution.output.logs import as_text
from stacks.execution.tools.backends import FILE
from stacks.lifecycle.actions import Action, NotPossible, act
from stacks.models import Run, Stack
from stacks.reports.texts import describe
from stacks.rules.states import Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.conftest import make_person, signed_in
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import THREE, log_of, pushed, work
from tests.stacks.reports.sender import look, send_all
from vcs_integrations.providers.base import digest

# With the resource of Terraform's own that needs no provider.
A_STATE = {
    "version": 4,
    "terraform_version": "1.4.0",
    "serial": 7,
    "lineage": "3f0c7f0b-7d4c-4c42-8a7b-7d2a3b0d9a10",
    "outputs": {},
    "resources": [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": "network",
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [
                {
                    "schema_version": 0,
                    "attributes": {
                        "id": "made-before",
                        "input": None,
                        "output": None,
                        "triggers_replace": None,
                    },
                    "sensitive_attributes": [],
                }
            ],
        }
    ],
}


MOVED = "The state changed since this plan was made (no state, now version 1)."


@pytest.fixture
def person(kept: Stack) -> User:
    """Somebody who confirms."""
    return make_person("bob", Role.MEMBER)


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


def test_what_is_only_moved_imported_or_forgotten_is_counted_and_reaches_the_state(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    resource = 'resource "terraform_data" "%s" {}\n'
    steps: tuple[tuple[str, str, list[dict[str, str]]], ...] = (
        (resource % "old", "1 added, 0 changed, 0 destroyed", []),
        (
            resource % "new"
            + "moved {\n  from = terraform_data.old\n  to = terraform_data.new\n}\n",
            "0 added, 0 changed, 0 destroyed, 1 moved",
            [
                {
                    "address": "terraform_data.new",
                    "action": "move",
                    "moved_from": "terraform_data.old",
                }
            ],
        ),
        (
            resource % "new"
            + resource % "found"
            + 'import {\n  to = terraform_data.found\n  id = "here-before"\n}\n',
            "1 imported, 0 added, 0 changed, 0 destroyed",
            [{"address": "terraform_data.found", "action": "import"}],
        ),
        (
            resource % "found"
            + "removed {\n  from = terraform_data.new\n"
            + "  lifecycle {\n    destroy = false\n  }\n}\n",
            "0 added, 0 changed, 0 destroyed, 1 forgotten",
            [{"address": "terraform_data.new", "action": "forget"}],
        ),
    )
    for code, counts, listed in steps:
        run = pushed(kept, repository, {"main.tf": code})
        planned, applied = work()
        assert (planned.state, applied.state) == (State.CONFIRMED, State.FINISHED), as_text(
            log_of(run)
        )
        assert describe(applied) == f"Run {run.number} applied: {counts}"
        assert not listed or (applied.plan or {})["resources"] == listed
    newest = kept.state_versions.order_by("-pk")[0]
    assert [one["name"] for one in json.loads(newest.read())["resources"]] == ["found"]


def test_a_project_root_without_configuration_destroys_nothing(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True, project_root="infra")
    pushed(kept, repository, {"infra/main.tf": THREE})
    assert work()[-1].state == State.FINISHED
    moved: dict[str, str | None] = {
        "infra/main.tf": None,
        "infra/prod/main.tf": THREE,
        "infra/.hidden.tf": THREE,
        "infra/override.tf": "terraform {}\n",
    }
    pushed(kept, repository, moved)
    (failed,) = work()
    assert failed.state == State.FAILED
    assert failed.failure == (
        "The project root holds no Terraform configuration. Add a file like main.tf to “infra”, "
        "or change the project root of the stack if the code moved."
    )
    assert kept.state_versions.get().resources == 3


def test_what_destroys_everything_waits_for_a_person_and_says_so(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    assert follow_from_now(kept) is None
    repository.push({"main.tf": THREE})
    look(kept)
    assert work()[-1].state == State.FINISHED
    everything = "This plan destroys every resource in the state."

    emptied: dict[str, str | None] = {"main.tf": "# Everything moved\n"}
    repository.push(emptied, branch="topic")
    pull_request = repository.open_pull_request("topic")
    look(kept)
    (proposed,) = work()
    assert (proposed.state, proposed.destroyed) == (State.FINISHED, 3)
    send_all()
    assert everything in pull_request.statuses[-1].description
    assert everything in pull_request.threads[0].comments[0].content

    sha = repository.push(emptied)
    look(kept)
    (waiting,) = work()
    assert (waiting.state, waiting.destroyed) == (State.UNCONFIRMED, 3)
    send_all()
    assert everything in repository.statuses[sha][-1].description


def test_what_destroys_something_is_applied_automatically(
    kept: Stack, repository: Repository
) -> None:
    Stack.objects.update(autodeploy=True)
    pushed(kept, repository, {"main.tf": THREE})
    pushed(kept, repository, {"main.tf": THREE.replace("count = 3", "count = 1")})
    assert work()[-1].state == State.FINISHED
    assert kept.state_versions.count() == 2


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("a.tf", 'terraform {\n  backend "local" {\n    path = "/tmp/elsewhere"\n  }\n}\n'),
        ("a.tf", 'terraform { backend "s3" {} }\n'),
        ("a.tf", "terraform {\n  backend local {\n  }\n}\n"),
        ("a.tf", 'terraform {\n  backend "http" {\n  }\n}\n'),
        ("a.tf", 'terraform {\n  cloud {\n    organization = "fabrikam"\n  }\n}\n'),
        ("a.tf.json", '{"terraform": {"backend": {"local": {}}}}'),
        ("0.tf.json", '{"terraform": [{"backend": [{"s3": {}}]}]}'),
        ("override.tf", 'terraform {\n  backend "local" {}\n}\n'),
        ("a_override.tf.json", '{"terraform": {"backend": {"local": {}}}}'),
        ("zzz_override.tf.json", '{"terraform": {"backend": {"local": {"path": "/tmp/a"}}}}'),
        ("override.tf", 'terraform {\n  backend "http" {\n    update_method = "GET"\n  }\n}\n'),
        ("override.tf", 'terraform {\n  backend "http" {\n    username = "run-0"\n  }\n}\n'),
        (
            "override.tf",
            'terraform {\n  backend "http" {\n    address = "http://127.0.0.1:9/"\n  }\n}\n',
        ),
    ],
)
def test_code_that_names_a_backend_does_not_begin_with_an_empty_state(
    kept: Stack, repository: Repository, file: str, named: str
) -> None:
    Stack.objects.update(autodeploy=True)
    run = pushed(kept, repository, {"main.tf": THREE, file: named})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert failed.failure.startswith(f"{file} names a backend"), as_text(log_of(run))


def test_what_only_looks_like_a_backend_is_none(kept: Stack, repository: Repository) -> None:
    Stack.objects.update(autodeploy=True)
    named = 'terraform {\n  backend "local" {}\n}\n'
    heredoc = f'output "text" {{\n  value = <<-EOT\n{named}EOT\n}}\n'
    files: dict[str, str | None] = {
        "main.tf": f"/*\n{named}*/\n// backend local {{}}\n# backend local {{}}\n{THREE}",
        "heredoc.tf": heredoc,
        "child.tf": 'module "child" {\n  source = "./child"\n}\n',
        "child/main.tf": named,
        "examples/main.tf": named,
        "other_tool.tofu": named,
        ".hidden.tf": named,
        "main.tf~": named,
        "terraform.tfstate": '{"version": 4, "outputs": {}, "resources": []}',
        "terraform.tfstate.backup": '{"version": 4, "outputs": {}, "resources": [{}]}',
    }
    run = pushed(kept, repository, files)
    assert work()[-1].state == State.FINISHED, as_text(log_of(run))
    assert kept.state_versions.count() == 1


def test_a_file_of_the_code_is_not_replaced_with_that_of_stackhook(
    kept: Stack, repository: Repository
) -> None:
    pushed(kept, repository, {"main.tf": "", FILE: THREE})
    (failed,) = work()
    assert failed.failure.startswith("The commit has a file named 00_stackhook_backend")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("terraform.tfstate", "terraform.tfstate in the project root is a state"),
        ("terraform.tfstate.d/prod/terraform.tfstate", "terraform.tfstate.d in the project root"),
    ],
)
def test_a_state_in_the_project_root_is_named_with_what_to_do(
    kept: Stack, repository: Repository, file: str, sentence: str
) -> None:
    pushed(kept, repository, {"main.tf": THREE, file: json.dumps(A_STATE)})
    (failed,) = work()
    assert failed.state == State.FAILED
    assert failed.failure.startswith(sentence)
    assert "have an admin upload it on the stack's State page" in failed.failure


def test_an_uploaded_state_is_what_the_next_plan_starts_from(
    kept: Stack, repository: Repository, alice: User
) -> None:
    admin, upload = signed_in(alice), f"/stacks/{kept.slug}/state/upload/"
    content = json.dumps(A_STATE).encode()
    file = SimpleUploadedFile("terraform.tfstate", content)
    shown = admin.post(upload, {"state": file}, follow=True).context["confirmation"].destinations
    typed = {"digest": digest(content), "destinations": shown.digest, "confirmed": "on"}
    admin.post(f"{upload}confirm/", typed)
    run = pushed(kept, repository, {"main.tf": 'resource "terraform_data" "network" {}\n'})
    (unchanged,) = work()
    assert unchanged.state == State.FINISHED, as_text(log_of(run))
    assert (unchanged.added, unchanged.changed, unchanged.destroyed) == (0, 0, 0)

    Stack.objects.update(autodeploy=True)
    more = 'resource "terraform_data" "network" {}\nresource "terraform_data" "more" {}\n'
    run = pushed(kept, repository, {"main.tf": more})
    assert work()[-1].state == State.FINISHED, as_text(log_of(run))
    newest = kept.state_versions.first()
    assert newest
    assert (newest.number, newest.lineage, newest.resources) == (2, A_STATE["lineage"], 2)


def test_a_stale_plan_is_not_applied(
    kept: Stack, repository: Repository, person: User, admin: Client
) -> None:
    run = pushed(kept, repository, {"main.tf": THREE})
    work()
    other = make_stack(kept.repository, "Other")
    pushed(other, repository, {"main.tf": THREE})
    Stack.objects.filter(pk=other.pk).update(autodeploy=True)
    work()
    # As if somebody had applied something else meanwhile.
    other.state_versions.update(stack=kept)
    page = " ".join(admin.get(run.get_absolute_url()).content.decode().split())
    assert f"It can't be confirmed.</strong> {MOVED} Discard it" in page
    assert 'value="confirm"' not in page
    with pytest.raises(NotPossible, match=re.escape(f"{MOVED} Discard it, then retry it")):
        act(Run.objects.get(pk=run.pk), Action.CONFIRM, person, "")
    # As if it had been confirmed just before.
    Run.objects.get(pk=run.pk).move_to(State.CONFIRMED)
    (failed,) = work()
    assert (failed.state, failed.failure) == (
        State.FAILED,
        f"{MOVED} Nothing was applied. Retry it to plan again.",
    )
    assert kept.state_versions.count() == 1
    act(failed, Action.RETRY, person, "")
    (again,) = work()
    assert (again.state, again.added) == (State.FINISHED, 0)


def test_a_restored_version_is_what_the_next_plan_starts_from(
    admin: Client, kept: Stack, repository: Repository, bob: User
) -> None:
    kept.variables.update(is_checked=True)  # nothing is to be confirmed about them
    for count in (3, 1):
        code = THREE.replace("count = 3", f"count = {count}")
        pushed(kept, repository, {"main.tf": code})
        (waiting,) = work()
        act(waiting, Action.CONFIRM, bob, "")
        (applied,) = work()
        assert applied.state == State.FINISHED, applied.failure
    full = kept.state_versions.filter(resources=3).first()
    assert full
    restored = admin.post(
        f"/stacks/{kept.slug}/state/versions/{full.number}/restore/", {"name": kept.name}
    )
    assert restored.status_code == 302
    pushed(kept, repository, {"more.tf": "# Nothing"})
    (waiting,) = work()
    assert (waiting.state, waiting.destroyed) == (State.UNCONFIRMED, 2), waiting.failure
    act(waiting, Action.CONFIRM, bob, "")
    (applied,) = work()
    assert applied.state == State.FINISHED, applied.failure
    newest = kept.state_versions.first()
    assert newest and newest.resources == 1
