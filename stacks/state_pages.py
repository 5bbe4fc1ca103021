"""The pages of a stack's state: its versions, a version's content, and its lock."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit import Verb, record
from accounts.roles import admin_required
from stacks.models import Stack, StateLock, StateVersion
from vcs_integrations.encryption import WrongKey
from vcs_integrations.keyset import keyset_page

VERSIONS_ON_A_PAGE = 30


@require_safe
def state_versions(request: HttpRequest, slug: str) -> HttpResponse:
    """What is stored of a stack's state, and who holds its lock."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    versions = found.state_versions.select_related("run__stack")
    context = {
        "stack": found,
        "page": keyset_page(request, versions, "number", VERSIONS_ON_A_PAGE),
        "lock": _lock_of(found),
    }
    return render(request, "stacks/state_versions.html", context)


@require_safe
@admin_required
@never_cache
def download_state(request: HttpRequest, slug: str, version: int) -> HttpResponse:
    """A version as a file; it holds whatever secrets the resources have."""
    found = get_object_or_404(StateVersion, stack__slug=slug, number=version, is_deletion=False)
    try:
        content = found.read()
    except WrongKey as error:
        messages.error(request, str(error))
        return redirect("state_versions", slug)
    record(request, Verb.STATE_DOWNLOADED, found.stack, str(found))
    name = f"{slug}-{found.number}.tfstate"
    return HttpResponse(
        content,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def unlock_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Release a lock that a run left behind, once somebody has read what that means."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    lock = _lock_of(found)
    if lock is None:
        return redirect("state_versions", slug)
    if not lock.run.has_ended:
        messages.error(request, f"{lock.run} is still {lock.run.state}, and needs its lock")
        return redirect("state_versions", slug)
    if request.method != "POST":
        return render(request, "stacks/unlock_state.html", {"stack": found, "lock": lock})
    seen = StateLock.objects.filter(stack=found, lock_id=request.POST.get("lock_id"))
    with transaction.atomic():
        is_unlocked = bool(seen.delete()[0])
        if is_unlocked:
            record(request, Verb.STATE_UNLOCKED, found, f"{lock.run} had locked it")
    if is_unlocked:
        messages.success(request, f"The state of {found.name} was unlocked")
    return redirect("state_versions", slug)


def _lock_of(stack: Stack) -> StateLock | None:
    """Return the lock that somebody holds; one that protects nothing any more is none."""
    lock = StateLock.objects.select_related("run__stack").filter(stack=stack).first()
    return None if lock and lock.is_abandoned else lock
