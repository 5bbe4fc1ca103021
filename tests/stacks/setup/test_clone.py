"""Cloning a stack's settings: what is filled in, what is copied, and what never is."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.audit.records import entries
from stacks.environment.destinations import destinations_of
from stacks.models import (
    Attachment,
    Dependency,
    Reach,
    Runs,
    SharedEnvironment,
    SharedVariable,
    Stack,
    StackVariable,
    StateGrant,
)
from tests.builders import make_run, make_schedule, make_stack, make_state_version
from tests.stacks.conftest import INFRASTRUCTURE, NEW, step, values
from vcs_integrations.models import Integration

CLONE = f"{NEW}?clone=network"
SECRET = "s3cr3t-of-network"


@pytest.fixture
def original(world: Integration) -> Stack:
    """A stack with nothing left as it is at first, variables, a state and a run."""
    repository = world.repositories.get(name="infrastructure")
    stack = make_stack(
        repository,
        branch="feature/network",
        description="VNets",
        project_root="infra/network",
        labels=["prod", "azure"],
        extra_globs=["*.tfvars", "modules/**"],
        path_rule=False,
        autodeploy=True,
        runs_drafts=False,
        tool="opentofu",
        backend="own",
        tool_version="~> 1.11",
        var_files=["prod.tfvars"],
        plan_arguments=["-parallelism=3"],
        workspace="prod",
        commands={"before_init": ["./generate.sh"]},
    )
    for name, value, is_secret in (
        ("TF_VAR_region", "westeurope\nand more", False),
        ("ARM_ENDPOINT", "https://example.com", False),
        ("ARM_CLIENT_SECRET", SECRET, True),
        ("HTTP_PROXY", "http://elsewhere.example", False),  # was allowed once
    ):
        StackVariable.objects.create(
            stack=stack, name=name, value=value, is_secret=is_secret, is_checked=True
        )
    make_state_version(make_run(stack, 1), 1)
    return stack


def finish(client: Client, first: Any, **changes: str) -> Any:
    """Go through the steps as a browser does, with what each shows."""
    response = first
    typed = values(response) | {"clone": "network"} | changes
    for number in range(1, 5):
        response = client.post(NEW, typed | {"step": str(number)})
        if response.status_code == 200:
            typed |= values(response)
    return response


def test_the_form_is_filled_in_with_the_settings(member: Client, original: Stack) -> None:
    response = member.get(CLONE)
    assert step(response) == "Integrate VCS"
    shown = values(response)
    assert shown["repository"] == INFRASTRUCTURE
    assert shown["branch"] == "feature/network"
    assert shown["name"] == "Network copy"
    assert (shown["labels"], shown["project_root"]) == ("prod, azure", "infra/network")
    assert (shown["path_rule"], shown["autodeploy"], shown["runs_drafts"]) == ("", "on", "")
    assert shown["extra_globs"] == "*.tfvars\nmodules/**"
    assert (shown["tool"], shown["backend"]) == ("opentofu", "own")
    page = response.content.decode()
    assert ">Clone Network</h1>" in page
    assert '<input type="hidden" name="clone" value="network">' in page
    assert "Copied with their values: ARM_ENDPOINT, TF_VAR_region." in page
    assert "Secrets are never copied." in page and "ARM_CLIENT_SECRET" in page
    assert "both stacks change the same resources." in page
    assert SECRET not in page and "westeurope" not in page


@pytest.mark.parametrize("role", ["admin", "member"])
def test_a_clone_has_the_settings_and_the_values_but_no_secret_and_no_state(
    request: pytest.FixtureRequest, original: Stack, role: str
) -> None:
    client: Client = request.getfixturevalue(role)
    StackVariable.objects.create(
        stack=original, name="ca.pem", value="a certificate", is_file=True, runs=Runs.TRACKED
    )
    response = finish(client, client.get(CLONE), branch="main")
    assert response["Location"] == "/stacks/network-copy/environment/"
    clone = Stack.objects.get(name="Network copy")
    same = ("repository", "description", "project_root", "labels", "extra_globs", "path_rule")
    arguments = ("tool_version", "var_files", "plan_arguments")
    for field in (
        *same,
        *arguments,
        "autodeploy",
        "runs_drafts",
        "plans_merged",
        "tool",
        "backend",
    ):
        assert getattr(clone, field) == getattr(original, field), field
    assert str(clone.owner) == {"admin": "alice", "member": "bob"}[role]
    assert clone.branch == "main"
    # Two stacks must not share the state of a workspace, and only admins choose commands.
    assert (clone.workspace, clone.commands) == ("", {})
    found = {(one.name, one.value, one.is_file, one.runs) for one in clone.variables.all()}
    assert found == {
        ("TF_VAR_region", "westeurope\nand more", False, Runs.ALL),
        ("ARM_ENDPOINT", "https://example.com", False, Runs.ALL),
        ("ca.pem", "a certificate", True, Runs.TRACKED),
    }
    assert not clone.variables.filter(is_secret=True).exists()
    assert not clone.former_secrets.exists()
    assert not clone.state_versions.exists()
    assert not clone.runs.exists()
    page = client.get(response["Location"]).content.decode()
    assert "Enter what was not copied: ARM_CLIENT_SECRET" in page
    newest = entries()[0]
    assert newest.get_verb_display() == "Created a stack"
    assert newest.thing == "Network copy"
    assert newest.note == (
        "Settings of Network; variables copied: ARM_ENDPOINT, TF_VAR_region, ca.pem; "
        "not copied: ARM_CLIENT_SECRET; arguments not copied: workspace, commands"
    )


def test_what_else_is_not_copied_is_named(admin: Client, original: Stack) -> None:
    assert "Not copied either." not in admin.get(CLONE).content.decode()
    Stack.objects.filter(pk=original.pk).update(reach=Reach.ORGANIZATION)
    shared = SharedEnvironment.objects.create(name="Azure")
    Attachment.objects.create(environment=shared, stack=original, is_by_hand=True)
    by_label = SharedEnvironment.objects.create(name="Common", labels=["prod"])
    Attachment.objects.create(environment=by_label, stack=original, label="prod")
    make_schedule(original)
    others = [make_stack(original.repository, f"Core {number}") for number in range(7)]
    for one in others:
        Dependency.objects.create(stack=original, on=one)
    StateGrant.objects.create(stack=others[0], reader=original)
    left = (
        "module access; environments attached by hand Azure; 1 schedule; dependencies on Core 0, "
        "Core 1, Core 2, Core 3, Core 4 and 2 more; permission to read the outputs of Core 0"
    )
    assert f"what it needs of these: {left}." in admin.get(CLONE).content.decode()
    finish(admin, admin.get(CLONE))
    clone = Stack.objects.get(name="Network copy")
    assert clone.reach == Reach.PROJECT
    for none in (clone.attachments, clone.schedules, clone.dependencies, clone.read_grants):
        assert not none.exists()
    assert entries()[0].note.endswith(f"; left out: {left}")


def test_a_label_of_a_clone_attaches_no_secret_to_variables_that_nobody_checked(
    admin: Client, original: Stack
) -> None:
    shared = SharedEnvironment.objects.create(name="Azure", labels=["prod"])
    SharedVariable.objects.create(
        environment=shared, name="ARM_CLIENT_SECRET", value=SECRET, is_secret=True
    )
    response = finish(admin, admin.get(CLONE))
    assert not Attachment.objects.filter(stack__name="Network copy").exists()
    page = admin.get(response["Location"]).content.decode()
    assert "Its labels attached no shared environment, as no admin has checked ARM_ENDPOINT" in page


def test_a_copied_destination_is_confirmed_before_a_secret_is_stored(
    admin: Client, original: Stack
) -> None:
    """A member could have set it, so that what an admin stores later is sent elsewhere."""
    finish(admin, admin.get(CLONE))
    clone = Stack.objects.get(name="Network copy")
    assert destinations_of(clone).names == "ARM_ENDPOINT"
    secret = {"name": "ARM_CLIENT_SECRET", "value": "another-secret", "is_secret": "on"}
    page = admin.post("/stacks/network-copy/environment/", secret).content.decode()
    assert "The secret was not stored, as these variables can send it elsewhere." in page


def test_a_clone_of_a_clone_has_a_name_of_its_own(member: Client, original: Stack) -> None:
    finish(member, member.get(CLONE))
    assert values(member.get(CLONE))["name"] == "Network copy 2"
    Stack.objects.filter(slug="network").update(name="x" * 100)
    assert len(values(member.get(CLONE))["name"]) <= 100


def test_what_cannot_be_decrypted_is_named_and_not_copied(member: Client, original: Stack) -> None:
    one = original.variables.get(name="TF_VAR_region")
    with connection.cursor() as cursor:
        table = StackVariable._meta.db_table
        cursor.execute(
            f"UPDATE {table} SET value = (SELECT value FROM {table} WHERE name = %s) "  # noqa: S608
            "WHERE id = %s",
            ["ARM_ENDPOINT", one.pk],
        )
    page = member.get(CLONE).content.decode()
    assert "These values can't be decrypted, so they are not copied: TF_VAR_region." in page
    finish(member, member.get(CLONE))
    clone = Stack.objects.get(name="Network copy")
    assert [variable.name for variable in clone.variables.all()] == ["ARM_ENDPOINT"]


def test_without_secrets_the_clone_itself_is_shown(member: Client, original: Stack) -> None:
    original.variables.all().delete()
    assert finish(member, member.get(CLONE))["Location"] == "/stacks/network-copy/"


def test_a_stack_deleted_meanwhile_loses_nothing_that_was_typed(
    member: Client, original: Stack
) -> None:
    first = member.get(CLONE)
    Stack.objects.all().delete()
    response = finish(member, first)
    assert response["Location"] == "/stacks/network-copy/"
    page = member.get(response["Location"]).content.decode()
    assert "The cloned stack was deleted, so no variables were copied." in page
    assert not StackVariable.objects.exists()


@pytest.mark.parametrize("slug", ["nothing", "\0", "x" * 10_000, "😀", "../", "1 OR 1=1", "'\"<b>"])
def test_no_address_breaks_the_form(member: Client, original: Stack, slug: str) -> None:
    response = member.get(NEW, {"clone": slug})
    assert response.status_code == 200
    assert "The stack to clone is not there any more." in response.content.decode()
    assert values(response)["name"] == ""
    typed = values(response) | {"clone": slug, "step": "1"}
    assert member.post(NEW, typed).status_code == 200


def test_a_detached_stack_can_be_cloned_to_another_integration(
    member: Client, original: Stack, linked: Integration
) -> None:
    Integration.objects.filter(pk=original.integration.pk).update(unlinked_at=timezone.now())
    response = member.get(CLONE)
    assert response.status_code == 200
    assert values(response)["repository"] == INFRASTRUCTURE


def test_the_page_of_a_stack_leads_to_its_clone(member: Client, original: Stack) -> None:
    page = member.get("/stacks/network/").content.decode()
    assert 'href="/stacks/new/?clone=network">Clone</a>' in page
