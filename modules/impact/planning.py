"""Plan what pull requests of modules propose in the stacks that use them, a few at a time.

The transaction that stores a revision stores which stacks are to be planned. A worker that claims
the impact starts their runs, until all have ended or nobody wants them any more.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.leases import LeaseLost
from modules.impact import starting
from modules.impact.naming import report_name
from modules.impact.uses import users_of
from modules.models import Impact, ImpactPlan, Module
from modules.models.impact import ImpactQuerySet
from modules.publishing.reporting import without_by
from modules.rules.decisions import Rule
from stacks.lifecycle.triggering import NotTriggered
from stacks.models import PullRequest, Report, Run
from stacks.rules.states import DOES_NOT_COUNT, ENDED, Origin, State
from vcs_integrations.models import Repository

LEASE = timedelta(minutes=1)
LOOK_AGAIN_AFTER = timedelta(seconds=5)
# How many stacks are listed at all.
MOST_STACKS = 1000


def want(module: Module, pull_request: PullRequest, revision: int, sha: str) -> Impact | None:
    """Have a revision of a pull request planned in the stacks that use a module.

    To be called in the transaction that stores the revision. A newer one takes the place of those
    before it. Returns None where the revision is not planned: its code comes from a fork, or it is
    not open any more, or a newer revision is known.
    """
    if pull_request.is_from_fork or not pull_request.is_open:
        return None
    same = Impact.objects.filter(module=module, pull_request=pull_request)
    if there := same.filter(revision__gte=revision).order_by("-revision").first():
        if there.revision > revision:
            return None
        if there.is_superseded:
            _resume(there)
            _report_revision(there)
        return there
    _end(same, State.SUPERSEDED)
    now = timezone.now()
    impact = Impact.objects.create(
        module=module, pull_request=pull_request, revision=revision, sha=sha, due_at=now
    )
    _list_stacks(impact)
    _report_revision(impact)
    return impact


def leave_out(
    module: Module, pull_request: PullRequest, revision: int, sha: str, rule: Rule
) -> None:
    """Plan nothing of a revision that changes nothing of a module or is a fork's, and say so.

    To be called in the transaction that stores the revision.
    """
    _end(module.impacts.filter(pull_request=pull_request), State.SUPERSEDED)
    about = (module.address, report_name(module), pull_request, revision, sha)
    Report.objects.add_module(*about, **without_by(rule))


def end(pull_request: PullRequest) -> None:
    """Plan nothing more of a pull request that was closed or merged; cancel what is under way."""
    _end(pull_request.impacts.all(), State.CANCELED)


def plan_rest(impact: Impact) -> int:
    """Have the stacks planned, too, that are beyond the limit; return how many there are."""
    count = impact.rest().update(is_wanted=True)
    if count:
        Impact.objects.filter(pk=impact.pk).update(due_at=timezone.now())
        _report(impact)
    return count


def plan_next_impact() -> bool:
    """Start what is next of the due impact; False if none is due."""
    impacts = Impact.objects.select_related("module", "pull_request__repository__integration")
    impact = impacts.claim_one(LEASE)
    if impact is None:
        return False
    if not impact.pull_request.is_open:
        with transaction.atomic():
            end(impact.pull_request)
        return True
    try:
        for plan in impact.waiting().select_related("stack__repository__integration"):
            plan.impact = impact
            if not _start(plan):
                break
    except LeaseLost:
        return True
    is_done = not impact.waiting().exists() and not _unfinished(impact)
    impact.release(None if is_done else timezone.now() + LOOK_AGAIN_AFTER)
    return True


def _list_stacks(impact: Impact) -> None:
    """Store which stacks use the module, which of them are planned, and why others are not."""
    planned, plans = 0, []
    repository = impact.pull_request.repository
    for place, use in enumerate(users_of(impact.module)[:MOST_STACKS], start=1):
        reason = starting.why_not(use.stack, repository)
        planned += not reason
        plans.append(
            ImpactPlan(
                impact=impact,
                stack=use.stack,
                place=place,
                is_wanted=not reason and planned <= settings.IMPACT_STACKS,
                why_not=reason[:500],
            )
        )
    ImpactPlan.objects.bulk_create(plans)


@transaction.atomic
def _start(plan: ImpactPlan) -> bool:
    """Start a run, or store why there is none; False if there is no room for one.

    Raises LeaseLost, so that of two workers only one starts it.
    """
    # Whatever starts runs locks the repository first, and then the impacts.
    Repository.objects.select_for_update().get(pk=plan.stack.repository_id)
    list(Impact.objects.exclude(due_at=None).order_by("pk").select_for_update(of=("self",)))
    if not plan.impact.held().filter(is_superseded=False).exists():
        raise LeaseLost
    under_way = Run.objects.filter(origin=Origin.IMPACT).exclude(state__in=ENDED)
    if under_way.count() >= settings.IMPACT_RUNS_AT_ONCE:
        return False
    try:
        plan.run = starting.start(plan)
    except NotTriggered as reason:
        plan.why_not = str(reason)[:500]
    plan.save(update_fields=["run", "why_not"])
    _report(plan.impact)
    return True


def _resume(impact: Impact) -> None:
    """Plan a revision whose pull request was closed and opened again."""
    impact.plans.filter(run__state__in=DOES_NOT_COUNT).update(run=None)
    Impact.objects.filter(pk=impact.pk).update(is_superseded=False, due_at=timezone.now())
    impact.refresh_from_db(fields=["is_superseded", "due_at"])


def _report_revision(impact: Impact) -> None:
    """Have a revision reported whose plans are wanted."""
    address, name = impact.module.address, report_name(impact.module)
    Report.objects.add_module(address, name, impact.pull_request, impact.revision, impact.sha)


def _unfinished(impact: Impact) -> bool:
    return impact.runs().exclude(state__in=ENDED).exists()


def _end(impacts: ImpactQuerySet, state: State) -> None:
    """End impacts, whose runs go to a state where they still may."""
    found = list(impacts.filter(is_superseded=False).select_related("module"))
    for impact in found:
        impact.runs().order_by().move_to(state)
        _report(impact)
    Impact.objects.filter(pk__in=[one.pk for one in found]).update(
        is_superseded=True, due_at=None, lease_until=None, lease_token=""
    )


def _report(impact: Impact) -> None:
    """Have it reported, since something may have changed."""
    of_module = Report.objects.filter(module=impact.module.address, name=report_name(impact.module))
    of_module.filter(pull_request=impact.pull_request_id).renew()
