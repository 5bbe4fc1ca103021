"""Which stacks use a module, and which are behind its newest version."""

import pytest
from django.utils import timezone

from modules.impact.behind import modules_behind, newest_version, stacks_behind
from modules.impact.uses import registry_address, users_of, uses_by
from modules.models import Module
from stacks.models import Run, Stack
from stacks.rules.states import Kind, State
from tests.builders import make_module, make_repository, make_run, make_stack, make_version
from tests.modules.impact.conftest import fetch, use, user


def names(module: Module) -> list[str]:
    return [use.stack.name for use in users_of(module)]


def test_the_last_tracked_run_of_each_stack_says_whether_it_uses_a_module(module: Module) -> None:
    user(module, "Old", used=60)
    user(module, "New", used=1)
    user(module, "Older", used=90)
    former = user(module, "Former")
    make_run(former, state=State.FINISHED)
    # A proposed run, and one that never came so far, say nothing.
    proposed = use(module, make_stack(make_repository(module.integration), "Proposed"))
    Run.objects.filter(pk=proposed.pk).update(kind=Kind.PROPOSED)
    make_run(user(module, "Canceled", used=2), state=State.CANCELED)
    other = make_module(module.repository, "other")
    use(other, make_stack(make_repository(module.integration), "Another module"))
    assert names(module) == ["New", "Canceled", "Old", "Older"]
    assert registry_address(module) == "stackhook.example.com/fabrikam/network/azurerm"


@pytest.mark.parametrize(
    ("folders", "uses"),
    [
        (["network"], True),
        (["network/modules/subnet"], True),
        (["storage", "network"], True),
        ([], True),  # it is not known which
        (["storage"], False),
        (["networks"], False),
        ([""], False),
        (["network/peering"], False),  # a module of its own
    ],
)
def test_a_folder_of_a_repository_is_of_the_module_that_is_nearest(
    module: Module, folders: list[str], uses: bool
) -> None:
    make_module(module.repository, "peering", folder="network/peering")
    stack = make_stack(make_repository(module.integration))
    fetch(module, stack, *folders)
    assert names(module) == (["Network"] if uses else [])
    assert [one.address for one, _ in uses_by(stack) if one == module] == (
        [module.address] if uses else []
    )


def test_stacks_behind_are_named_with_what_holds_them_back(module: Module) -> None:
    for number in ("1.0.0", "1.2.0", "2.0.0", "3.0.0-rc.1"):
        make_version(module, number)
    make_version(module, "4.0.0", yanked_at=timezone.now())
    newest = newest_version(module)
    assert newest and newest.number == "2.0.0"
    repository = make_repository(module.integration)
    cases = {
        "Held": ("1.2.0", "~> 1.0", "Its constraint ~> 1.0 holds it back."),
        "Free": (
            "1.2.0",
            ">= 1.0",
            "Its constraint >= 1.0 allows the newest one: its next run gets it.",
        ),
        "Unknown": ("1.0.0", "", "Its next run may get the newest one: no constraint is known."),
        "Odd": ("1.0.0", "latest", "Its constraint is latest."),
        "Newest": ("2.0.0", "", None),
        "Ahead": ("3.0.0-rc.1", "3.0.0-rc.1", None),
        "Strange": ("one", "", None),
    }
    for name, (version, constraint, _) in cases.items():
        stack = make_stack(repository, name)
        use(module, stack, version=version, constraint=constraint)
    for name, ref in (("Tag", "v1.2.0"), ("Branch", "main")):
        fetch(module, make_stack(repository, name), "network", ref=ref)
    found = {
        one.stack.name: one.reason
        for one in stacks_behind(module, users_of(module), newest_version(module))
    }
    expected = {name: reason for name, (_, _, reason) in cases.items() if reason}
    assert found == expected | {"Tag": "The ref v1.2.0 holds it back."}
    held = Stack.objects.get(name="Held")
    assert [(one.module, one.version) for one in modules_behind(held)] == [(module, "1.2.0")]


def test_tags_with_a_prefix_are_of_one_module_of_several(module: Module) -> None:
    Module.objects.update(tag_prefix="network")
    module.refresh_from_db()
    make_version(module, "2.0.0")
    repository = make_repository(module.integration)
    for name, ref in (("Ours", "network/v1.0.0"), ("Others", "storage/v1.0.0")):
        fetch(module, make_stack(repository, name), ref=ref)
    assert [
        one.stack.name for one in stacks_behind(module, users_of(module), newest_version(module))
    ] == ["Ours"]
