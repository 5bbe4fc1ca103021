"""What becomes a run: the third step of the form, and the page that changes it."""

from typing import Any

import pytest
from django.forms import model_to_dict
from django.test import Client

from stacks.models import Stack
from stacks.triggers import is_affected
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
    "fetches_lfs",
)


def chosen(stack: Stack) -> dict[str, Any]:
    stack.refresh_from_db()
    return {name: getattr(stack, name) for name in BOXES}


def test_a_stack_follows_the_path_rule_and_drafts_unless_told_otherwise(
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
        ("/modules/*, ./shared/*.tf", ["modules/*", "shared/*.tf"]),
        ("modules/", ["modules/*"]),
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
        ("a\tb", "matches no file."),
        ("modules/{a,b}/*", "“modules/{a,b}/*” has braces, which are not understood."),
        ("x" * 201, "A glob has at most 200 characters."),
        ("\n".join(map(str, range(51))), "These are 51 globs, and a stack takes 50."),
        ("a\0b", "Null characters are not allowed."),
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


def test_a_star_also_stands_for_slashes_as_the_help_says(member: Client, stack: Stack) -> None:
    Stack.objects.update(project_root="infra")
    member.post(BEHAVIOR, CHECKED | {"extra_globs": "modules/*"})
    stack.refresh_from_db()
    assert is_affected(stack, ["modules/a/b/main.tf"])
    assert not is_affected(stack, ["modules.tf"])


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
    form = member.get(BEHAVIOR).context["form"]
    assert {name: form[name].value() for name in BOXES} == chosen(stack)


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
