"""The page of a version: what it is, what its check found, and what it says of itself."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from core.http import HtmxHttpRequest, render_live, version_of
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
    request: HtmxHttpRequest, namespace: str, name: str, system: str, version_number: str
) -> HttpResponse:
    """A version, its check, and what it says of itself; the page polls until the check ended."""
    found = found_version(namespace, name, system, version_number)
    check = found.module.checks.filter(sha=found.sha).first()
    context = {
        "module": found.module,
        "version": found,
        "check": check,
        "usage": usage_of(found.module, found.number) if found.is_published else None,
        "readme": render_readme(found.readme),
        "documentation": found.documentation,
        "decisions": found.decisions.for_pages()[:DECISIONS_SHOWN],
    }
    return render_live(
        request,
        "modules/overview/version.html",
        "modules/overview/version_live.html",
        version_of(found.state, found.yanked_at, check and (check.state, check.failure)),
        context,
    )
