"""The page of a version: what it is, what its check found, and what it says of itself."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from modules.documents.readme import render as render_readme
from modules.models import ModuleVersion
from modules.overview.usage import usage_of
from modules.overview.views import found_module

DECISIONS_SHOWN = 20


def found_version(namespace: str, name: str, system: str, number: str) -> ModuleVersion:
    """Return a version of the module of an address. Raises Http404."""
    module = found_module(namespace, name, system)
    versions = module.versions.select_related("archive")
    found = get_object_or_404(versions, number=number)
    found.module = module
    return found


@require_safe
def version(
    request: HttpRequest, namespace: str, name: str, system: str, version_number: str
) -> HttpResponse:
    found = found_version(namespace, name, system, version_number)
    context = {
        "module": found.module,
        "version": found,
        "check": found.module.checks.filter(sha=found.sha).first(),
        "usage": usage_of(found.module, found.number) if found.is_published else None,
        "readme": render_readme(found.readme),
        "documentation": found.documentation,
        "decisions": found.decisions.for_pages()[:DECISIONS_SHOWN],
    }
    return render(request, "modules/overview/version.html", context)
