"""The page of a check: what was checked at a commit, what was found, and what was printed."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from modules.models import Check, CheckState, VersionState


def found_check(namespace: str, name: str, system: str, sha: str) -> Check:
    """Return the check of a commit, of the module of an address. Raises Http404."""
    checks = Check.objects.select_related("module__repository__integration")
    module = {"module__namespace": namespace, "module__name": name, "module__system": system}
    return get_object_or_404(checks, sha=sha, **module)


@require_safe
def check(
    request: HtmxHttpRequest, namespace: str, name: str, system: str, sha: str
) -> HttpResponse:
    """A check and what it found; the page polls until it has ended."""
    found = found_check(namespace, name, system, sha)
    versions = list(found.versions.select_related("module").newest_first())
    return render_live(
        request,
        "modules/publishing/check.html",
        "modules/publishing/check_live.html",
        version_of(found.state, found.failure, [(one.pk, one.state) for one in versions]),
        {"check": found, "module": found.module, "versions": versions},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@post_or_redirect(found_check)
def check_again(
    request: HttpRequest, namespace: str, name: str, system: str, sha: str
) -> HttpResponse:
    """Have a commit whose check failed checked again; its versions wait for that."""
    found = found_check(namespace, name, system, sha)
    with transaction.atomic():
        if is_asked := _is_asked_again(found):
            record(request, Verb.MODULE_CHECKED_AGAIN, found)
    if is_asked:
        messages.success(request, "A run worker checks it again")
    else:
        messages.info(request, "Its check has not failed, so there is nothing to do")
    return redirect(found)


def _is_asked_again(found: Check) -> bool:
    """Have a check that failed made again, and its refused versions wait; False if it has not.

    To be called in a transaction.
    """
    failed = Check.objects.filter(pk=found.pk, state=CheckState.FAILED)
    again = {"state": CheckState.QUEUED, "due_at": timezone.now(), "failures": 0}
    if not failed.update(**again):
        return False
    found.versions.filter(state=VersionState.REFUSED).update(state=VersionState.WAITING)
    found.report()
    return True
