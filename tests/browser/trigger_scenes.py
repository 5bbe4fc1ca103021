"""The pages on which runs are triggered, and those of runs that no push started."""

import json
from typing import Any

from django.utils import timezone
from playwright.sync_api import expect

from stacks.models import Run, Stack
from stacks.models.schedule import Starts
from stacks.rules.states import Kind, Operation, Origin, State
from tests.browser.scene import LONG_NAME, Scene, state
from tests.builders import make_run, make_schedule, make_state_version


def _stack_with_state(scene: Scene, instances: int) -> Stack:
    """A stack whose state holds a resource of a module, and as many instances of another."""
    stack = scene.stack()
    one = {"mode": "managed", "type": "azurerm_virtual_network", "name": LONG_NAME}
    many = {"mode": "managed", "type": "azurerm_subnet", "name": "subnet"}
    content = {
        "version": 4,
        "resources": [
            one | {"module": 'module.network["eu"]', "instances": [{}]},
            many | {"instances": [{"index_key": number} for number in range(instances)]},
        ],
    }
    run = make_run(stack, 1, state=State.FINISHED)
    make_state_version(run, 1, json.dumps(content).encode())
    return stack


@state("trigger run")
def _trigger_run(scene: Scene) -> None:
    stack = _stack_with_state(scene, 5)
    scene.member(f"{stack.get_absolute_url()}runs/new/")


@state("trigger run, with many resources and errors")
def _trigger_run_with_errors(scene: Scene) -> None:
    stack = _stack_with_state(scene, 300)
    scene.member(f"{stack.get_absolute_url()}runs/new/")
    scene.page.get_by_label("Code").select_option("proposed")
    scene.page.get_by_label("Operation").select_option("destroy")
    scene.page.get_by_label("Other targets").fill("-destroy")
    scene.press("Trigger run")
    expect(scene.page.get_by_text("A proposed run can’t destroy.")).to_be_visible()


@state("trigger run, of a newer head than was shown")
def _trigger_run_refused(scene: Scene) -> None:
    stack = scene.stack()
    scene.member(f"{stack.get_absolute_url()}runs/new/")
    scene.press("Trigger run")
    expect(scene.page.get_by_text("Nothing was started.")).to_be_visible()


def _destroy_run(scene: Scene) -> Run:
    return make_run(
        scene.stack(),
        1,
        state=State.UNCONFIRMED,
        origin=Origin.PERSON,
        operation=Operation.DESTROY,
        targets=[f'module.network["eu"].azurerm_virtual_network.{LONG_NAME}', "azurerm_subnet.a"],
        triggered_by_name="bob",
        added=0,
        changed=0,
        destroyed=2,
        plan={
            "resources": [{"address": "azurerm_subnet.a", "action": "destroy"}],
            "outputs": [],
            "left_out": 0,
        },
    )


@state("run, that destroys")
def _run_that_destroys(scene: Scene) -> None:
    scene.member(_destroy_run(scene).get_absolute_url())
    scene.page.get_by_role("link", name="Apply: ").click()
    expect(scene.page.get_by_label("To confirm, type Network")).to_be_visible()


@state("stack, with triggered runs")
def _stack_with_triggered_runs(scene: Scene) -> None:
    stack = _destroy_run(scene).stack
    about = {"state": State.FINISHED, "triggered_by_name": "a.person.with.a.very.long.name"}
    make_run(stack, 2, origin=Origin.PERSON, operation=Operation.REFRESH_ONLY, **about)
    make_run(stack, 3, origin=Origin.SCHEDULE, state=State.FINISHED)
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_text("Started by a schedule")).to_be_visible()


def _drift_run(stack: Stack) -> Run:
    run = make_run(
        stack,
        2,
        kind=Kind.DRIFT,
        state=State.FINISHED,
        origin=Origin.SCHEDULE,
        operation=Operation.REFRESH_ONLY,
        added=0,
        changed=0,
        destroyed=0,
        drifted=2,
        changed_outputs=1,
        plan={
            "resources": [],
            "outputs": [{"name": "seen", "action": "change"}],
            "left_out": 0,
        },
    )
    Stack.objects.filter(pk=stack.pk).update(drift_run=run)
    return run


@state("run, that found drift")
def _run_that_found_drift(scene: Scene) -> None:
    run = _drift_run(scene.stack())
    scene.member(run.get_absolute_url())
    expect(scene.page.get_by_role("link", name="Show what was changed")).to_be_visible()


@state("stack, with drift")
def _stack_with_drift(scene: Scene) -> None:
    run = _drift_run(scene.stack())
    scene.member(run.stack.get_absolute_url())
    expect(scene.page.get_by_text("Found 2 resources and 1 output changed outside")).to_be_visible()


@state("start page, with drift")
def _start_page_with_drift(scene: Scene) -> None:
    _drift_run(scene.stack())
    scene.member("/")
    expect(scene.page.get_by_text("changed outside")).to_be_visible()


def _schedules(scene: Scene) -> Stack:
    stack = scene.stack()
    run = make_run(stack, 1, state=State.FINISHED)
    about: dict[str, Any] = {"last_run": run, "last_at": timezone.now()}
    make_schedule(stack, runs_on_drift=True, **about)
    problem = f"Skipped, as {run} needs confirmation."
    make_schedule(stack, Starts.TRACKED, time_zone="America/Argentina/ComodRivadavia", **about)
    make_schedule(stack, Starts.DESTROY, cron="0 20 * * FRI", problem=problem, **about)
    make_schedule(stack, cron="*/10,*/15,*/25 0-23/2 1-31 * MON,TUE,WED,THU,FRI")
    return stack


@state("schedules")
def _schedules_page(scene: Scene) -> None:
    stack = _schedules(scene)
    scene.member(f"{stack.get_absolute_url()}schedules/")


@state("schedules, none, with errors")
def _schedules_with_errors(scene: Scene) -> None:
    stack = scene.stack()
    scene.member(f"{stack.get_absolute_url()}schedules/")
    scene.page.get_by_label("When", exact=True).fill("@daily")
    scene.page.get_by_label("Time zone").fill("Berlin")
    scene.press("Add schedule")
    expect(scene.page.get_by_text("“Berlin” is no time zone.")).to_be_visible()


@state("change schedule")
def _change_schedule(scene: Scene) -> None:
    schedule = make_schedule(scene.stack())
    scene.member(f"{schedule.get_absolute_url()}{schedule.pk}/")


@state("remove schedule")
def _remove_schedule(scene: Scene) -> None:
    schedule = make_schedule(scene.stack())
    scene.member(f"{schedule.get_absolute_url()}{schedule.pk}/remove/")
