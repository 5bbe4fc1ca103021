"""Modules: the list, the page of each with its documentation, its versions and its activity."""

from functools import partial

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from core.http import HtmxHttpRequest, render_live, version_of
from core.keyset import keyset_page
from modules.documents.readme import render as render_readme
from modules.impact.behind import newest_version, stacks_behind
from modules.impact.uses import users_of
from modules.models import Module, VersionState
from modules.overview.module_list import module_list_of
from modules.overview.usage import constraint_from, usage_of
from modules.overview.versions import newest_of, with_checks
from vcs_integrations.models import Project

VERSIONS_ON_A_PAGE = 50
DECISIONS_ON_A_PAGE = 50


def found_module(namespace: str, name: str, system: str) -> Module:
    """Return the module of an address, with its repository. Raises Http404."""
    modules = Module.objects.with_repository()
    return get_object_or_404(modules, namespace=namespace, name=name, system=system)


@require_safe
def module_list(request: HtmxHttpRequest) -> HttpResponse:
    """The list of modules; the page polls while versions are being checked."""
    found = module_list_of(request.GET)
    return render_live(
        request,
        "modules/overview/module_list.html",
        "modules/overview/module_table.html",
        version_of([(one.pk, one.counts, one.newest and one.newest.pk) for one in found.page]),
        {"list": found},
    )


@require_safe
def module(request: HtmxHttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    """What the newest version says of itself, and how code uses it.

    The page polls whether versions are still being checked.
    """
    found = found_module(namespace, name, system)
    waiting = found.versions.filter(state=VersionState.WAITING).count()
    return render_live(
        request,
        "modules/overview/module.html",
        "modules/overview/being_checked.html",
        version_of(waiting),
        {"module": found, "waiting": waiting},
        partial(_documentation_of, found),
    )


def _documentation_of(found: Module) -> dict[str, object]:
    """Return what the page shows of the newest version, and who uses the module."""
    newest = newest_of([found]).get(found.pk)
    if newest:
        newest.refresh_from_db(fields=["readme", "documentation"])
        newest.module = found
    uses = users_of(found)
    return {
        "version": newest,
        "usage": usage_of(found, constraint_from(newest) if newest else ""),
        "readme": render_readme(newest.readme) if newest else "",
        "documentation": newest.documentation if newest else {},
        "uses": uses,
        "behind": {one.stack for one in stacks_behind(found, uses, newest_version(found))},
        "project_without_hooks": None if newest else Project.objects.unreported(found.repository),
    }


@require_safe
def versions(request: HtmxHttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    """All versions, the highest first; the page polls while some are being checked."""
    found = found_module(namespace, name, system)
    rows = found.versions.newest_first().select_related("archive").defer("readme", "documentation")
    page = Paginator(rows, VERSIONS_ON_A_PAGE).get_page(request.GET.get("page"))
    page.object_list = with_checks(found, list(page))
    shown = [(one.pk, one.state, one.yanked_at, one.moved_to, one.tag_gone_at) for one in page]
    context = {
        "module": found,
        "page": page,
        "newest": newest_of([found]).get(found.pk),
        "is_waiting": any(one.state == VersionState.WAITING for one in page),
    }
    return render_live(
        request,
        "modules/overview/versions.html",
        "modules/overview/version_table.html",
        version_of(shown),
        context,
    )


@require_safe
def activity(request: HtmxHttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    """What was decided about a module, and why; the page polls it."""
    found = found_module(namespace, name, system)
    page = keyset_page(request, found.decisions.for_pages(), "pk", DECISIONS_ON_A_PAGE)
    return render_live(
        request,
        "modules/overview/activity.html",
        "modules/overview/decisions.html",
        version_of([one.pk for one in page.rows]),
        {"module": found, "page": page},
    )
