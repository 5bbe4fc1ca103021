"""The list of stacks, a stack's own pages, and what happens when its organization is unlinked."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from stacks.models import Stack
from stacks.rules.states import Kind, State
from tests.builders import make_integration, make_run, make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.stacks.conftest import INFRASTRUCTURE, errors, remote, source
from vcs_integrations.models import Integration

STACK = "/stacks/network/"


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def listed(response: Any) -> list[str]:
    return [stack.name for stack in response.context["list"].page]


# The list


@pytest.fixture
def several(world: Integration) -> None:
    repository = world.repositories.get()
    for name, branch, labels in (
        ("Ärger mit Straßen", "main", ["prod"]),
        ("Network", "feature/network", ["PROD", "Europa"]),
        ("100% _done_", "main", []),
    ):
        make_stack(repository, name, branch=branch, labels=labels)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["100% _done_", "Network", "Ärger mit Straßen"]),
        ("ärger", ["Ärger mit Straßen"]),
        ("ÄRGER", ["Ärger mit Straßen"]),
        ("STRASSEN", ["Ärger mit Straßen"]),
        ("network", ["Network"]),
        ("FEATURE/net", ["Network"]),
        ("prod", ["Network", "Ärger mit Straßen"]),
        ("europa net", ["Network"]),
        ("net europa", ["Network"]),
        ("platform infra", ["100% _done_", "Network", "Ärger mit Straßen"]),
        ("platform europa", ["Network"]),
        ("%", ["100% _done_"]),
        ("_", ["100% _done_"]),
        ("nothing of this", []),
        ("  network  ", ["Network"]),
    ],
)
def test_the_search_finds_words_of_name_label_branch_and_repository(
    member: Client, several: None, words: str, found: list[str]
) -> None:
    for headers in ({}, {"HX-Request": "true"}):
        assert listed(member.get("/stacks/", {"q": words}, headers=headers)) == found


def test_a_search_without_matches_says_so_and_leads_back(member: Client, several: None) -> None:
    page = text(member.get("/stacks/", {"q": "<zzz>"}))
    assert "No stack matches “&lt;zzz&gt;”." in page
    assert "Show all stacks" in page
    assert 'value="&lt;zzz&gt;"' in page


@pytest.mark.parametrize("words", ["\0", "a " * 3000, "'", "x" * 50_000, "😀"])
def test_no_search_breaks(member: Client, several: None, words: str) -> None:
    assert member.get("/stacks/", {"q": words}).status_code == 200


def test_a_search_by_htmx_gets_the_table_alone(member: Client, several: None) -> None:
    part = text(member.get("/stacks/?q=net", headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert "<table" in part


def test_the_page_says_how_old_the_head_is(
    member: Client, stack: Stack, repository: Repository
) -> None:
    sha = repository.push({"b.tf": "2"})
    member.post(f"{STACK}head/")
    Stack.objects.update(head_read_at=timezone.now() - timedelta(days=3))
    page = text(member.get(STACK)).replace("\xa0", " ")
    assert sha[:8] in page
    assert "3 d ago</time>" in page


def test_the_list_is_empty_at_first_and_says_what_to_do(member: Client, db: None) -> None:
    page = text(member.get("/stacks/"))
    assert "No stacks yet" in page
    assert "Create the first stack" in page


def test_the_list_goes_over_several_pages_and_keeps_the_search(
    member: Client, world: Integration
) -> None:
    repository = world.repositories.get()
    Stack.objects.bulk_create(
        Stack(
            name=f"service {number:03}",
            slug=f"service-{number}",
            repository=repository,
            branch="main",
            search_text=f"service {number:03} main",
        )
        for number in range(90)
    )
    first = member.get("/stacks/?q=service")
    assert listed(first) == [f"service {number:03}" for number in range(30)]
    assert 'href="?page=2&amp;q=service"' in text(first)
    last = member.get("/stacks/?q=service&page=3")
    assert listed(last) == [f"service {number:03}" for number in range(60, 90)]
    assert "Page 3 of 3" in text(last)
    for number in ("0", "-1", "x", "999", "9" * 50):
        assert member.get(f"/stacks/?page={number}").status_code == 200


# One stack


def test_the_page_of_a_stack_leads_to_azure_devops(
    member: Client, stack: Stack, organization: Organization
) -> None:
    stack.branch = "feature/network"
    stack.labels, stack.description, stack.project_root = ["prod"], "All of it", "infra/net"
    stack.save()
    member.post(f"{STACK}head/")
    stack.refresh_from_db()
    page = text(member.get(STACK))
    web = f"{organization.url}/Platform%20Team/_git/infrastructure"
    assert f'href="{web}"' in page
    assert f'href="{web}?version=GBfeature%2Fnetwork"' in page
    assert f'href="{web}/commit/{stack.head_sha}"' in page
    for shown in ("prod", "All of it", "<code>infra/net</code>", "Azure DevOps · fabrikam"):
        assert shown in page


@pytest.mark.parametrize(
    ("address", "tab"),
    [
        ("", "Runs"),
        ("activity/", "Activity"),
        ("state/versions/", "State"),
        ("environment/", "Environment"),
    ],
)
def test_the_tab_of_the_page_at_hand_is_marked(
    member: Client, stack: Stack, address: str, tab: str
) -> None:
    page = text(member.get(f"{STACK}{address}"))
    tabs = page[page.index('aria-label="Stack"') :]
    assert re.findall(r'aria-current="page">(\w+)<', tabs) == [tab]


def test_a_stack_that_is_not_there_is_not_found(member: Client, world: Integration) -> None:
    for path in ("", "edit/", "source/", "delete/"):
        assert member.get(f"/stacks/nothing/{path}").status_code == 404
    assert member.post("/stacks/nothing/head/").status_code == 404


def test_names_with_markup_are_only_text(member: Client, stack: Stack) -> None:
    Stack.objects.update(name="<script>alert(1)</script>", labels=["<b>"], description="<i>")
    page = text(member.get(STACK)) + text(member.get("/stacks/")) + text(member.get("/"))
    for markup in ("<script>alert", "<b>", "<i>"):
        assert markup not in page


# The head commit


def test_the_head_commit_is_read_again_on_demand(
    member: Client, stack: Stack, repository: Repository
) -> None:
    assert "Not read yet." in text(member.get(STACK))
    sha = repository.push(
        {"b.tf": "2"}, message="Second try\n\nWith a reason.", author="Zoë <zoe@fabrikam.example>"
    )
    page = text(member.post(f"{STACK}head/", follow=True))
    assert f">{sha[:8]}</code></a> Second try</p>" in page
    assert "With a reason." not in page
    assert "Zoë" in page
    newer = repository.push({"b.tf": "3"}, message="Third try")
    part = text(member.post(f"{STACK}head/", headers={"HX-Request": "true"}))
    assert newer[:8] in part and "<html" not in part


def test_a_head_that_can_not_be_read_keeps_what_was_known_and_says_why(
    member: Client, stack: Stack, emulator: Emulator
) -> None:
    member.post(f"{STACK}head/")
    stack.refresh_from_db()
    emulator.faults.add("unavailable")
    response = member.post(f"{STACK}head/", follow=True)
    assert said(response)[0].startswith("The head commit could not be read. Azure DevOps is down")
    assert stack.head_sha[:8] in text(response)
    part = text(member.post(f"{STACK}head/", headers={"HX-Request": "true"}))
    assert "It could not be read just now." in part


def test_a_branch_that_is_gone_is_said_and_forgotten_when_it_is_back(
    member: Client, stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(branch="feature/network")
    member.post(f"{STACK}head/")
    before = Stack.objects.get().head_sha
    repository.delete_branch("feature/network")
    page = text(member.post(f"{STACK}head/", follow=True))
    assert "The branch is gone." in page and before[:8] in page
    gone_at = Stack.objects.get().branch_gone_at
    assert gone_at
    member.post(f"{STACK}head/")
    assert Stack.objects.get().branch_gone_at == gone_at
    assert "Branch gone</span>" in text(member.get("/stacks/"))
    repository.push({"c": "1"}, branch="feature/network")
    assert "The branch is gone." not in text(member.post(f"{STACK}head/", follow=True))


def test_a_branch_is_not_mistaken_for_one_that_begins_alike(
    member: Client, stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(branch="feature")
    assert "The branch is gone." in text(member.post(f"{STACK}head/", follow=True))


# Changing it


def test_drift_that_was_found_for_another_folder_or_branch_is_forgotten(
    member: Client, stack: Stack
) -> None:
    found = make_run(stack, 1, kind=Kind.DRIFT, state=State.FINISHED)
    Stack.objects.update(drift_run=found)
    typed = {"name": "Network", "description": "D", "project_root": stack.project_root}
    member.post(f"{STACK}edit/", typed)
    stack.refresh_from_db()
    assert stack.drift_run == found
    member.post(f"{STACK}edit/", typed | {"project_root": "x"})
    assert Stack.objects.get().drift_run is None
    Stack.objects.update(drift_run=found)
    stack.refresh_from_db()
    stack.follow(stack.repository, "release")
    assert stack.drift_run is None
    assert Stack.objects.get().drift_run is None


def test_editing_changes_what_was_typed_and_keeps_the_address(member: Client, stack: Stack) -> None:
    form = member.get(f"{STACK}edit/").context["form"]
    assert form["name"].value() == "Network"
    typed = {
        "name": "Other",
        "description": "D",
        "project_root": "/x/",
        "labels": "b, a",
    }
    response = member.post(f"{STACK}edit/", typed, follow=True)
    assert said(response) == ["Stack Other was changed"]
    stack.refresh_from_db()
    assert (stack.name, stack.description) == ("Other", "D")
    assert (stack.project_root, stack.labels) == ("x", ["b", "a"])
    assert stack.get_absolute_url() == STACK
    assert listed(member.get("/stacks/?q=other")) == ["Other"]
    assert member.get(f"{STACK}edit/").context["form"]["labels"].value() == "b, a"


def test_editing_keeps_its_own_name_but_takes_no_other_stacks(
    member: Client, stack: Stack, world: Integration
) -> None:
    make_stack(world, "Taken")
    assert member.post(f"{STACK}edit/", {"name": "Network"}).status_code == 302
    for taken in ("Taken", "taken"):
        response = member.post(f"{STACK}edit/", {"name": taken})
        assert "Another stack has this name" in errors(response, "name")
    Stack.objects.filter(name="Taken").update(name="NETWORK")  # as it was possible once
    assert member.post(f"{STACK}edit/", {"name": "Network"}).status_code == 302


def test_the_source_can_be_changed_to_another_repository_and_branch(
    member: Client, stack: Stack, world: Integration, organization: Organization
) -> None:
    web = remote(organization, "Web", "shop")
    web.push({"a": "1"}, branch="develop")
    form = member.get(f"{STACK}source/").context["form"]
    assert form["repository"].value() == INFRASTRUCTURE
    typed = source(world, repository="Web/shop", branch="develop")
    response = member.post(f"{STACK}source/", typed, follow=True)
    assert said(response) == ["Stack Network was changed"]
    stack.refresh_from_db()
    assert (str(stack.repository), stack.branch) == ("Web/shop", "develop")
    assert stack.head_sha == web.ref_values()["refs/heads/develop"]
    assert listed(member.get("/stacks/?q=shop")) == ["Network"]


def test_the_head_of_the_old_source_is_not_shown_for_the_new_one(
    member: Client,
    stack: Stack,
    world: Integration,
    organization: Organization,
    emulator: Emulator,
) -> None:
    remote(organization, "Web", "shop")
    member.post(f"{STACK}head/")
    Stack.objects.update(branch_gone_at=timezone.now())
    old = Stack.objects.get().head_sha
    emulator.faults.add("unavailable", path="/commits/")
    member.post(f"{STACK}source/", source(world, repository="Web/shop"))
    page = text(member.get(STACK))
    assert "Web/shop" in page
    assert old[:8] not in page
    assert "The branch is gone." not in page


def test_a_wrong_source_changes_nothing(member: Client, stack: Stack, world: Integration) -> None:
    response = member.post(f"{STACK}source/", source(world, branch="nope"))
    assert "no branch “nope”" in errors(response, "branch")
    stack.refresh_from_db()
    assert stack.branch == "main"


def test_deleting_takes_the_stacks_name(
    admin: Client, member: Client, stack: Stack, repository: Repository
) -> None:
    assert "Delete stack?" in text(admin.get(f"{STACK}delete/"))
    for typed in ({}, {"stack_name": "network"}):
        refused = admin.post(f"{STACK}delete/", typed)
        assert errors(refused, "stack_name") == "To confirm, type the stack's name: Network"
    assert Stack.objects.exists()
    response = admin.post(f"{STACK}delete/", {"stack_name": "Network"}, follow=True)
    assert response.redirect_chain == [("/stacks/", 302)]
    assert said(response) == ["Stack Network was deleted"]
    assert not Stack.objects.exists()
    assert member.get(STACK).status_code == 404
    assert repository.ref_values()


def test_a_member_deletes_only_a_stack_of_their_own(
    member: Client, bob: User, alice: User, stack: Stack
) -> None:
    reason = "Only admins and the owner may delete this stack."
    link = f'href="{STACK}delete/"'
    for owner, is_own in ((None, False), (alice, False), (bob, True)):
        Stack.objects.update(owner=owner)
        page = text(member.get(STACK))
        assert (link in page, reason in page) == (is_own, not is_own)
        assert (owner.username if owner else "nobody") in page
        answer = member.post(f"{STACK}delete/", {"stack_name": "Network"})
        assert answer.status_code == (302 if is_own else 403)
        assert Stack.objects.exists() != is_own


def test_a_stack_stays_when_its_owner_is_removed(admin: Client, bob: User, stack: Stack) -> None:
    Stack.objects.update(owner=bob)
    admin.post(f"/settings/people/{bob.pk}/remove/")
    stack.refresh_from_db()
    assert stack.owner is None


# Unlinking and linking again


@pytest.fixture
def detached(admin: Client, stack: Stack, world: Integration) -> Stack:
    admin.post(f"/settings/vcs-providers/{world.pk}/unlink/")
    return stack


def test_the_page_that_unlinks_lists_the_stacks_it_detaches(
    admin: Client, stack: Stack, world: Integration
) -> None:
    for number in range(24):
        make_stack(world, f"more {number:02}")
    page = text(admin.get(f"/settings/vcs-providers/{world.pk}/unlink/"))
    assert "<strong>25 stacks</strong> will be detached" in page
    assert '<a href="/stacks/more-00/">more 00</a>' in page
    assert "and more" in page


def test_the_page_that_unlinks_says_when_no_stack_is_affected(
    admin: Client, world: Integration
) -> None:
    page = text(admin.get(f"/settings/vcs-providers/{world.pk}/unlink/"))
    assert "No stack uses it." in page


def test_a_detached_stack_stays_with_a_banner(
    member: Client, detached: Stack, emulator: Emulator
) -> None:
    page = text(member.get(STACK))
    assert "This stack is detached." in page
    assert f'href="{STACK}source/"' in page
    assert ">Refresh</button>" not in page
    assert "Detached</span>" in text(member.get("/stacks/"))
    before = len(emulator.requests)
    assert member.post(f"{STACK}head/").status_code == 302
    assert len(emulator.requests) == before


def test_a_detached_stack_can_be_edited_and_deleted(admin: Client, detached: Stack) -> None:
    assert admin.post(f"{STACK}edit/", {"name": "Network", "labels": "old"}).status_code == 302
    assert admin.post(f"{STACK}delete/", {"stack_name": "Network"}).status_code == 302
    assert not Stack.objects.exists()


def test_linking_the_organization_again_attaches_its_stacks(
    member: Client, detached: Stack, organization: Organization
) -> None:
    make_integration(organization.url, organization.add_token())
    page = text(member.get(STACK))
    assert "This stack is detached." not in page
    assert member.post(f"{STACK}head/", follow=True).status_code == 200
    assert Stack.objects.get().head_sha


def test_a_detached_stack_can_follow_another_organization(
    member: Client, detached: Stack, emulator: Emulator
) -> None:
    other = emulator.add_organization("contoso")
    other.add_project("Web").add_repository("shop", {"main.tf": "1"})
    integration = make_integration(other.url, other.add_token())
    form = member.get(f"{STACK}source/")
    assert form.status_code == 200
    typed = source(integration, repository="Web/shop", branch="")
    member.post(f"{STACK}source/", typed)
    page = text(member.get(STACK))
    assert "This stack is detached." not in page
    assert "Azure DevOps · contoso" in page


def test_changing_the_source_with_nothing_linked_says_so(
    member: Client, detached: Stack, world: Integration
) -> None:
    response = member.post(f"{STACK}source/", source(world))
    assert "No organization is linked" in response.content.decode()
