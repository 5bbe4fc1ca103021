"""What tests of reports share: runs that move, and a sender that does not wait."""

from django.utils import timezone

from stacks.deciding.reconciliation import reconcile
from stacks.models import Report, Run, Stack
from stacks.reports.sending import send_next
from stacks.rules.states import State
from tests.emulator.statuses import Status
from vcs_integrations.models import Integration, Repository

TO_PLAN = (State.PREPARING, State.PLANNING)


def look(stack: Stack) -> None:
    """Read what happened in the stack's repository."""
    reconcile(Repository.objects.select_related("integration").get(stacks=stack))


def send_all() -> None:
    """Send what is due until nothing is."""
    for _ in range(500):
        if not send_next():
            return
    raise AssertionError("it never ends")


def make_reports_due() -> None:
    """Let the time pass for which reports wait, and the leases of killed workers."""
    Report.objects.update(due_at=timezone.now(), lease_until=None)
    Integration.objects.update(reports_held_until=None)


def make_plan_again_due() -> None:
    """Let the time pass for which nothing may move before plans are made again."""
    Stack.objects.exclude(plan_again_at=None).update(plan_again_at=timezone.now())


def newest(stack: Stack) -> Run:
    found = stack.runs.order_by("-number").first()
    assert found
    return found


def move(run: Run, *states: State) -> None:
    for state in states:
        run.move_to(state)


def summaries(statuses: list[Status]) -> list[tuple[str, str]]:
    """Return state and description of each."""
    return [(one.state, one.description) for one in statuses]
