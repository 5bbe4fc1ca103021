"""Start the run of a stack that plans what a pull request of a module proposes."""

from modules.impact.uses import registry_address
from modules.models import ImpactPlan
from stacks.lifecycle.drift import applied_run
from stacks.lifecycle.module_changes import SWITCHED_OFF
from stacks.lifecycle.triggering import NotTriggered, commit_of, head_of, trigger
from stacks.models import ProposedModule, Run, Stack
from stacks.rules.states import Kind, Origin
from stacks.sources.reach import readable_by
from vcs_integrations.models import Repository
from vcs_integrations.providers.events import RemoteCommit

NO_COMMIT = "No commit of the stack is known to be planned."


def why_not(stack: Stack, repository: Repository) -> str:
    """Say why a stack does not plan proposed code of a repository; empty if it does."""
    try:
        _commit(stack, repository)
    except NotTriggered as reason:
        return str(reason)
    return ""


def start(plan: ImpactPlan) -> Run:
    """Start the run of a plan, within a transaction. Raises NotTriggered, which says why not."""
    impact, stack = plan.impact, plan.stack
    pull_request = impact.pull_request
    commit = _commit(stack, pull_request.repository)
    run = trigger(
        stack,
        Kind.PROPOSED,
        commit,
        origin=Origin.IMPACT,
        branch=stack.branch,
        note=f"{pull_request} of {pull_request.repository} proposes commit {impact.sha[:8]} of "
        f"the module {impact.module}.",
    )
    ProposedModule.objects.create(
        run=run,
        pull_request=pull_request,
        sha=impact.sha,
        folder=impact.module.folder,
        address=registry_address(impact.module),
    )
    return run


def _commit(stack: Stack, repository: Repository) -> RemoteCommit:
    """Return the commit of a stack with which it plans proposed code of a repository.

    That is the head of the tracked branch, or else what was applied last. Raises NotTriggered,
    which says why nothing is planned.
    """
    if stack.is_detached:
        raise NotTriggered("The stack is detached.")
    if not stack.plans_module_changes:
        raise NotTriggered(SWITCHED_OFF)
    if not readable_by(stack).filter(pk=repository.pk).exists():
        raise NotTriggered(f"The code of the stack may not read {repository}.")
    if stack.head_sha and not stack.branch_gone_at:
        return head_of(stack)
    if applied := applied_run(stack):
        return commit_of(applied)
    raise NotTriggered(NO_COMMIT)
