"""What a pull request of a module shows: one table, and a status for branch policies."""

from unittest import mock

import pytest
from pytest_django import Settings

from modules.impact.planning import leave_out, plan_next_impact, plan_rest, want
from modules.models import Impact, Module
from modules.rules.decisions import Rule
from stacks.models import Report, Run, Stack
from stacks.models.report import ReportState, What
from stacks.reports.sending import send
from stacks.reports.texts import comment_for, status_for
from stacks.rules.states import Origin, State
from tests.modules.impact.conftest import pull_request, user
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.azure_devops.provider import AzureDevOps
from vcs_integrations.providers.base import Problem, ProviderError, Status

NAME = "impact.fabrikam.network.azurerm"


def planned(module: Module) -> Impact:
    impact = want(module, pull_request(module), 1, "a" * 40)
    assert impact
    plan_next_impact()
    return impact


def finish(name: str, state: State = State.FINISHED, **changes: object) -> None:
    run = Run.objects.get(stack__name=name, origin=Origin.IMPACT)
    counts = {"added": 0, "changed": 0, "destroyed": 0} if state == State.FINISHED else {}
    Run.objects.filter(pk=run.pk).update(**counts | changes)
    for one in (State.PREPARING, State.PLANNING, state):
        Run.objects.filter(pk=run.pk).move_to(one)


def report(what: What = What.PULL_REQUEST_STATUS) -> Report:
    return Report.objects.select_related("repository__integration", "pull_request").get(
        what=what, module="fabrikam/network/azurerm"
    )


def status() -> tuple[Status | None, str]:
    shown = status_for(report())
    assert shown
    assert (shown.genre, shown.name) == ("stackhook", NAME)
    return shown.status, shown.description


def comment() -> str:
    shown = comment_for(report(What.COMMENT))
    return shown.text if shown else ""


def test_one_table_shows_what_destroys_first_and_what_failed_why(
    module: Module, settings: Settings
) -> None:
    settings.IMPACT_RUNS_AT_ONCE = 6
    for number, name in enumerate(["Waits", "Same", "Adds", "Breaks", "Destroys", "Odd | *name*"]):
        user(module, name, used=number)
    off = user(module, "Off", used=9)
    Stack.objects.filter(pk=off.pk).update(plans_module_changes=False)
    impact = planned(module)
    assert status() == (
        Status.PENDING,
        "7 stacks: 6 not done yet, 1 not planned",
    )
    assert comment() == ""  # nothing is known yet
    finish("Same")
    finish("Adds", added=2)
    errors = 'Error: Missing required argument\n\n  on main.tf line 1:\nThe argument "region"'
    finish("Breaks", State.FAILED, failure="The plan failed.", errors=errors)
    finish("Destroys", destroyed=3, changed=1)
    finish("Odd | *name*", destroyed=1)
    page = "https://stackhook.example.com/modules/fabrikam/network/azurerm/pull-requests/7/"
    stacks = "https://stackhook.example.com/stacks"
    assert comment().splitlines() == [
        f"**[Impact on the stacks that use fabrikam/network/azurerm]({page})**: 7 stacks: "
        "2 destroying, 1 failed, 1 changing, 1 not done yet, 1 without changes, 1 not planned",
        "",
        "Planned with commit aaaaaaaa, revision 1",
        "",
        "| Stack | Add | Change | Destroy | Result |",
        "| --- | ---: | ---: | ---: | --- |",
        f"| [Destroys]({stacks}/destroys/runs/2/) | 0 | 1 | 3 | "
        "**0 to add, 1 to change, 3 to destroy** |",
        f"| [Odd \\| \\*name\\*]({stacks}/odd-name/runs/2/) | 0 | 0 | 1 | "
        "**0 to add, 0 to change, 1 to destroy** |",
        f"| [Breaks]({stacks}/breaks/runs/2/) |  |  |  | **failed: Missing required argument** |",
        f"| [Adds]({stacks}/adds/runs/2/) | 2 | 0 | 0 | 2 to add, 0 to change, 0 to destroy |",
        f"| [Waits]({stacks}/waits/runs/2/) |  |  |  | waiting |",
        f"| [Same]({stacks}/same/runs/2/) | 0 | 0 | 0 | no changes |",
        f"| [Off]({stacks}/off/) |  |  |  | The stack does not plan proposed changes of its "
        "modules. An admin can switch that on under Module access. |",
    ]
    assert status()[0] == Status.FAILED
    assert impact.runs().count() == 6


def test_each_end_of_a_run_has_it_reported_again(module: Module) -> None:
    user(module, "Network")
    planned(module)
    Report.objects.update(state=ReportState.SENT, due_at=None)
    finish("Network", added=1)
    ours = Report.objects.exclude(module="")
    assert {one.state for one in ours} == {ReportState.WAITING}
    assert ours.count() == 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.FINISHED, Status.SUCCEEDED),
        (State.FAILED, Status.FAILED),
        (State.CANCELED, Status.ERROR),
    ],
)
def test_the_status_is_pending_until_all_have_ended(
    module: Module, state: State, expected: Status
) -> None:
    user(module, "One", used=1)
    user(module, "Two", used=2)
    planned(module)
    finish("One")
    assert status()[0] == Status.PENDING
    finish("Two", state)
    assert status()[0] == expected


def test_the_rest_does_not_keep_the_status_pending_until_somebody_wants_it(
    module: Module, settings: Settings
) -> None:
    settings.IMPACT_STACKS = 1
    user(module, "One", used=1)
    user(module, "Two", used=2)
    impact = planned(module)
    finish("One")
    assert status() == (Status.SUCCEEDED, "2 stacks: 1 without changes, 1 to plan on request")
    plan_rest(impact)
    assert status()[0] == Status.PENDING


def test_a_module_that_no_stack_uses_holds_nobody_up(module: Module) -> None:
    planned(module)
    assert status() == (Status.NOT_APPLICABLE, "No stack is known to use the module")
    assert comment() == ""


def test_a_newer_revision_takes_over_comment_and_status(module: Module) -> None:
    user(module, "Network")
    impact = planned(module)
    finish("Network")
    Report.objects.filter(what=What.COMMENT).update(thread_id=1, comment_id=1)
    want(module, impact.pull_request, 2, "b" * 40)
    old = Report.objects.get(what=What.PULL_REQUEST_STATUS, revision=1)
    shown = status_for(old)
    assert shown
    assert (shown.status, shown.description) == (
        Status.ERROR,
        "A newer revision was planned instead",
    )
    assert "Planned with commit bbbbbbbb, revision 2" in comment()
    assert "waiting" in comment()


@pytest.mark.parametrize("is_newer", [False, True])
def test_runs_of_a_table_that_could_not_be_edited_say_so(module: Module, is_newer: bool) -> None:
    for name in ("Network", "Cluster"):
        user(module, name)
    impact = planned(module)
    finish("Network")
    Report.objects.filter(what=What.COMMENT).update(thread_id=1, comment_id=1)
    if is_newer:
        want(module, impact.pull_request, 2, "b" * 40)
        plan_next_impact()
    refusal = ProviderError(Problem.NOT_THE_AUTHOR, "Another account wrote it.", "Nothing.")
    with mock.patch.multiple(
        AzureDevOpsClient,
        pull_request=mock.Mock(return_value=mock.Mock(is_open=True)),
        edit_comment=mock.Mock(side_effect=refusal),
        create_thread=mock.Mock(return_value=mock.Mock(thread_id=2, comment_id=1)),
    ):
        send(report(What.COMMENT))
    said = Run.objects.filter(note__contains="could not be edited")
    assert sorted(said.values_list("stack__name", "proposed_module__sha")) == [
        ("Cluster", "a" * 40),
        ("Network", "a" * 40),
    ]


def test_a_revision_that_changes_nothing_of_the_module_any_more_ends_its_plans(
    module: Module,
) -> None:
    user(module, "Network")
    impact = planned(module)
    Report.objects.filter(what=What.COMMENT).update(thread_id=1, comment_id=1)
    leave_out(module, impact.pull_request, 2, "b" * 40, Rule.UNTOUCHED)
    assert Run.objects.get(origin=Origin.IMPACT).state == State.SUPERSEDED
    shown = status_for(Report.objects.get(what=What.PULL_REQUEST_STATUS, revision=2))
    assert shown
    assert shown.status == Status.NOT_APPLICABLE
    assert "It changes nothing in network: there is nothing to check" in comment()
    assert "| --- |" not in comment()
    # The next one does change it.
    want(module, impact.pull_request, 3, "c" * 40)
    shown = status_for(Report.objects.get(what=What.PULL_REQUEST_STATUS, revision=3))
    assert shown
    assert shown.status == Status.PENDING
    assert "Planned with commit cccccccc, revision 3" in comment()


def test_what_a_fork_proposes_is_an_error_that_no_policy_passes(module: Module) -> None:
    leave_out(module, pull_request(module, is_from_fork=True), 1, "a" * 40, Rule.FORK)
    assert status()[0] == Status.ERROR
    assert comment() == ""
    module.delete()
    shown = status_for(report())
    assert shown is None


def test_a_table_that_is_too_long_is_cut_and_says_so(
    module: Module, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AzureDevOps, "longest_comment", 15_000)
    settings.IMPACT_STACKS = settings.IMPACT_RUNS_AT_ONCE = 90
    for number in range(90):
        user(module, f"{number} {'Ä' * 90}"[:100])
    planned(module)
    finish(Stack.objects.order_by("pk")[0].name)
    text = comment()
    longest = module.integration.provider.longest_comment
    assert longest - 1000 < len(text.encode("utf-16-le")) // 2 <= longest
    shown = text.count("\n| [")
    assert f"… [{90 - shown} more on the page of the impact](" in text


def test_a_deleted_module_leaves_no_status_pending(module: Module) -> None:
    user(module, "Network")
    planned(module)
    Report.objects.update(is_pending=True)
    module.delete()
    shown = status_for(report())
    assert shown
    assert shown.description == "The module was deleted"
    assert comment() == ""
