"""Changing a module, deleting it, and yanking its versions."""

from collections.abc import Set

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import admin_required, members_only
from modules.deciding.moved_tags import notify_of_move, withdraw_notice_of_move
from modules.impact.uses import users_of
from modules.models import Module, ModuleVersion, VersionsFrom
from modules.overview.version_views import found_version
from modules.overview.views import found_module
from modules.setup.deleting import delete
from modules.setup.forms import DeleteModuleForm, EditModuleForm, YankForm

# What decides which tags are versions: with another one, all tags are read again.
READS_TAGS_AGAIN = {"tag_prefix", "versions_from"}
# What decides which pull requests are about the module, and where the file of its version is
SOURCE = {"branch", "folder"}


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def edit_module(request: HttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    found = found_module(namespace, name, system)
    form = EditModuleForm(request.POST if request.method == "POST" else None, found)
    if form.is_valid():
        _change(request, found, form)
        messages.success(request, f"Module {found} was changed")
        return redirect(found)
    return render(request, "modules/setup/edit_module.html", {"form": form, "module": found})


def _change(request: HttpRequest, found: Module, form: EditModuleForm) -> None:
    changed = [one for one in form.cleaned_data if form.cleaned_data[one] != getattr(found, one)]
    columns = {**form.cleaned_data, "due_at": timezone.now()}
    columns |= _to_read_again(set(changed), form.cleaned_data["versions_from"])
    labels = ", ".join(str(form.fields[one].label).lower() for one in changed)
    with transaction.atomic():
        Module.objects.filter(pk=found.pk).update(**columns)
        record(request, Verb.MODULE_CHANGED, found, labels.capitalize())


def _to_read_again(changed: Set[str], versions_from: str) -> dict[str, None]:
    """Return the columns to be emptied, so that what a change decides about is read again."""
    emptied = []
    if SOURCE & changed:
        emptied.append("pull_requests_read_at")
    if READS_TAGS_AGAIN & changed or (SOURCE & changed and versions_from == VersionsFrom.FILE):
        emptied.append("imported_at")
    return dict.fromkeys(emptied)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def delete_module(request: HttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    """Delete a module with its versions; where stacks use it, only with its address typed."""
    found = found_module(namespace, name, system)
    stacks = [use.stack for use in users_of(found)]
    typed = request.POST if request.method == "POST" else None
    form = DeleteModuleForm(typed, found, is_used=bool(stacks))
    if form.is_valid():
        with transaction.atomic():
            used = f"Used by {len(stacks)} stack{'' if len(stacks) == 1 else 's'}" if stacks else ""
            record(request, Verb.MODULE_DELETED, found, used)
            delete(found)
        messages.success(request, f"Module {found} was deleted")
        return redirect("modules:list")
    context = {
        "form": form,
        "module": found,
        "stacks": stacks,
        "published": found.versions.published().count(),
    }
    return render(request, "modules/setup/delete_module.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def yank_version(
    request: HttpRequest, namespace: str, name: str, system: str, version_number: str
) -> HttpResponse:
    """Hide a version from all who did not load it before."""
    found = found_version(namespace, name, system, version_number)
    if not found.is_published or found.is_yanked:
        return redirect(found)
    form = YankForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        reason = form.cleaned_data["reason"]
        with transaction.atomic():
            yanked = (
                ModuleVersion.objects.published()
                .filter(pk=found.pk, yanked_at=None)
                .update(
                    yanked_at=timezone.now(),
                    yanked_by_name=request.user.get_username(),
                    yanked_because=reason,
                )
            )
            if yanked:  # otherwise somebody else did it at the same moment
                withdraw_notice_of_move(found)
                record(request, Verb.VERSION_YANKED, found, reason)
        messages.success(request, f"Version {found.number} was yanked")
        return redirect(found)
    context = {"form": form, "module": found.module, "version": found}
    return render(request, "modules/setup/yank_version.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def restore_version(
    request: HttpRequest, namespace: str, name: str, system: str, version_number: str
) -> HttpResponse:
    """List a yanked version again."""
    found = found_version(namespace, name, system, version_number)
    if not found.is_yanked:
        return redirect(found)
    if request.method != "POST":
        context = {"module": found.module, "version": found}
        return render(request, "modules/setup/restore_version.html", context)
    with transaction.atomic():
        yanked = ModuleVersion.objects.filter(pk=found.pk, yanked_at__isnull=False)
        if yanked.update(yanked_at=None, yanked_by_name="", yanked_because=""):
            note = f"Was yanked by {found.yanked_by_name}: {found.yanked_because}"
            record(request, Verb.VERSION_RESTORED, found, note)
            if found.moved_to:
                notify_of_move(found)
    messages.success(request, f"Version {found.number} was restored")
    return redirect(found)
