"""The page with the runs of all stacks."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from core.http import HtmxHttpRequest
from stacks.overview.all_runs import all_runs
from stacks.overview.forms import RunFilter, stacks_to_suggest


@require_safe
def run_list(request: HtmxHttpRequest) -> HttpResponse:
    """The runs of all stacks; the page polls its live part.

    The answer is empty (204) as long as that has the version the page shows already.
    """
    form = RunFilter(request.GET)
    runs = all_runs(request, form.wanted) if form.wanted else None
    is_live = bool(request.htmx)
    if is_live and runs and request.GET.get("version") == runs.version:
        response = HttpResponse(status=204)
    else:
        context = {
            "form": form,
            "suggested": [] if is_live else stacks_to_suggest(),
            "runs": runs,
            "is_swapped": is_live,
        }
        template = "all_runs_live" if is_live else "all_runs"
        response = render(request, f"stacks/overview/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response
