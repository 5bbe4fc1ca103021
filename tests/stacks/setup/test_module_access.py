"""Module access: admins choose which other repositories the code of a stack may read."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from accounts.audit.records import Verb, entries
from stacks.environment.copying import copying_of
from stacks.models import Reach, Stack
from stacks.setup.cloning import Clone
from tests.stacks.conftest import errors
from vcs_integrations.models import Repository

PAGE = "/stacks/network/modules/"


@pytest.fixture
def shared(stack: Stack) -> Repository:
    """A repository of another project."""
    return Repository.objects.create(
        integration=stack.integration,
        external_id="shared",
        name="shared",
        project_id="common",
        project_name="Common",
        search_text="common/shared",
    )


def send(client: Client, stack: Stack, **changes: str) -> Any:
    typed = {"repositories": "", "plans_module_changes": "on"}
    return client.post(PAGE, {"source": str(stack.repository_id)} | typed | changes)


def chosen(stack: Stack) -> tuple[str, list[str]]:
    stack.refresh_from_db()
    return stack.reach, [str(one) for one in stack.readable.all()]


def test_an_admin_lists_repositories_and_the_audit_log_says_which(
    admin: Client, member: Client, stack: Stack, shared: Repository
) -> None:
    assert chosen(stack) == ("project", [])
    typed = f"\n  Common/shared \n{shared.web_url}\n"
    answer = send(admin, stack, reach="listed", repositories=typed)
    assert (answer.status_code, answer["Location"]) == (302, stack.get_absolute_url())
    assert chosen(stack) == ("listed", ["Common/shared"])
    entry = entries().filter(verb=Verb.STACK_CHANGED).get()
    assert entry.note == ("Module access: Those of its own project, and these: Common/shared")
    page = member.get(PAGE).content.decode()
    assert "Common/shared</textarea>" in page
    assert "Only an admin of Stackhook can change this." in page
    assert ">Save</button>" not in page
    assert "Common/shared</textarea>" in admin.get(PAGE).content.decode()
    # What is not listed any more is no longer readable.
    assert send(admin, stack, reach="organization", repositories=typed).status_code == 302
    assert chosen(stack) == ("organization", [])


def test_the_stack_says_what_its_code_may_read_and_where_that_is_changed(
    admin: Client, member: Client, stack: Stack, shared: Repository
) -> None:
    def said(client: Client) -> str:
        page = strip_tags(client.get(stack.get_absolute_url()).content.decode())
        return " ".join(page.split()).partition("Module access")[2].partition(".")[0].strip()

    assert said(admin) == "Repositories of its own project"
    send(admin, stack, reach="listed", repositories="Common/shared")
    assert said(member) == "Repositories of its own project, and of others Common/shared"
    for number in range(4):
        shared.pk, shared.external_id, shared.name = None, str(number), f"zone-{number}"
        shared.save()
        stack.readable.add(shared)
    assert said(member).endswith("Common/shared, Common/zone-0, Common/zone-1 and 2 more")
    send(admin, stack, reach="organization")
    assert said(member) == "All repositories of the organization that the token may read"
    for client, does in ((admin, "Change"), (member, "Show")):
        link = f'href="{PAGE}" aria-label="{does} module access"'
        assert link in client.get(stack.get_absolute_url()).content.decode()


def test_editing_leads_to_all_other_settings_of_a_stack(member: Client, stack: Stack) -> None:
    page = member.get(f"{stack.get_absolute_url()}edit/").content.decode()
    for name in (
        "change_source", "change_behavior", "change_backend", "change_arguments", "module_access",
    ):  # fmt: skip
        assert f'href="{reverse(f"stacks:{name}", args=[stack.slug])}"' in page


@pytest.mark.parametrize("reach", Reach.values)
def test_a_member_does_not_widen_it(member: Client, stack: Stack, reach: str) -> None:
    assert send(member, stack, reach=reach).status_code == 403
    assert chosen(stack) == ("project", [])
    assert not entries().filter(verb=Verb.STACK_CHANGED).exists()


def test_what_is_wrong_is_said_and_nothing_typed_is_lost(admin: Client, stack: Stack) -> None:
    typed = "Common/gone\nhttps://me:secret@github.com/example/shared"
    answer = send(admin, stack, reach="listed", repositories=typed)
    said = errors(answer, "repositories")
    assert "has no repository “Common/gone”, “https://github.com/example/shared”" in said
    assert "Common/gone" in answer.content.decode()
    answer = send(admin, stack, reach="listed")
    assert errors(answer, "repositories").startswith("List at least one repository")
    assert errors(send(admin, stack, reach="everything"), "reach")
    assert errors(send(admin, stack, reach="\0"), "reach")
    many = "\n".join(f"Common/{number}" for number in range(101))
    answer = send(admin, stack, reach="listed", repositories=many)
    assert "the list takes 100" in errors(answer, "repositories")
    assert chosen(stack) == ("project", [])


def test_what_was_chosen_for_other_code_has_to_be_chosen_again(
    admin: Client, stack: Stack, shared: Repository
) -> None:
    before = str(stack.repository_id)
    stack.follow(shared, "main")
    answer = send(admin, stack, source=before, reach="organization")
    assert "The stack follows Common/shared by now" in errors(answer, "__all__")
    assert chosen(stack) == ("project", [])
    assert answer.context["form"]["source"].value() == str(shared.pk)
    assert send(admin, stack, reach="organization").status_code == 302


def test_an_admin_closes_a_stack_to_proposed_code_of_modules(admin: Client, stack: Stack) -> None:
    assert send(admin, stack, reach="project", plans_module_changes="").status_code == 302
    stack.refresh_from_db()
    assert not stack.plans_module_changes
    entry = entries().filter(verb=Verb.STACK_CHANGED).get()
    assert entry.note.endswith("; proposed changes of modules are not planned")
    # A clone is not open to it either.
    assert Clone(stack, copying_of(stack)).stack_fields["plans_module_changes"] is False


def test_a_member_does_not_open_a_stack_to_proposed_code_of_modules(
    member: Client, stack: Stack
) -> None:
    Stack.objects.update(plans_module_changes=False)
    assert send(member, stack, reach="project").status_code == 403
    stack.refresh_from_db()
    assert not stack.plans_module_changes
