"""The log of a run: what was added to it since, and all of it as a file."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from core.http import HtmxHttpRequest
from stacks.execution.output.logs import as_text
from stacks.runs.log import LogPart, also_in_links, line_of_first_error, number_in, phases_of
from stacks.runs.views import found_run


@require_safe
def log_part(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """What was added to a log after a piece that the page has; empty (204) if nothing was."""
    found = found_run(slug, number)
    if not request.htmx:
        return redirect(found)
    part = LogPart(found, after=number_in(request.GET, "after"))
    if not part.pieces and not found.has_ended:
        return HttpResponse(status=204)
    context = {"run": found, "stack": found.stack, "log": part, "is_live": True}
    context["also"] = also_in_links(request.GET)
    if part.phases:
        context["phases"] = phases_of(found)
    return render(request, "stacks/runs/log_part.html", context)


@require_safe
def first_error(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Lead to the line of the log with which the first error begins; to the log without one."""
    found = found_run(slug, number)
    line = line_of_first_error(found)
    place = "#log" if line is None else f"?line={line}#L{line}"
    return redirect(f"{found.get_absolute_url()}{place}")


@require_safe
def log_file(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The whole log as a text file."""
    found = found_run(slug, number)
    texts = found.log.values_list("text", flat=True).iterator(chunk_size=50)
    content = (as_text(text) for text in texts)
    response = HttpResponse(content, content_type="text/plain; charset=utf-8")
    name = f"{found.stack.slug}-run-{found.number}.log"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
