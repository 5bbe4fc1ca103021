"""The pages of a run's plan: what it does, a part at a time, and the values of one change."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from core.encryption import WrongKey
from core.http import HtmxHttpRequest
from stacks.models import PlanChange, Run, values_of
from stacks.plans.listing import FilterForm, details_of, plan_page


@require_safe
def plan(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """What a plan does, filtered and searched; or what had changed outside of Terraform."""
    runs = Run.objects.select_related("stack")
    run = get_object_or_404(runs, stack__slug=slug, number=number)
    form = FilterForm(request.GET)
    context = {"run": run, "stack": run.stack, "form": form, "page": plan_page(request, run, form)}
    template = "plan_list" if request.htmx else "plan_page"
    response = render(request, f"stacks/plans/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


@require_safe
def plan_change(request: HtmxHttpRequest, slug: str, number: int, change: int) -> HttpResponse:
    """One change of a plan, attribute by attribute."""
    found = get_object_or_404(
        PlanChange.objects.select_related("run__stack"),
        run__stack__slug=slug,
        run__number=number,
        number=change,
    )
    context: dict[str, Any] = {"run": found.run, "stack": found.run.stack, "change": found}
    try:
        values = values_of(found.run, found.part).get(found.number)
        context["details"] = details_of(found, values)
    except WrongKey as error:
        context["failure"] = str(error)
    template = "details" if request.htmx else "change_page"
    response = render(request, f"stacks/plans/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response
