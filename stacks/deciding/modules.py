"""A push to a repository that stacks use as a module: it starts a tracked run of their head."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import BigIntegerField, CharField

from core.prepared import Given, Prepared
from stacks.lifecycle.triggering import NotTriggered, head_of, trigger
from stacks.models import Decision, ModulePush, ModuleSource, Run, Stack
from stacks.rules import triggers
from stacks.rules.states import Kind, Origin
from stacks.rules.triggers import Rule
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.events import RefChanged

# A host's clock and a worker's may differ so much.
CLOCKS_DIFFER = timedelta(minutes=10)


_any_source = Prepared(
    lambda: (
        ModuleSource.objects.filter(
            repository__integration_id=Given("integration", BigIntegerField()),
            repository__external_id=Given("repository", CharField()),
        )
        .order_by()
        .values_list("pk")[:1]
    )
)


def followed_in(integration: Integration, repository_id: str) -> list[ModuleSource]:
    """Return what stacks follow of a repository that they use as a module."""
    if not _any_source.rows(integration=integration.pk, repository=repository_id):
        return []  # mostly, and building the query below takes a while
    sources = ModuleSource.objects.filter(
        repository__integration=integration, repository__external_id=repository_id
    )
    found = sources.followed().select_related("run__stack__repository", "repository")
    return list(found.order_by("run__stack_id", "pk"))


def decide(
    sources: Sequence[ModuleSource], change: RefChanged, delivery: Delivery | None
) -> list[Decision]:
    """Start the runs that a push to a module's repository asks for, and store why.

    Each stack answers a push once; for a delivery it says again what that was. The repository and
    those of the stacks have to be locked.
    """
    moved: dict[Stack, ModuleSource] = {}
    for one in sources:
        is_new = one.is_moved_by(change) and not _is_before(one.run, change)
        if is_new and not _is_tracked(one.run.stack, one, change):
            moved.setdefault(one.run.stack, one)
    found = (_decide(stack, one, change, delivery) for stack, one in moved.items())
    return [one for one in found if one]


def _decide(
    stack: Stack, source: ModuleSource, change: RefChanged, delivery: Delivery | None
) -> Decision | None:
    module = source.repository
    answer, is_new = ModulePush.objects.get_or_create(
        stack=stack, repository=module, position=change.position
    )
    if not is_new and delivery is None:
        return None
    name = change.branch or change.ref
    # Other than the subject of a push to the stack's own repository.
    subject = f"Push {change.position} to {name} of {module}"
    if is_new:
        sentence, answer.run = _start(stack, source, subject)
        answer.save(update_fields=["run"])
    else:
        sentence = "The push was decided before."
    rule = Rule.MODULE if is_new and answer.run else Rule.SAME_PUSH
    decided = triggers.Decision(rule, sentence)
    decision = Decision.of(stack, subject[:700], decided, delivery, answer.run)
    decision.save()
    return decision


def _start(stack: Stack, source: ModuleSource, subject: str) -> tuple[str, Run | None]:
    """Start a tracked run of a stack's head; return why, and the run, or one that waits already."""
    used = f"{source.run} used {source.ref or 'the default branch'} of {source.repository}"
    note = f"{subject}: {used}."
    try:
        run = trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.MODULE, note=note)
    except NotTriggered as reason:
        return f"{used}. {reason}", reason.run
    return f"{used}, which moved.", run


def _is_before(run: Run, change: RefChanged) -> bool:
    """Say whether a push was long there when a run fetched the module."""
    begun = run.plan_started_at
    return bool(begun and change.pushed_at and change.pushed_at < begun - CLOCKS_DIFFER)


def _is_tracked(stack: Stack, source: ModuleSource, change: RefChanged) -> bool:
    """Say whether a stack uses its own tracked branch, whose pushes start runs anyway."""
    return stack.repository_id == source.repository_id and change.branch == stack.branch
