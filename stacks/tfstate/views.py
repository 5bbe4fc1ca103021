"""The pages of a stack's state: its versions, a version's content, uploading, and its lock."""

from typing import cast

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import admin_required
from core.encryption import WrongKey
from core.http import HtmxHttpRequest, render_live, version_of
from core.keyset import keyset_page
from stacks.environment.destinations import DestinationsForm, destinations_of, with_stack
from stacks.models import Backend, Stack, StateLock, StateVersion
from stacks.tfstate.files import describe
from stacks.tfstate.uploads import (
    TOO_LARGE,
    InMemory,
    NotPossible,
    StateForm,
    has_state,
    held_for,
    hold,
    store,
    why_not_possible,
)

VERSIONS_ON_A_PAGE = 30


@require_safe
def state_versions(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """What is stored of a stack's state, and who holds its lock; the page polls both."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    versions = found.state_versions.select_related("run__stack")
    page = keyset_page(request, versions, "number", VERSIONS_ON_A_PAGE)
    lock = _lock_of(found)
    context = {
        "stack": found,
        "page": page,
        "lock": lock,
        "takes_upload": found.backend == Backend.STACKHOOK and not has_state(found),
    }
    return render_live(
        request,
        "stacks/tfstate/state_versions.html",
        "stacks/tfstate/version_list.html",
        version_of([one.pk for one in page.rows], lock and (lock.lock_id, lock.run.state)),
        context,
    )


@require_safe
@admin_required
def download_state(request: HttpRequest, slug: str, version: int) -> HttpResponse:
    """A version as a file; it holds whatever secrets the resources have."""
    found = get_object_or_404(StateVersion, stack__slug=slug, number=version, is_deletion=False)
    try:
        content = found.read()
    except WrongKey as error:
        messages.error(request, str(error))
        return redirect("stacks:state_versions", slug)
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
    """Release whatever lock is held, once an admin has read whose it is and what that means."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    lock = _lock_of(found)
    if lock is None:
        messages.info(request, f"The state of {found.name} is not locked")
        return redirect("stacks:state_versions", slug)
    if request.method != "POST":
        return render(request, "stacks/tfstate/unlock_state.html", {"stack": found, "lock": lock})
    if request.POST.get("lock_id") != lock.lock_id:
        messages.error(request, "The lock has changed. Nothing was unlocked.")
        return redirect("stacks:unlock_state", slug)
    with transaction.atomic():
        is_unlocked = bool(StateLock.objects.filter(stack=found, lock_id=lock.lock_id).delete()[0])
        if is_unlocked:
            note = f"{lock.run} held the lock and was {lock.run.state}"
            record(request, Verb.STATE_UNLOCKED, found, note)
    if is_unlocked:
        messages.success(request, f"The state of {found.name} was unlocked")
    return redirect("stacks:state_versions", slug)


# Django's own check would read the file before it is known that an admin sends it.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def upload_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Accept the first state of a stack, which is confirmed on the next page."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if reason := why_not_possible(found):
        messages.error(request, reason)
        return redirect("stacks:state_versions", slug)
    handler = InMemory(request)
    request.upload_handlers = [handler]
    return _upload(request, found, handler)


@csrf_protect
def _upload(request: HttpRequest, stack: Stack, handler: InMemory) -> HttpResponse:
    form = StateForm()
    if request.method == "POST":
        form = StateForm(request.POST, request.FILES)
        if handler.is_too_large:
            form.errors["state"] = form.error_class([TOO_LARGE])
        elif form.is_valid():
            hold(stack, cast(User, request.user), form.cleaned_data["state"])
            return redirect("stacks:confirm_state", stack.slug)
    return render(request, "stacks/tfstate/upload_state.html", {"stack": stack, "form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@with_stack
def confirm_state(request: HttpRequest, stack: Stack) -> HttpResponse:
    """Store an uploaded state, or drop it, once its admin has seen what it says of itself."""
    person = cast(User, request.user)
    try:
        upload = held_for(stack, person)
        if upload is None:
            return redirect("stacks:upload_state", stack.slug)
        if "cancel" in request.POST:
            upload.delete()
            return redirect("stacks:state_versions", stack.slug)
        version = describe(upload.read())
        # Another file may have been uploaded since the page was shown.
        is_shown = request.POST.get("digest") == version.digest
        destinations = destinations_of(stack)
        confirmation = DestinationsForm(request.POST if is_shown else None, destinations, "state")
        if not (is_shown and confirmation.is_valid()):
            context = {"stack": stack, "version": version, "confirmation": confirmation}
            return render(request, "stacks/tfstate/confirm_state.html", context)
        stored = store(upload, person.get_username())
    except (NotPossible, WrongKey) as error:
        messages.error(request, str(error))
        return redirect("stacks:state_versions", stack.slug)
    note = f"{stored}: lineage {stored.lineage}, serial {stored.serial}"
    note = confirmation.confirm(note, reader_is_admin=True)
    record(request, Verb.STATE_UPLOADED, stack, note)
    messages.success(request, f"The state of {stack.name} was uploaded")
    return redirect("stacks:state_versions", stack.slug)


def _lock_of(stack: Stack) -> StateLock | None:
    """Return the lock that somebody holds; one that protects nothing any more is none."""
    lock = StateLock.objects.select_related("run__stack").filter(stack=stack).first()
    return None if lock and lock.is_abandoned else lock
