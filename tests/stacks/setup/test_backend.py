"""What plans and applies, and who keeps the state: the last step, and the page that changes it."""

import html
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from stacks.models import Run, Stack
from stacks.rules.states import UNDER_WAY, Kind, State
from tests.builders import make_run
from tests.stacks.conftest import BACKEND, create, errors, step
from vcs_integrations.models import Integration

PATH = "/stacks/network/backend/"


def test_a_stack_has_terraform_and_a_state_of_ours_by_default(
    member: Client, world: Integration
) -> None:
    create(member, world)
    stack = Stack.objects.get()
    assert (stack.tool, stack.backend, stack.autodeploy) == ("terraform", "stackhook", False)


def test_the_choice_of_the_last_step_is_kept(member: Client, world: Integration) -> None:
    create(member, world, tool="opentofu", backend="own", autodeploy="on")
    stack = Stack.objects.get()
    assert (stack.tool, stack.backend, stack.autodeploy) == ("opentofu", "own", True)


@pytest.mark.parametrize("name", ["tool", "backend"])
@pytest.mark.parametrize("value", ["", "pulumi"])
def test_any_other_word_is_refused(
    member: Client, world: Integration, stack: Stack, name: str, value: str
) -> None:
    created = create(member, world, name="Other", **{name: value})
    changed = member.post(PATH, BACKEND | {name: value})
    for response in (created, changed):
        assert step(response) == "Configure backend"
        assert errors(response, name)
    assert Stack.objects.count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        Stack.objects.update(**{name: value})


def test_the_backend_can_be_changed(member: Client, stack: Stack) -> None:
    form = member.get(PATH).context["form"]
    assert {name: form[name].value() for name in BACKEND} == BACKEND
    response = member.post(PATH, {"tool": "opentofu", "backend": "own"}, follow=True)
    assert [str(one) for one in response.context["messages"]] == ["Stack Network was changed"]
    assert "OpenTofu, state stored in the backend in the code." in response.content.decode()
    stack.refresh_from_db()
    assert (stack.tool, stack.backend) == ("opentofu", "own")


def test_drift_that_was_found_with_another_backend_is_forgotten(
    member: Client, stack: Stack
) -> None:
    Stack.objects.update(drift_run=make_run(stack, kind=Kind.DRIFT, state=State.FINISHED))
    member.post(PATH, BACKEND | {"tool": "opentofu"})
    assert Stack.objects.get().drift_run
    member.post(PATH, BACKEND | {"backend": "own"})
    assert Stack.objects.get().drift_run is None


def clause(state: State) -> str:
    return "needs confirmation" if state == State.UNCONFIRMED else f"is {state}"


@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_the_backend_of_a_run_under_way_is_not_changed(
    member: Client, stack: Stack, state: State
) -> None:
    make_run(stack, 1)
    make_run(stack, 2, state=State.FINISHED)
    make_run(stack, 3, state=state)
    response = member.post(PATH, BACKEND | {"tool": "opentofu"}, follow=True)
    said = [str(one) for one in response.context["messages"]]
    assert said == [f"Run 3 {clause(state)}: change the backend once it has ended"]
    stack.refresh_from_db()
    assert stack.tool == "terraform"
    Run.objects.filter(number=3).update(state=State.FAILED)
    assert member.post(PATH, BACKEND | {"tool": "opentofu"}).status_code == 302
    stack.refresh_from_db()
    assert stack.tool == "opentofu"


def test_a_run_that_begins_while_the_backend_is_changed_keeps_it(
    member: Client, stack: Stack
) -> None:
    run = make_run(stack, 1)
    begun: list[str] = []
    locked = 'FROM "vcs_integrations_repository" WHERE "vcs_integrations_repository"."id" ='

    def begin_first(execute: Any, sql: str, *rest: Any) -> Any:
        if not begun and sql.startswith("SELECT") and locked in sql:
            begun.append(sql)  # what it does itself is not to be waited for
            run.move_to(State.PREPARING)
        return execute(sql, *rest)

    with connection.execute_wrapper(begin_first):
        response = member.post(PATH, BACKEND | {"tool": "opentofu"}, follow=True)
    said = [str(one) for one in response.context["messages"]]
    assert begun and said == ["Run 1 is preparing: change the backend once it has ended"]
    stack.refresh_from_db()
    assert stack.tool == "terraform"


@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_a_plan_is_applied_in_the_folder_that_it_was_made_in(
    member: Client, admin: Client, stack: Stack, state: State
) -> None:
    make_run(stack, 2, state=State.FINISHED)
    make_run(stack, 3, state=state)
    path, typed = "/stacks/network/edit/", {"name": "Network", "project_root": "elsewhere"}
    why = f"Run 3 {clause(state)}: change the project root once it has ended."
    for client in (member, admin):
        assert errors(client.post(path, typed), "project_root") == why
    assert member.post(path, typed | {"project_root": "", "labels": "new"}).status_code == 302
    stack.refresh_from_db()
    assert (stack.project_root, stack.labels) == ("", ["new"])
    Run.objects.filter(number=3).update(state=State.FAILED)
    assert member.post(path, typed).status_code == 302
    stack.refresh_from_db()
    assert stack.project_root == "elsewhere"


def test_the_page_says_what_a_change_leads_to(member: Client, stack: Stack) -> None:
    page = " ".join(member.get(PATH).content.decode().split())
    assert "A change moves no state: what the stack manages already is unknown to another" in page
    assert f'href="{PATH}"' in member.get("/stacks/network/edit/").content.decode()


# Which version of the tool


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("", ""), (" 1.11.4 ", "1.11.4"), ("v1.11.4", "1.11.4"), (">=1.5,<2", ">= 1.5, < 2")],
)
def test_a_version_is_chosen_and_shown(member: Client, stack: Stack, typed: str, kept: str) -> None:
    response = member.post(PATH, BACKEND | {"tool_version": typed}, follow=True)
    stack.refresh_from_db()
    assert stack.tool_version == kept
    shown = f"Terraform {kept}, state stored in".replace(" ,", ",")
    assert shown in html.unescape(response.content.decode())
    assert member.get(PATH).context["form"]["tool_version"].value() == kept


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("latest", "“latest” is not a version like 1.11.4."),
        ("1.11", "Write 1.11.0, or ~> 1.11.0 for its newest patch."),
        (">= 1.5 < 2", "Write a version like 1.11.4, or a constraint like ~> 1.11"),
        ("~> 1.12.0-rc1", "a prerelease can only be named exactly, like 1.12.0-rc1."),
        ("9" * 300, "200 are the most"),
        ("../../bin/sh", "is not a version like 1.11.4."),
    ],
)
def test_what_is_no_version_is_refused_and_kept_in_the_form(
    member: Client, world: Integration, stack: Stack, typed: str, problem: str
) -> None:
    created = create(member, world, name="Other", tool_version=typed)
    changed = member.post(PATH, BACKEND | {"tool_version": typed})
    for response in (created, changed):
        assert step(response) == "Configure backend"
        assert problem in errors(response, "tool_version")
        assert response.context["form"]["tool_version"].value() == typed
    assert Stack.objects.get().tool_version == ""
