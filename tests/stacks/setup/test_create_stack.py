"""Creating a stack step by step, and the lists that help with it."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from stacks.models import Stack
from tests.builders import make_integration, store_integration
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.stacks.conftest import (
    INFRASTRUCTURE,
    NEW,
    create,
    errors,
    remote,
    source,
    step,
    values,
)
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Integration
from vcs_integrations.models import Repository as StoredRepository
from vcs_integrations.providers.base import RemoteBranch

ALL_TYPED = {
    "name": "My näme",
    "description": "Two\r\nlines",
    "project_root": "infra/network",
    "labels": "one, two",
}


def ask(client: Client, kind: str, asked: dict[str, Any]) -> Any:
    """Fetch the matches of the repository or branch field."""
    return client.get(f"{NEW}{kind}/", asked)


# The steps


def test_the_form_leads_through_all_steps_to_the_stack(
    member: Client, world: Integration, repository: Repository
) -> None:
    first = member.get(NEW)
    assert step(first) == "Integrate VCS"
    second = member.post(NEW, source(world, branch=""))
    assert step(second) == "Name stack"
    assert "From <strong>Platform Team/infrastructure</strong>, branch <strong>main</strong>" in (
        second.content.decode()
    )
    third = member.post(NEW, values(second) | ALL_TYPED | {"step": "2"})
    assert step(third) == "Define behavior"
    fourth = member.post(NEW, values(third) | {"step": "3"})
    assert step(fourth) == "Configure backend"
    created = member.post(NEW, values(fourth) | {"step": "4"}, follow=True)
    stack = Stack.objects.get()
    assert created.redirect_chain == [("/stacks/my-name/", 302)]
    assert [str(one) for one in created.context["messages"]] == ["Stack My näme was created"]
    assert str(stack.repository) == INFRASTRUCTURE
    assert str(stack.owner) == "bob"
    assert (stack.branch, stack.project_root) == ("main", "infra/network")
    assert (stack.description, stack.labels) == ("Two\r\nlines", ["one", "two"])
    assert stack.head_sha == repository.ref_values()["refs/heads/main"]


def test_the_page_has_its_labels(member: Client, world: Integration) -> None:
    first = member.get(NEW).content.decode()
    for label in ("Provider", "Repository", "Branch"):
        assert re.search(rf"<label [^>]+>{label}</label>", first), label
    assert "Azure DevOps · fabrikam" in first
    second = member.post(NEW, source(world)).content.decode()
    for label in ("Name", "Description", "Project root", "Labels"):
        assert re.search(rf"<label [^>]+>{label}</label>", second), label


def test_back_keeps_all_that_was_typed_in_all_steps(member: Client, world: Integration) -> None:
    behavior = {
        "path_rule": "",
        "extra_globs": "modules/*\r\n*.tfvars",
        "runs_drafts": "",
        "runs_forks": "on",
        "pull_requests_only": "on",
        "autodeploy": "on",
        "fetches_submodules": "",
        "plans_merged": "",
        "plans_again": "on",
        "fetches_lfs": "on",
        "runs_on_modules": "on",
    }
    backend = {"tool": "opentofu", "backend": "own", "tool_version": "~> 1.10"}
    typed = source(world, branch="feature/network") | ALL_TYPED | behavior | backend
    everything = {name: text for name, text in typed.items() if name != "step"}
    third = member.post(NEW, typed | {"step": "4", "back": "1"})
    assert step(third) == "Define behavior"
    assert values(third) == everything
    # A browser does not send what is not checked.
    sent = {name: text for name, text in values(third).items() if text}
    second = member.post(NEW, sent | {"step": "3", "back": "1"})
    assert step(second) == "Name stack"
    assert values(second) == everything
    first = member.post(NEW, values(second) | {"step": "2", "back": "1"})
    assert step(first) == "Integrate VCS"
    assert values(first) == everything
    again = member.post(NEW, values(first) | {"step": "1"})
    assert step(again) == "Name stack"
    assert values(again) == everything
    third = member.post(NEW, values(again) | {"step": "2"})
    assert step(third) == "Define behavior"
    sent = {name: text for name, text in values(third).items() if text}
    last = member.post(NEW, sent | {"step": "3"})
    assert step(last) == "Configure backend"
    assert values(last) == everything


def test_back_asks_nothing_of_azure_devops_and_checks_nothing(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    before = len(emulator.requests)
    typed = source(world, step="2", repository="not/there", name="", back="1")
    assert values(member.post(NEW, typed))["repository"] == "not/there"
    assert len(emulator.requests) == before


@pytest.mark.parametrize("number", ["", "0", "-1", "5", "99", "2;", "٢", "1e9", "two", "\0"])
def test_a_strange_step_is_the_first_one(member: Client, world: Integration, number: str) -> None:
    assert step(member.post(NEW, source(world, step=number))) == "Name stack"
    back = member.post(NEW, source(world, step=number, back="1"))
    assert step(back) == "Integrate VCS"
    assert not Stack.objects.exists()


@pytest.mark.parametrize(
    ("name", "what_to_do"),
    [("provider", "Choose an organization."), ("repository", "Choose a repository.")],
)
def test_a_missing_field_of_the_first_step_is_named(
    member: Client, world: Integration, name: str, what_to_do: str
) -> None:
    for number in ("1", "2", "3", "4"):
        response = member.post(NEW, source(world, step=number, name="N") | {name: ""})
        assert step(response) == "Integrate VCS"
        assert errors(response, name) == what_to_do
    assert not Stack.objects.exists()


def test_a_missing_name_is_named_and_the_rest_is_kept(member: Client, world: Integration) -> None:
    response = create(member, world, **(ALL_TYPED | {"name": " "}))
    assert step(response) == "Name stack"
    assert errors(response, "name") == "Give the stack a name."
    assert values(response)["project_root"] == "infra/network"
    assert values(response)["repository"] == INFRASTRUCTURE


@pytest.mark.parametrize("pk", ["999999", "-1", "x", "9" * 30, "9" * 400, "1.0"])
def test_a_provider_that_is_not_there_is_refused(
    member: Client, world: Integration, pk: str
) -> None:
    response = member.post(NEW, source(world, provider=pk))
    assert errors(response, "provider") == "This organization is not linked any more. Choose one."


def test_a_provider_unlinked_meanwhile_is_refused(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    other = emulator.add_organization("contoso")
    make_integration(other.url, other.add_token())
    unlink(world)
    response = create(member, world)
    assert step(response) == "Integrate VCS"
    assert "not linked any more" in errors(response, "provider")


@pytest.mark.parametrize("name", ["repository", "branch", "name", "labels", "project_root"])
def test_text_that_no_column_takes_is_refused(
    member: Client, world: Integration, name: str
) -> None:
    for text in ("a\0b", "x" * 100_000):
        response = create(member, world, **{name: text})
        assert response.status_code == 200
        assert errors(response, name)
    assert not Stack.objects.exists()


def test_text_that_is_not_utf8_breaks_nothing(member: Client, world: Integration) -> None:
    body = f"step=2&provider={world.pk}&repository=%ED%A0%80%FF&name=%FF".encode()
    response = member.post(NEW, body, content_type="application/x-www-form-urlencoded")
    assert "has no repository" in errors(response, "repository")


def test_without_a_linked_organization_it_says_what_to_do(admin: Client, member: Client) -> None:
    assert "Ask an admin to link one" in member.get(NEW).content.decode()
    assert "Go to VCS providers" in admin.get(NEW).content.decode()


def test_the_provider_can_be_chosen_by_the_address(member: Client, world: Integration) -> None:
    page = member.get(f"{NEW}?provider={world.pk}").content.decode()
    assert f'<option value="{world.pk}" selected>' in page
    assert member.get(f"{NEW}?provider=nonsense").status_code == 200


# Finding the repository


@pytest.mark.parametrize(
    "typed",
    [
        INFRASTRUCTURE,
        "platform team/INFRASTRUCTURE",
        f"  {INFRASTRUCTURE} ",
        "{url}/Platform%20Team/_git/infrastructure",
        "{url}/Platform Team/_git/infrastructure",
        "{url}/platform%20team/_git/Infrastructure?version=GBmain",
        "{user}/Platform%20Team/_git/infrastructure",
    ],
)
def test_the_repository_is_found_however_it_is_typed(
    member: Client, world: Integration, organization: Organization, typed: str
) -> None:
    url = organization.url
    typed = typed.format(url=url, user=url.replace("http://", "http://fabrikam@"))
    response = member.post(NEW, source(world, repository=typed))
    assert step(response) == "Name stack"
    assert values(response)["repository"] == INFRASTRUCTURE


@pytest.fixture
def in_the_cloud(world: Integration) -> Integration:
    """The integration, as if its organization were one of dev.azure.com."""
    Integration.objects.update(organization_key="dev.azure.com/fabrikam")
    world.refresh_from_db()
    return world


@pytest.mark.parametrize(
    "typed",
    [
        "https://dev.azure.com/fabrikam/Platform%20Team/_git/infrastructure",
        "https://fabrikam@dev.azure.com/Fabrikam/Platform%20Team/_git/infrastructure",
        "https://fabrikam.visualstudio.com/Platform%20Team/_git/infrastructure",
        "https://fabrikam.visualstudio.com/DefaultCollection/Platform%20Team/_git/infrastructure",
        "git@ssh.dev.azure.com:v3/fabrikam/Platform%20Team/infrastructure",
        "ssh://git@ssh.dev.azure.com/v3/fabrikam/Platform%20Team/infrastructure",
        "fabrikam@vs-ssh.visualstudio.com:v3/fabrikam/Platform%20Team/infrastructure",
        "ssh://fabrikam@vs-ssh.visualstudio.com/v3/fabrikam/Platform%20Team/infrastructure",
        "ssh://fabrikam@vs-ssh.visualstudio.com:22/Platform%20Team/_ssh/infrastructure",
    ],
)
def test_the_repository_is_found_by_each_form_of_its_clone_url(
    member: Client, in_the_cloud: Integration, typed: str
) -> None:
    response = member.post(NEW, source(in_the_cloud, repository=typed))
    assert step(response) == "Name stack"
    assert values(response)["repository"] == INFRASTRUCTURE
    options = ask(member, "repositories", {"provider": in_the_cloud.pk, "repository": typed})
    assert option_texts(options) == [INFRASTRUCTURE]


def test_a_short_clone_url_means_the_repository_named_like_its_project(
    member: Client, world: Integration, organization: Organization
) -> None:
    remote(organization, "Web", "Web")
    response = member.post(NEW, source(world, repository=f"{organization.url}/_git/Web"))
    assert values(response)["repository"] == "Web/Web"


def test_a_clone_url_of_another_organization_is_explained(
    member: Client, in_the_cloud: Integration
) -> None:
    typed = "https://dev.azure.com/contoso/Platform%20Team/_git/infrastructure"
    response = member.post(NEW, source(in_the_cloud, repository=typed))
    assert errors(response, "repository") == (
        "This address belongs to the organization contoso. Choose that one as provider, or a "
        "repository of fabrikam."
    )
    assert values(response)["repository"] == typed


def test_the_address_of_a_branchs_page_chooses_the_branch_where_none_is_typed(
    member: Client, world: Integration, repository: Repository
) -> None:
    page = f"{repository.clone_url}?path=/a.tf&version=GBfeature%2Fnetwork&_a=contents"
    chosen = values(member.post(NEW, source(world, repository=page, branch="")))
    assert (chosen["repository"], chosen["branch"]) == (INFRASTRUCTURE, "feature/network")
    typed = values(member.post(NEW, source(world, repository=page, branch="main")))
    assert typed["branch"] == "main"
    options = ask(member, "repositories", {"provider": world.pk, "repository": page})
    assert 'data-branch="feature/network"' in options.content.decode()
    for version in ("GTv1.0", "GC0123abc", "", "main", "GB%00"):
        other = f"{repository.clone_url}?version={version}"
        chosen = values(member.post(NEW, source(world, repository=other, branch="")))
        assert chosen["branch"] == "main", version


def test_an_unknown_branch_in_a_pasted_address_is_explained(
    member: Client, world: Integration, repository: Repository
) -> None:
    page = f"{repository.clone_url}?version=GBgone"
    response = member.post(NEW, source(world, repository=page, branch=""))
    assert "has no branch “gone”" in errors(response, "branch")


def test_an_organization_that_was_never_reached_says_so(
    member: Client, emulator: Emulator, organization: Organization, token: str, db: None
) -> None:
    emulator.faults.add("unavailable")
    integration = make_integration(organization.url, token)
    unknown = "fabrikam is not connected yet, so its repositories are not known yet."
    for kind in ("repositories", "branches"):
        asked = {"provider": integration.pk, "repository": INFRASTRUCTURE}
        assert note(ask(member, kind, asked)) == unknown
    response = member.post(NEW, source(integration))
    assert errors(response, "repository").startswith(f"{unknown} Azure DevOps is down")
    emulator.faults.clear()
    assert step(member.post(NEW, source(integration))) == "Name stack"


def test_an_unknown_repository_is_answered_with_those_alike(
    member: Client, world: Integration, organization: Organization
) -> None:
    remote(organization, "Web", "infrastructure-old")
    response = member.post(NEW, source(world, repository="Web/infrastructure"))
    text = errors(response, "repository")
    assert text.startswith("fabrikam has no repository “Web/infrastructure” that the token may")
    assert "“Platform Team/infrastructure”" in text and "“Web/infrastructure-old”" in text


def test_a_repository_made_after_the_list_was_read_is_found(
    member: Client, world: Integration, organization: Organization
) -> None:
    remote(organization, "Zürich", "büro netz")
    response = member.post(NEW, source(world, repository="ZÜRICH/BÜRO NETZ"))
    assert values(response)["repository"] == "Zürich/büro netz"


def test_an_unknown_repository_while_azure_devops_is_down_says_both(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable")
    text = errors(member.post(NEW, source(world, repository="Web/new")), "repository")
    assert text.startswith("“Web/new” is not in the last list. Azure DevOps is down")


def test_a_renamed_repository_is_found_by_its_new_name_only(
    member: Client, world: Integration, repository: Repository
) -> None:
    repository.rename("foundation")
    response = member.post(NEW, source(world, repository="Platform Team/foundation"))
    assert values(response)["repository"] == "Platform Team/foundation"
    assert world.repositories.count() == 1
    old = member.post(NEW, source(world))
    assert "has no repository" in errors(old, "repository")


def test_a_disabled_repository_is_explained_and_not_offered(
    member: Client, world: Integration, organization: Organization
) -> None:
    remote(organization, "Web", "retired").disable()
    text = errors(member.post(NEW, source(world, repository="Web/retired")), "repository")
    assert text == "Web/retired is disabled in Azure DevOps. Enable it there, or choose another."
    offered = ask(member, "repositories", {"provider": world.pk, "repository": ""})
    assert option_texts(offered) == [INFRASTRUCTURE]


def test_an_empty_repository_says_so_in_the_list_and_in_the_form(
    member: Client, world: Integration, organization: Organization
) -> None:
    organization.add_project("Web").add_repository("empty")
    text = errors(member.post(NEW, source(world, repository="Web/empty", branch="")), "branch")
    assert text == "Web/empty is empty. Push a first commit, then try again."
    offered = ask(member, "repositories", {"provider": world.pk, "repository": "empty"})
    assert ">empty</span>" in offered.content.decode()


def test_a_repository_that_is_gone_is_not_offered(member: Client, world: Integration) -> None:
    world.repositories.update(gone_at="2026-01-01T00:00Z")
    offered = ask(member, "repositories", {"provider": world.pk, "repository": ""})
    assert option_texts(offered) == []


# Finding the branch


@pytest.mark.parametrize(
    ("typed", "branch"),
    [
        ("", "main"),
        ("main", "main"),
        ("refs/heads/main", "main"),
        (" feature/network ", "feature/network"),
        ("refs/heads/feature/network", "feature/network"),
    ],
)
def test_the_branch_is_found_and_the_default_one_if_none_is_typed(
    member: Client, world: Integration, typed: str, branch: str
) -> None:
    assert values(member.post(NEW, source(world, branch=typed)))["branch"] == branch


def test_the_default_branch_need_not_be_main(
    member: Client, world: Integration, organization: Organization
) -> None:
    project = organization.add_project("Web")
    project.add_repository("trunk").push({"a": "1"}, branch="trunk")
    response = member.post(NEW, source(world, repository="Web/trunk", branch=""))
    assert values(response)["branch"] == "trunk"


def test_an_unknown_branch_is_answered_with_those_alike(member: Client, world: Integration) -> None:
    text = errors(member.post(NEW, source(world, branch="Network")), "branch")
    assert text == (
        "Platform Team/infrastructure has no branch “Network”. Is it one of “feature/network”?"
    )
    text = errors(member.post(NEW, source(world, branch="zzz")), "branch")
    assert "“main”" in text and "“feature/network”" in text


def test_branches_of_another_case_are_other_branches(member: Client, world: Integration) -> None:
    assert "no branch “Main”" in errors(member.post(NEW, source(world, branch="Main")), "branch")


def test_branches_on_several_pages_are_all_there(
    member: Client, world: Integration, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = "vcs_integrations.providers.azure_devops.client"
    monkeypatch.setattr(f"{client}.REFS_PER_PAGE", 1)
    response = member.post(NEW, source(world, branch="main"))
    assert values(response)["branch"] == "main"
    asked = [request for request in emulator.requests if request.path.endswith("/refs")]
    assert len(asked) >= 2
    assert "continuationToken=" in asked[-1].query


@pytest.mark.parametrize("fault", ["unavailable", "token-expired", "reset", "not-azure-devops"])
def test_a_provider_that_is_down_keeps_what_was_typed(
    member: Client, world: Integration, emulator: Emulator, fault: str
) -> None:
    emulator.faults.add(fault, path="/refs")
    response = create(member, world, **ALL_TYPED)
    assert step(response) == "Integrate VCS"
    assert errors(response, "branch").startswith("The branches could not be read. ")
    assert {name: values(response)[name] for name in ALL_TYPED} == ALL_TYPED
    emulator.faults.clear()
    again = member.post(NEW, values(response) | {"step": "1"})
    assert {name: values(again)[name] for name in ALL_TYPED} == ALL_TYPED


def test_a_branch_deleted_between_the_steps_is_noticed(
    member: Client, world: Integration, repository: Repository
) -> None:
    second = member.post(NEW, source(world, branch="feature/network"))
    repository.delete_branch("feature/network")
    cache.clear()  # a minute later
    response = member.post(NEW, values(second) | {"step": "2", "name": "N"})
    assert step(response) == "Integrate VCS"
    assert "no branch “feature/network”" in errors(response, "branch")


def test_a_stack_is_created_when_only_its_head_can_not_be_read(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable", path="/commits/")
    assert create(member, world).status_code == 302
    assert Stack.objects.get().head_sha == ""


# Naming


def test_a_name_belongs_to_one_stack(member: Client, world: Integration, stack: Stack) -> None:
    for name in (stack.name, stack.name.upper(), stack.name.lower()):
        response = create(member, world, name=name)
        assert errors(response, "name") == "Another stack has this name. Choose a different one."
    assert Stack.objects.count() == 1


@pytest.mark.parametrize("name", ["new", "New", " NEW!"])
def test_no_stack_takes_the_address_of_the_form(
    member: Client, world: Integration, name: str
) -> None:
    assert create(member, world, name=name)["Location"] == "/stacks/new-2/"
    assert step(member.get(NEW)) == "Integrate VCS"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Zürich büro", "zurich-buro"),
        ("日本", "stack"),
        ("💾", "stack"),
        ("a / b & c", "a-b-c"),
        ("--", "stack"),
        ("x" * 100, "x" * 100),
    ],
)
def test_every_name_gets_an_address(
    member: Client, world: Integration, name: str, slug: str
) -> None:
    location = create(member, world, name=name)["Location"]
    assert location == f"/stacks/{slug}/"
    assert name.strip() in member.get(location).content.decode().replace("&amp;", "&")


def test_names_that_lead_to_the_same_address_are_numbered(
    member: Client, world: Integration
) -> None:
    names = ["a b", "a-b", "A  B.", "a b 2", "日本", "中国"]
    slugs = [create(member, world, name=name)["Location"].split("/")[2] for name in names]
    assert slugs == ["a-b", "a-b-2", "a-b-3", "a-b-2-2", "stack", "stack-2"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        ("/", ""),
        (".", ""),
        ("infra", "infra"),
        ("/infra/", "infra"),
        ("infra//network", "infra/network"),
        ("./infra/./network/", "infra/network"),
        ("  infra/network  ", "infra/network"),
        ("in fra/üb", "in fra/üb"),
        ("..infra/net..work", "..infra/net..work"),
        (".terraform", ".terraform"),
    ],
)
def test_the_project_root_is_kept_plain(
    member: Client, world: Integration, typed: str, kept: str
) -> None:
    assert create(member, world, project_root=typed).status_code == 302
    assert Stack.objects.get().project_root == kept


@pytest.mark.parametrize(
    "typed",
    ["..", "../other", "infra/..", "infra/../../etc", "/..", "infra\\network", "a\nb", "a\tb/c"],
)
def test_a_project_root_outside_or_unreadable_is_refused(
    member: Client, world: Integration, typed: str
) -> None:
    response = create(member, world, project_root=typed)
    assert "Use a folder inside the repository" in errors(response, "project_root")
    assert not Stack.objects.exists()


def test_labels_are_trimmed_and_kept_once_in_their_order(
    member: Client, world: Integration
) -> None:
    create(member, world, labels=" prod ,, network,prod , Über ,")
    assert Stack.objects.get().labels == ["prod", "network", "Über"]


def test_a_label_has_a_limit(member: Client, world: Integration) -> None:
    response = create(member, world, labels=f"a,{'b' * 51}")
    assert errors(response, "labels") == "A label has at most 50 characters."


# The lists of matches


def option_texts(response: Any) -> list[str]:
    assert response.status_code == 200
    return re.findall(r'role="option"[^>]* data-value="([^"]*)"', response.content.decode())


def note(response: Any) -> str:
    found = re.search(r'<p class="combobox-note" role="status">(.*)</p>', response.content.decode())
    return found[1] if found else ""


@pytest.fixture
def ten_thousand(world: Integration) -> Integration:
    """An organization with 10,000 repositories in 50 projects, as they were last listed."""
    StoredRepository.objects.bulk_create(
        (
            StoredRepository(
                integration=world,
                external_id=f"id-{number}",
                name=f"service-{number:05}",
                project_id=f"p-{number % 50}",
                project_name=f"Projekt Ä{number % 50:02}",
                search_text=f"projekt ä{number % 50:02}/service-{number:05}",
                default_branch="main",
            )
            for number in range(10_000)
        ),
        batch_size=1000,
    )
    return world


@pytest.mark.parametrize("typed", ["", "service", "04321", "projekt ä07 service", "no such thing"])
def test_a_keystroke_costs_few_queries_with_ten_thousand_repositories(
    member: Client,
    ten_thousand: Integration,
    typed: str,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_max_num_queries(5):  # session, person, role, integration, repositories
        response = ask(member, "repositories", {"provider": ten_thousand.pk, "repository": typed})
    assert len(option_texts(response)) <= 50
    assert len(response.content) < 30_000


def test_the_list_of_repositories_is_bounded_and_says_so(
    member: Client, ten_thousand: Integration
) -> None:
    many = ask(member, "repositories", {"provider": ten_thousand.pk, "repository": "SERVICE"})
    assert len(option_texts(many)) == 50
    assert note(many) == "More than 50 match: type more to narrow them down."
    one = ask(
        member, "repositories", {"provider": ten_thousand.pk, "repository": "PROJEKT Ä21 04321"}
    )
    assert option_texts(one) == ["Projekt Ä21/service-04321"]
    assert note(one) == ""
    none = ask(member, "repositories", {"provider": ten_thousand.pk, "repository": "zzz"})
    assert (option_texts(none), note(none)) == ([], "No repository matches.")


def test_exactly_fifty_matches_need_no_note(member: Client, ten_thousand: Integration) -> None:
    StoredRepository.objects.filter(external_id__in=[f"id-{n}" for n in range(50)]).update(
        search_text="fifty of them"
    )
    response = ask(member, "repositories", {"provider": ten_thousand.pk, "repository": "fifty"})
    assert (len(option_texts(response)), note(response)) == (50, "")


def test_the_list_of_branches_begins_with_the_default_one(
    member: Client, world: Integration, repository: Repository
) -> None:
    repository.push({"x": "1"}, branch="a-first")
    asked = {"provider": world.pk, "repository": INFRASTRUCTURE, "branch": ""}
    response = ask(member, "branches", asked)
    assert option_texts(response) == ["main", "a-first", "feature/network"]
    assert response.content.decode().count(">default</span>") == 1
    narrowed = ask(member, "branches", asked | {"branch": "NET feat"})
    assert option_texts(narrowed) == ["feature/network"]


def test_the_list_of_branches_is_bounded_and_says_so(
    member: Client, world: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = world.repositories.get()
    many = [RemoteBranch(f"topic/{number:03}", "0" * 40) for number in range(120)]
    cache.set(f"branches:{stored.pk}", [*many, RemoteBranch("main", "0" * 40)])
    asked = {"provider": world.pk, "repository": INFRASTRUCTURE, "branch": ""}
    response = ask(member, "branches", asked)
    assert option_texts(response)[0] == "main"
    assert len(option_texts(response)) == 50
    assert note(response) == "More than 50 match: type more to narrow them down."
    none = ask(member, "branches", asked | {"branch": "zzz"})
    assert note(none) == "No branch matches."


def test_typing_a_branch_asks_azure_devops_once_a_minute(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    before = len(emulator.requests)
    for typed in ("", "f", "fe", "fea"):
        asked = {"provider": world.pk, "repository": INFRASTRUCTURE, "branch": typed}
        ask(member, "branches", asked)
    assert len(emulator.requests) == before + 1


def test_the_list_of_branches_says_why_it_is_empty(
    member: Client, world: Integration, emulator: Emulator
) -> None:
    def said(**asked: Any) -> str:
        return note(ask(member, "branches", asked))

    assert said() == "Choose a repository first."
    assert said(provider=world.pk) == "Choose a repository first."
    before = len(emulator.requests)
    unknown = said(provider=world.pk, repository="a/b")
    assert unknown == "Choose a repository first."
    assert len(emulator.requests) == before  # a keystroke reads no list again
    emulator.faults.add("unavailable")
    assert "is down" in said(provider=world.pk, repository=INFRASTRUCTURE)


def test_the_list_of_repositories_asks_for_a_provider_first(
    member: Client, world: Integration
) -> None:
    for provider in ("", "x", "0", "-1", "999", "٣"):
        response = ask(member, "repositories", {"provider": provider})
        assert note(response) == "Choose a provider first.", provider


WRONG = [
    "",
    "\0",
    "%00",
    "%",
    "_",
    "\\",
    "'; DROP TABLE x; --",
    "9" * 30,
    "9" * 1999,
    "-1",
    "😀" * 500,
    "a " * 999,
    "x" * 5000,
    "https://[::1",
    "https://dev.azure.com:x/a/_git/b",
    "git@ssh.dev.azure.com:v3/",
    "<script>alert(1)</script>",
    "ﬁ ß İ ı",
]


@pytest.mark.parametrize("kind", ["repositories", "branches"])
@pytest.mark.parametrize("name", ["provider", "repository", "branch"])
def test_wrong_parameters_of_the_lists_never_break(
    member: Client, world: Integration, kind: str, name: str
) -> None:
    member.raise_request_exception = False
    asked = {"provider": str(world.pk), "repository": INFRASTRUCTURE, "branch": ""}
    for text in WRONG:
        response = ask(member, kind, asked | {name: text})
        assert response.status_code == 200, text
        assert b"<script>" not in response.content


@pytest.mark.parametrize("name", ["repository", "branch"])
def test_wrong_text_in_the_form_is_refused_and_never_breaks(
    member: Client, world: Integration, name: str
) -> None:
    member.raise_request_exception = False
    for text in filter(None, WRONG):
        response = member.post(NEW, source(world, **{name: text}))
        assert response.status_code == 200, text
        assert errors(response, name), text


def test_wildcards_of_the_database_are_plain_characters(
    member: Client, ten_thousand: Integration
) -> None:
    for text in ("%", "_", "\\"):
        asked = {"provider": ten_thousand.pk, "repository": text}
        assert option_texts(ask(member, "repositories", asked)) == []


def test_creating_a_stack_costs_few_queries(member: Client, ten_thousand: Integration) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert create(member, ten_thousand).status_code == 302
    assert len(queries) <= 24


def test_organizations_of_one_name_are_distinguished(member: Client, world: Integration) -> None:
    assert f">{world}<" in member.get(NEW).content.decode()
    twin = store_integration(
        organization_url="https://tfs.example.com/fabrikam",
        organization_key="https://tfs.example.com/fabrikam",
    )
    page = member.get(NEW).content.decode()
    for one in (world, twin):
        assert f">Azure DevOps · fabrikam ({one.organization_url})<" in page


# What is hardly meant


def doubts(response: Any) -> list[str]:
    return re.findall(r'<p class="callout callout-warning">(.*?)</p>', response.content.decode())


def test_the_name_of_the_repository_is_proposed_unless_it_is_taken(
    member: Client, world: Integration
) -> None:
    second = member.post(NEW, source(world))
    assert values(second)["name"] == "infrastructure"
    typed = member.post(NEW, source(world) | {"name": "Mine"})
    assert values(typed)["name"] == "Mine"
    create(member, world, name="Infrastructure")
    again = member.post(NEW, source(world))
    assert values(again)["name"] == "infrastructure main"
    create(member, world, name="infrastructure MAIN")
    assert values(member.post(NEW, source(world)))["name"] == ""


def test_a_name_with_a_line_break_is_refused(member: Client, world: Integration) -> None:
    second = values(member.post(NEW, source(world)))
    response = member.post(NEW, second | {"name": "Prod\nBcc: somebody", "step": "2"})
    assert "line breaks" in errors(response, "name")


def test_a_project_root_that_the_branch_lacks_and_a_second_stack_on_it_are_doubted(
    member: Client, world: Integration, repository: Repository
) -> None:
    repository.push({"infra/network/main.tf": "# a network"})
    second = values(member.post(NEW, source(world))) | {"name": "First", "step": "2"}
    assert doubts(member.post(NEW, second | {"project_root": "infra/network"})) == []
    assert doubts(member.post(NEW, second | {"project_root": "infra/net"})) == [
        "The branch “main” has no folder infra/net: runs fail until it has one."
    ]
    create(member, world, name="First", project_root="infra/network")
    third = member.post(NEW, second | {"name": "Second", "project_root": "infra/network"})
    assert step(third) == "Define behavior"
    assert doubts(third) == [
        "The stack “First” follows the same repository, branch and project root: each push "
        "starts a run of both."
    ]


@pytest.mark.django_db(transaction=True)  # what is doubted is said once that is stored
def test_a_change_to_such_a_root_is_made_and_doubted(member: Client, world: Integration) -> None:
    create(member, world, name="First")
    create(member, world, name="Second", project_root="elsewhere")
    changed = member.post(
        "/stacks/second/edit/", {"name": "Second", "project_root": ""}, follow=True
    )
    assert [str(one) for one in changed.context["messages"]][-2:] == [
        "Stack Second was changed",
        "The stack “First” follows the same repository, branch and project root: each push "
        "starts a run of both.",
    ]
