"""The page with the runs of all stacks."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from core.http import HtmxHttpRequest, render_live
from stacks.overview.all_runs import all_runs
from stacks.overview.forms import RunFilter, stacks_to_suggest


@require_safe
def run_list(request: HtmxHttpRequest) -> HttpResponse:
    """The runs of all stacks; the page polls its live part."""
    form = RunFilter(request.GET)
    runs = all_runs(request, form.wanted) if form.wanted else None
    return render_live(
        request,
        "stacks/overview/all_runs.html",
        "stacks/overview/all_runs_live.html",
        runs.version if runs else "",
        {"form": form, "suggested": stacks_to_suggest, "runs": runs},
    )
