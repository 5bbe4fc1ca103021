"""What becomes a run: the third step of the form, and the page that changes it."""

import re
from typing import Any

import pytest
from django.forms import model_to_dict
from django.test import Client

from stacks.models import Reach, Runs, Stack, StackVariable, StateGrant
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.stacks.conftest import CHECKED, NEW, create, errors, source, step, values
from vcs_integrations.models import Integration

BEHAVIOR = "/stacks/network/behavior/"
BOXES = (
    "path_rule",
    "runs_drafts",
    "runs_forks",
    "pull_requests_only",
    "autodeploy",
    "fetches_submodules",
    "plans_merged",
    "plans_again",
    "fetches_lfs",
    "runs_on_modules",
)


def chosen(stack: Stack) -> dict[str, Any]:
    stack.refresh_from_db()
    return {name: getattr(stack, name) for name in BOXES}


def test_a_stack_follows_the_path_rule_and_drafts_by_default(
    member: Client, world: Integration
) -> None:
    second = member.post(NEW, source(world))
    third = member.post(NEW, values(second) | {"step": "2", "name": "Network"})
    assert step(third) == "Define behavior"
    page = third.content.decode()
    for name in BOXES:
        is_checked = f'name="{name}" ' in page and "checked" in page.split(f'name="{name}"')[1][:99]
        assert is_checked == (name in CHECKED), name
    sent = {name: text for name, text in values(third).items() if text}
    fourth = member.post(NEW, sent | {"step": "3"})
    member.post(NEW, values(fourth) | {"step": "4"})
    stack = Stack.objects.get()
    assert chosen(stack) == {name: name in CHECKED for name in BOXES}
    assert stack.extra_globs == []


def test_what_is_not_checked_in_its_step_is_off(member: Client, world: Integration) -> None:
    sent = source(world, step="3", name="Network", runs_forks="on", extra_globs="*.tfvars")
    fourth = member.post(NEW, sent)
    assert member.post(NEW, values(fourth) | {"step": "4"}).status_code == 302
    stack = Stack.objects.get()
    assert chosen(stack) == {name: name == "runs_forks" for name in BOXES}
    assert stack.extra_globs == ["*.tfvars"]


def test_who_sends_no_behavior_before_its_step_is_shown_gets_what_it_is_at_first(
    member: Client, world: Integration
) -> None:
    """As from a page that was open since before there was this step."""
    third = member.post(NEW, source(world, step="2", name="Network"))
    assert step(third) == "Define behavior"
    assert {name for name in BOXES if values(third)[name]} == set(CHECKED)


def test_an_address_chooses_no_behavior(member: Client, world: Integration) -> None:
    first = member.get(f"{NEW}?provider={world.pk}&runs_forks=on&name=Theirs")
    assert values(first)["runs_forks"] == ""
    assert values(first)["name"] == ""


def test_forks_come_with_a_warning(member: Client, stack: Stack) -> None:
    assert "whoever can fork the repository can then" in member.get(BEHAVIOR).content.decode()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", []),
        ("modules/*", ["modules/*"]),
        (" modules/*\r\n\r\n*.tfvars ,, a/b.tf,", ["modules/*", "*.tfvars", "a/b.tf"]),
        ("a\na", ["a"]),
        ("/modules/*, ./shared/*.tf, ./main.tf", ["/modules/*", "shared/*.tf", "/main.tf"]),
        ("modules/", ["modules/"]),
        ("*.md\n!docs/**\n! ./a", ["*.md", "!docs/**", "!/a"]),
        ("a\n!a\na", ["!a", "a"]),
        ("# shared, all of it\n  # more\nmodules/**/*.tf, # no glob", ["modules/**/*.tf"]),
        (r"\#a, \!b, \[id\]", [r"\#a", r"\!b", r"\[id\]"]),
        ("in fra/üb*", ["in fra/üb*"]),
        ("[ab]?.tf", ["[ab]?.tf"]),
        ("\n".join(f"m{number}/*" for number in range(50)), [f"m{n}/*" for n in range(50)]),
    ],
)
def test_globs_are_kept_plain_and_once(
    member: Client, stack: Stack, typed: str, kept: list[str]
) -> None:
    assert member.post(BEHAVIOR, CHECKED | {"extra_globs": typed}).status_code == 302
    stack.refresh_from_db()
    assert stack.extra_globs == kept
    shown = member.get(BEHAVIOR).context["form"]["extra_globs"].value()
    assert shown == "\n".join(kept)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("../other/*", "“../other/*” matches no file. Use a path inside the repository"),
        ("a, b/../c", "“b/../c” matches no file."),
        ("/", "“/” matches no file."),
        ("a\\b", "matches no file."),
        ("a//b, a/./b", "“a//b” matches no file."),
        ("a\n!", "“!” matches no file."),
        ("a\n!/", "“!/” matches no file."),
        ("!docs/**, !b", "These globs only take files back"),
        ("a[b", "“a[b” has brackets that are not supported."),
        ("[[:alpha:]]", "has brackets that are not supported."),
        ("[a&&b]", "has brackets that are not supported."),
        ("[z-a]", "“[z-a]” can't be read."),
        ("*a*a*a*a*a*a*b", "has too many stars for one glob."),
        ("**/a/**/a/**/a/**/b", "has too many stars for one glob."),
        ("a\tb", "matches no file."),
        ("modules/{a,b}/*", "“modules/{a,b}/*” has braces, which are not supported."),
        ("x" * 201, "A glob has at most 200 characters."),
        ("\n".join(map(str, range(51))), "These are 51 globs, and a stack takes 50."),
        ("a\0b", "This contains a null character"),
    ],
)
def test_globs_that_match_nothing_are_refused_with_the_reason(
    member: Client, world: Integration, stack: Stack, typed: str, why: str
) -> None:
    response = member.post(BEHAVIOR, {"extra_globs": typed})
    assert why in errors(response, "extra_globs")
    assert chosen(stack)["path_rule"] is True
    response = create(member, world, name="Other", extra_globs=typed)
    assert step(response) == "Define behavior"
    assert why in errors(response, "extra_globs")
    assert Stack.objects.count() == 1


def show(member: Client, typed: str, **headers: str) -> Any:
    sent = {"extra_globs": typed, "show_matches": "1"}
    return member.post(BEHAVIOR, sent, headers=headers)


def words(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def test_the_form_shows_which_files_match_and_changes_nothing(
    member: Client, stack: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({f"modules/{number:02}/a.tf": "1" for number in range(25)} | {"modules/b": ""})
    before = len(emulator.requests)
    page = show(member, "modules/**/*.tf\n!modules/03/")
    assert "Matching files on main : 24 of 27" in words(page)
    assert "modules/02/a.tf modules/04/a.tf" in words(page)
    assert "modules/20/a.tf and 4 more" in words(page)
    assert values_of(page, "extra_globs") == "modules/**/*.tf\n!modules/03/"
    part = show(member, "/main.tf", HX_Request="true")
    assert words(part) == "Matching files on main : 1 of 27 main.tf"
    assert words(show(member, "x", HX_Request="true")) == "Matching files on main : none of 27"
    paths = [request.path.rpartition("/")[2] for request in emulator.requests[before:]]
    assert paths == ["refs", "items"]  # what was read is remembered for a while
    stack.refresh_from_db()
    assert stack.extra_globs == []


def values_of(response: Any, field: str) -> str:
    return str(response.context["form"][field].value())


def test_the_form_says_why_it_can_not_show_which_files_match(
    member: Client, stack: Stack, emulator: Emulator
) -> None:
    assert "“[” has brackets" in words(show(member, "[", HX_Request="true"))
    assert "“[” has brackets" in errors(show(member, "["), "extra_globs")
    assert "Without globs, only files" in words(show(member, " "))
    emulator.faults.add("unavailable", path="/items")
    said = words(show(member, "*.tf", HX_Request="true"))
    assert said.startswith("The files of main could not be read. Azure DevOps is down")
    emulator.faults.clear()
    Stack.objects.update(branch="gone")
    assert words(show(member, "*.tf", HX_Request="true")) == "There is no branch gone."


def test_what_matches_is_shown_before_there_is_a_stack(member: Client, world: Integration) -> None:
    typed = source(world, step="3", name="New", branch="feature/network", extra_globs="a.*")
    page = member.post(NEW, typed | {"show_matches": "1"})
    assert step(page) == "Define behavior"
    assert "Matching files on feature/network : 1 of 2 a.tf" in words(page)
    assert values(page)["name"] == "New"
    part = member.post(NEW, typed | {"show_matches": "1"}, headers={"HX-Request": "true"})
    assert words(part) == "Matching files on feature/network : 1 of 2 a.tf"
    wrong = member.post(NEW, typed | {"show_matches": "1", "branch": "nothing"})
    assert "has no branch “nothing”" in words(wrong)
    assert not Stack.objects.exists()


def test_the_behavior_can_be_changed(member: Client, stack: Stack) -> None:
    form = member.get(BEHAVIOR).context["form"]
    assert {name: form[name].value() for name in BOXES} == chosen(stack)
    sent = {
        "pull_requests_only": "on",
        "runs_forks": "on",
        "autodeploy": "on",
        "extra_globs": "a/*",
    }
    response = member.post(BEHAVIOR, sent, follow=True)
    assert [str(one) for one in response.context["messages"]] == ["Stack Network was changed"]
    assert chosen(stack) == {name: name in sent for name in BOXES}
    page = " ".join(response.content.decode().split())
    assert "Runs whatever files change." in page
    assert "Without submodules. Without Git LFS files." in page
    assert "Other branches need a pull request." in page
    assert "Not for drafts. Also for forks. Plans are applied without confirmation." in page
    assert "Runs when its modules change." not in page
    page = words(member.post(BEHAVIOR, sent | {"runs_on_modules": "on"}, follow=True))
    assert "Runs when its modules change. Other branches need a pull request." in page
    form = member.get(BEHAVIOR).context["form"]
    assert {name: form[name].value() for name in BOXES} == chosen(stack)


@pytest.mark.parametrize(
    "opened", ["secrets", "outputs of another stack", "repositories of other projects"]
)
def test_only_an_admin_has_forks_run_that_read_what_admins_opened(
    member: Client, admin: Client, stack: Stack, opened: str
) -> None:
    # What tracked runs alone find is not opened to anybody.
    secret = StackVariable.objects.create(
        stack=stack, name="TF_VAR_a", value="a-secret-of-all", is_secret=True, runs=Runs.TRACKED
    )
    other = make_stack(stack.repository, "Other")
    grant = StateGrant.objects.create(stack=other, reader=stack)
    assert member.post(BEHAVIOR, {"runs_forks": "on"}).status_code == 302
    assert member.post(BEHAVIOR, {}).status_code == 302
    match opened:
        case "secrets":
            StackVariable.objects.filter(pk=secret.pk).update(runs=Runs.ALL)
        case "outputs of another stack":
            StateGrant.objects.filter(pk=grant.pk).update(is_for_proposed=True)
        case _:
            Stack.objects.update(reach=Reach.ORGANIZATION)
    refused = member.post(BEHAVIOR, {"runs_forks": "on", "autodeploy": "on"})
    assert f"Proposed runs of this stack can read {opened}, and" in errors(refused, "runs_forks")
    assert not chosen(stack)["runs_forks"] and not chosen(stack)["autodeploy"]
    assert member.post(BEHAVIOR, {"autodeploy": "on"}).status_code == 302
    assert admin.post(BEHAVIOR, {"runs_forks": "on"}).status_code == 302
    assert member.post(BEHAVIOR, {"runs_forks": "on", "autodeploy": "on"}).status_code == 302
    assert chosen(stack)["runs_forks"] and chosen(stack)["autodeploy"]


def test_changing_the_behavior_changes_nothing_else(member: Client, stack: Stack) -> None:
    Stack.objects.update(labels=["prod"], description="All of it", head_sha="f" * 40)
    before = model_to_dict(Stack.objects.get())
    member.post(BEHAVIOR, {})
    after = model_to_dict(Stack.objects.get())
    assert {name for name in before if before[name] != after[name]} == set(CHECKED)


def test_the_stacks_page_says_what_becomes_a_run(member: Client, stack: Stack) -> None:
    Stack.objects.update(project_root="infra/net", extra_globs=["a/*", "b/*", "c/*", "<i>", "e"])
    page = " ".join(member.get("/stacks/network/").content.decode().split())
    assert (
        "Runs when files under <code>infra/net</code> change, or those that match "
        "<code>a/*</code>, <code>b/*</code>, <code>c/*</code> and 2 more."
    ) in page
    assert f'href="{BEHAVIOR}"' in page
    assert member.get("/stacks/nothing/behavior/").status_code == 404
