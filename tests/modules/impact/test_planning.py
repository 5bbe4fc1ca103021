"""Pull requests of modules are planned in the stacks that use them: in order, and within limits."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from modules.impact import starting
from modules.impact.planning import end, plan_next_impact, plan_rest, want
from modules.models import Impact, ImpactPlan, Module
from stacks.lifecycle.actions import act, refuses_retry
from stacks.lifecycle.triggering import head_of, trigger
from stacks.models import PullRequest, Run, RunAction, Stack
from stacks.rules.states import Kind, Origin, State
from tests.builders import make_run, make_stack
from tests.modules.impact.conftest import pull_request, use, user


def work() -> None:
    """Do what is due, and what would be due a moment later."""
    Impact.objects.exclude(due_at=None).update(due_at=timezone.now())
    while plan_next_impact():
        if not Impact.objects.due().exists():
            return


def started() -> list[str]:
    runs = Run.objects.filter(origin=Origin.IMPACT).select_related("stack").order_by("pk")
    return [run.stack.name for run in runs]


def finish(state: State = State.FINISHED, **changes: object) -> None:
    Run.objects.filter(origin=Origin.IMPACT, state=State.QUEUED).update(state=state, **changes)


def wanted(module: Module, revision: int = 1, sha: str = "a" * 40, **changes: object) -> Impact:
    one = PullRequest.objects.filter(number=7).first() or pull_request(module, **changes)
    found = want(module, one, revision, sha)
    assert found
    return found


def test_every_stack_that_uses_the_module_is_planned_the_last_use_first(module: Module) -> None:
    user(module, "Old", used=60)
    new = user(module, "New", used=1)
    impact = wanted(module)
    work()
    assert started() == ["New", "Old"]
    run = new.runs.get(origin=Origin.IMPACT)
    assert (run.kind, run.state, run.sha) == (Kind.PROPOSED, State.QUEUED, new.head_sha)
    assert run.started_by == "Started by a pull request of a module"
    assert run.note == (
        "Pull request 7 of Web/modules proposes commit aaaaaaaa of the module "
        "fabrikam/network/azurerm."
    )
    proposed = run.proposed_module
    address = "stackhook.example.com/fabrikam/network/azurerm"
    assert (proposed.sha, proposed.folder, proposed.address) == ("a" * 40, "network", address)
    assert proposed.refs[0] == "refs/heads/better"
    # It is no run of code: nothing of the stack's own pull requests and pushes knows it.
    assert not run.is_of_code
    # Once all have ended, nothing is looked for any more.
    finish()
    work()
    impact.refresh_from_db()
    assert impact.due_at is None
    assert len(started()) == 2


@pytest.mark.on_postgresql
def test_at_most_so_many_run_at_once_and_the_next_follow(
    module: Module, settings: Settings
) -> None:
    settings.IMPACT_RUNS_AT_ONCE = 2
    for number in range(5):
        user(module, f"Stack {number}", used=number)
    wanted(module)
    work()
    assert started() == ["Stack 0", "Stack 1"]
    work()
    assert len(started()) == 2
    finish()
    work()
    assert started() == [f"Stack {number}" for number in range(4)]
    # Those of another pull request count, too.
    other = pull_request(module, number=8, source_sha="b" * 40)
    want(module, other, 1, "b" * 40)
    work()
    assert len(started()) == 4


@pytest.mark.on_postgresql
def test_the_rest_beyond_the_limit_waits_for_a_click(module: Module, settings: Settings) -> None:
    settings.IMPACT_STACKS = 2
    off = user(module, "Off", used=0)
    Stack.objects.filter(pk=off.pk).update(plans_module_changes=False)
    for number in range(1, 5):
        user(module, f"Stack {number}", used=number)
    impact = wanted(module)
    work()
    assert started() == ["Stack 1", "Stack 2"]
    finish()
    work()
    assert len(started()) == 2
    assert plan_rest(impact) == 2
    assert plan_rest(impact) == 0
    work()
    assert started() == [f"Stack {number}" for number in range(1, 5)]


@pytest.mark.on_postgresql
def test_a_newer_revision_takes_the_place_of_an_older_one(module: Module) -> None:
    stack = user(module, "Network")
    first = wanted(module)
    work()
    second = wanted(module, 2, "b" * 40)
    work()
    states = [run.state for run in stack.runs.filter(origin=Origin.IMPACT).order_by("pk")]
    assert states == [State.SUPERSEDED, State.QUEUED]
    first.refresh_from_db()
    assert (first.is_superseded, first.due_at, second.is_superseded) == (True, None, False)
    # One that is heard of late, or twice, changes nothing.
    assert want(module, first.pull_request, 1, "a" * 40) is None
    assert want(module, first.pull_request, 2, "b" * 40) == second
    work()
    assert len(started()) == 2


@pytest.mark.on_postgresql
@pytest.mark.parametrize("is_told", [True, False])
def test_a_pull_request_that_is_closed_is_not_planned_any_further(
    module: Module, settings: Settings, is_told: bool
) -> None:
    settings.IMPACT_RUNS_AT_ONCE = 1
    user(module, "New", used=1)
    user(module, "Old", used=2)
    impact = wanted(module)
    work()
    PullRequest.objects.update(status="merged")
    impact.pull_request.refresh_from_db()
    if is_told:
        end(impact.pull_request)
    work()
    assert [run.state for run in Run.objects.filter(origin=Origin.IMPACT)] == [State.CANCELED]
    impact.refresh_from_db()
    assert impact.due_at is None
    assert want(module, impact.pull_request, 2, "b" * 40) is None
    # Opened again, it is planned again.
    PullRequest.objects.update(status="open")
    impact.pull_request.refresh_from_db()
    assert want(module, impact.pull_request, 1, "a" * 40) == impact
    work()
    finish()
    work()
    assert started() == ["New", "New", "Old"]


def test_code_of_a_fork_is_never_planned(module: Module) -> None:
    user(module, "Network")
    one = pull_request(module, is_from_fork=True)
    assert want(module, one, 1, "a" * 40) is None
    assert not Impact.objects.exists()


@pytest.mark.on_postgresql
def test_stacks_that_may_not_are_named_with_the_reason(module: Module) -> None:
    elsewhere = user(module, "Elsewhere", used=1)
    off = user(module, "Off", used=2)
    new = user(module, "New", used=3, head_sha="")
    fine = user(module, "Fine", used=4)
    Stack.objects.filter(pk=off.pk).update(plans_module_changes=False)
    module.repository.project_id = "another"
    module.repository.project_name = "Secret"
    module.repository.save()
    for one in (off, new, fine):
        Stack.objects.filter(pk=one.pk).update(reach="organization")
    impact = wanted(module)
    work()
    reasons = {plan.stack.name: plan.why_not for plan in impact.plans.select_related("stack")}
    assert reasons[elsewhere.name] == "The code of the stack may not read Secret/modules."
    assert reasons[off.name].startswith("The stack does not plan proposed changes of its modules.")
    assert reasons[fine.name] == ""
    # Without a known head it is what was applied last.
    assert reasons[new.name] == ""
    assert started() == ["New", "Fine"]
    assert new.runs.get(origin=Origin.IMPACT).sha == new.runs.get(kind=Kind.TRACKED).sha


@pytest.mark.on_postgresql
def test_what_is_not_allowed_any_more_is_not_started(module: Module, settings: Settings) -> None:
    settings.IMPACT_RUNS_AT_ONCE = 1
    user(module, "New", used=1)
    off = user(module, "Off", used=2)
    impact = wanted(module)
    work()
    Stack.objects.filter(pk=off.pk).update(plans_module_changes=False)
    finish()
    work()
    assert started() == ["New"]
    assert impact.plans.get(stack=off).why_not.startswith("The stack does not plan")


@pytest.mark.on_postgresql
def test_a_worker_that_is_killed_or_late_starts_each_run_once(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        user(module, f"Stack {number}", used=number)
    wanted(module)
    start = starting.start
    calls: list[Run] = []

    def dies(plan: ImpactPlan) -> Run:
        run = start(plan)
        calls.append(run)
        if len(calls) == 2:
            raise SystemExit
        return run

    monkeypatch.setattr(starting, "start", dies)
    with pytest.raises(SystemExit):
        plan_next_impact()
    assert started() == ["Stack 0"]  # what was not stored whole is not there
    Impact.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    work()
    assert started() == ["Stack 0", "Stack 1", "Stack 2"]


@pytest.mark.on_postgresql
def test_a_worker_that_lost_its_lease_starts_nothing(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    user(module, "Network")
    wanted(module)
    waiting = Impact.waiting

    def slowly(impact: Impact) -> object:
        """Look for what waits while another worker claims it, and starts it."""
        if not started():
            monkeypatch.setattr(Impact, "waiting", waiting)
            Impact.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            found = list(waiting(impact).select_related("stack__repository__integration"))
            assert plan_next_impact()
            Run.objects.filter(origin=Origin.IMPACT).update(state=State.FINISHED)
            return Found(found)
        return waiting(impact)

    monkeypatch.setattr(Impact, "waiting", slowly)
    assert plan_next_impact()
    assert started() == ["Network"]


class Found(list[ImpactPlan]):
    """Plans as they were read a while ago."""

    def select_related(self, *_: str) -> "Found":
        return self


@pytest.mark.on_postgresql
def test_a_run_is_retried_with_the_same_code_as_long_as_that_is_proposed(
    module: Module, bob: User
) -> None:
    stack = user(module, "Network")
    impact = wanted(module)
    work()
    finish(State.FAILED)
    run = stack.runs.get(origin=Origin.IMPACT)
    again = act(run, RunAction.Action.RETRY, bob, "")
    assert again.proposed_module.sha == "a" * 40
    assert again.proposed_module.pk != run.proposed_module.pk
    assert refuses_retry(run) == "The commit has a run that is under way."
    finish(State.FAILED)
    Stack.objects.update(plans_module_changes=False)
    run = Run.objects.get(pk=run.pk)
    assert refuses_retry(run).startswith("The stack does not plan proposed changes")
    Stack.objects.update(plans_module_changes=True)
    PullRequest.objects.update(status="merged")
    assert refuses_retry(Run.objects.get(pk=run.pk)) == "Pull request 7 of Web/modules is merged."
    assert list(impact.runs().order_by("pk")) == [run, again]


def test_a_person_triggers_the_same_commit_beside_it(module: Module) -> None:
    stack = user(module, "Network")
    wanted(module)
    work()
    run = trigger(stack, Kind.PROPOSED, head_of(stack), origin=Origin.PERSON)
    assert run.origin == Origin.PERSON


def test_a_module_that_nothing_uses_is_not_planned(module: Module) -> None:
    make_stack(module.repository)
    impact = wanted(module)
    work()
    impact.refresh_from_db()
    assert (impact.due_at, impact.plans.count()) == (None, 0)


@pytest.mark.on_postgresql
def test_nothing_is_stored_where_the_decision_is_not(module: Module) -> None:
    stack = user(module, "Network")
    use(module, stack)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        wanted(module)
        raise ZeroDivisionError
    assert not Impact.objects.exists()
    assert make_run(stack)
