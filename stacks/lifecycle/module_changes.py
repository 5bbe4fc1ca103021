"""Whether a run may plan the code that a pull request of a module proposes."""

from stacks.models import ProposedModule, Run
from stacks.rules.states import Origin

SWITCHED_OFF = (
    "The stack does not plan proposed changes of its modules. An admin can switch that on under "
    "Module access."
)


def proposed_module_of(run: Run) -> ProposedModule | None:
    """Return what a run plans in place of a module of its stack; None for most runs."""
    if run.origin != Origin.IMPACT:
        return None
    related = "pull_request__repository__integration"
    return ProposedModule.objects.filter(run=run).select_related(related).first()


def why_module_is_not_planned(run: Run) -> str:
    """Say why a run may not plan a module's proposed code (any more); empty if it may.

    Also empty for all other runs.
    """
    if run.origin != Origin.IMPACT:
        return ""
    proposed = proposed_module_of(run)
    if proposed is None:
        return "The pull request of the module is gone."
    pull_request = proposed.pull_request
    if pull_request.is_from_fork:
        return f"{pull_request} comes from a fork, whose code is not planned in other stacks."
    if not pull_request.is_open:
        return f"{pull_request} of {pull_request.repository} is {pull_request.status}."
    return "" if run.stack.plans_module_changes else SWITCHED_OFF
