"""Service hooks on an integration's page: create, keep and test them; change the password."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from core.http import HtmxHttpRequest, post_or_redirect
from core.keyset import is_key, keyset_page
from vcs_integrations.hooks import loop as hook_tests
from vcs_integrations.hooks.overview import hooks_behind, is_being_read, overview_of
from vcs_integrations.models import HookTest, Integration, NoticeKind, Project
from vcs_integrations.notices.records import withdraw
from vcs_integrations.organizations.refreshing import start_over
from vcs_integrations.webhooks.password import change_webhook_password

ACTIONS_ON_A_PAGE = 50
ACTIONS_SHOWN = 5
EVERY_PROJECT = "all"
ABOUT_HOOKS = (NoticeKind.HOOKS_REFUSED, NoticeKind.HOOKS_UNWELL, NoticeKind.PROJECT_SILENT)
PROJECT_IS_GONE = "That project no longer exists"


def _linked(pk: int) -> Integration:
    """Return a linked integration; one that turned out to be a double has no hooks of its own."""
    return get_object_or_404(Integration.objects.usable(), pk=pk)


def _section(found: Integration) -> str:
    return f"{found.get_absolute_url()}#hooks"


def _section_of(pk: int) -> str:
    return _section(_linked(pk))


@require_safe
@admin_required
def hooks(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """The section as it is now; opening the address leads to the page it belongs to."""
    found = _linked(pk)
    if not request.htmx:
        return redirect(_section(found))
    return _show_section(request, found)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_section_of)
def keep_hooks(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Have the worker create the hooks of one project, or of all, and keep them from now on."""
    found = _linked(pk)
    with transaction.atomic():
        names = _keep(found, _project_key(request))
        whose = names[0] if len(names) == 1 else f"{len(names)} projects"
        if names:
            record(request, Verb.HOOKS_CREATED, found, f"Of {whose}")
    if names:
        messages.success(request, f"The worker checks the hooks of {whose} now")
    else:
        messages.warning(request, PROJECT_IS_GONE)
    asked_on = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(asked_on, None):
        return redirect(asked_on)
    return _back(request, found)


def _keep(found: Integration, chosen: str) -> list[str]:
    """Keep the hooks of a project, or of all that nobody decided about; return their names."""
    projects = found.projects.there().filter(external_id=chosen)
    if chosen == EVERY_PROJECT:
        projects = found.projects.there().filter(keeps_hooks=False, is_left_alone=False)
    names = [project.name for project in projects]
    kept = [project.pk for project in projects]
    found.projects.filter(pk__in=kept).update(keeps_hooks=True, is_left_alone=False)
    start_over(found)
    return names


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_section_of)
def leave_hooks(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Leave the hooks of a project as they are, or do without, from now on."""
    found = _linked(pk)
    left = found.projects.filter(external_id=_project_key(request)).first()
    if left:
        _leave(request, left)
    else:
        messages.warning(request, PROJECT_IS_GONE)
    return _back(request, found)


def _leave(request: HttpRequest, left: Project) -> None:
    found = left.integration
    with transaction.atomic():
        one = found.projects.filter(pk=left.pk)
        one.update(keeps_hooks=False, is_left_alone=True)
        one.start_over()
        withdraw(found, *ABOUT_HOOKS, key=left.external_id)
        record(request, Verb.HOOKS_LEFT, found, f"Of {left}")
    messages.success(request, f"The hooks of {left} stay as they are and are not repaired any more")


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_section_of)
def read_hooks(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Have the worker read the hooks now."""
    found = _linked(pk)
    Integration.objects.filter(pk=found.pk).make_hooks_due()
    return _back(request, found)


@require_safe
@admin_required
def hook_actions(request: HttpRequest, pk: int) -> HttpResponse:
    """The record: what was done about hooks, and why."""
    found = get_object_or_404(Integration, pk=pk)
    actions = found.hook_actions.select_related("integration")
    page = keyset_page(request, actions, "pk", ACTIONS_ON_A_PAGE)
    context = {"integration": found, "page": page, "actions": page.rows}
    return render(request, "vcs_integrations/hooks/hook_actions.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_section_of)
def test_hook(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the provider send its sample by a hook, and lead to the page that shows each leg."""
    found = _linked(pk)
    chosen = request.POST.get("hook", "")
    hook = found.subscriptions.present().filter(pk=chosen).first() if is_key(chosen) else None
    if hook is None:
        messages.warning(request, "That hook no longer exists")
        return redirect(_section(found))
    project = found.projects.filter(external_id=hook.project_id).first()
    whose = project.name if project else "all projects"
    record(request, Verb.HOOK_TESTED, found, f"{found.hook_name(hook.event_type)} of {whose}")
    return redirect(hook_tests.begin(found, hook, whose))


@require_safe
@admin_required
def hook_test(request: HtmxHttpRequest, pk: int, test_pk: int) -> HttpResponse:
    """Each leg of a test as it is known now."""
    tests = HookTest.objects.select_related("integration")
    test = get_object_or_404(tests, pk=test_pk, integration__pk=pk)
    hook_tests.look(test)
    template = "hook_test_legs" if request.htmx else "hook_test"
    hooks = test.integration.subscriptions.present().select_related("integration")
    hook = hooks.filter(external_id=test.external_id).first()
    context = {"test": test, "integration": test.integration, "hook": hook}
    return render(request, f"vcs_integrations/hooks/{template}.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def change_password(request: HttpRequest, pk: int) -> HttpResponse:
    """Create a new webhook password, after showing what that means."""
    found = _linked(pk)
    if request.method == "POST":
        with transaction.atomic():
            is_new = change_webhook_password(found, request.POST.get("mark", ""))
            if is_new:
                record(request, Verb.PASSWORD_ROTATED, found, "The old one is accepted, too")
        if is_new:
            messages.success(request, "The webhook password is new; the old one is accepted, too")
        else:
            messages.warning(request, "Someone else just changed the webhook password")
        return redirect(_section(found))
    return render(
        request, "vcs_integrations/hooks/change_webhook_password.html", {"integration": found}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_section_of)
def end_overlap(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Stop accepting the old webhook password."""
    found = _linked(pk)
    said = "The old webhook password is not accepted any more"
    with transaction.atomic():
        is_seen = request.POST.get("mark", "") == found.password_mark
        is_ended = is_seen and found.old_secrets.end()
        if is_ended:
            record(request, Verb.PASSWORD_ROTATED, found, said)
    if is_ended:
        messages.success(request, said)
    else:
        messages.warning(request, "That was done already, or the password was changed again")
    return _back(request, found)


def _project_key(request: HttpRequest) -> str:
    """Return which project was chosen, without characters that a database refuses."""
    return request.POST.get("project", "").replace("\0", "")


def _back(request: HtmxHttpRequest, found: Integration) -> HttpResponse:
    if request.htmx:
        return _show_section(request, Integration.objects.get(pk=found.pk))
    return redirect(_section(found))


def _show_section(request: HttpRequest, found: Integration) -> HttpResponse:
    context = integration_hooks(found)
    response = render(request, "vcs_integrations/hooks/hooks_changed.html", context)
    if not is_being_read(found):
        response["HX-Trigger"] = "hooks"  # the card counts them, too
    return response


def integration_hooks(integration: Integration) -> dict[str, object]:
    """Return what the section needs, also within the page of an integration."""
    return {
        "overview": overview_of(integration),
        "behind": hooks_behind(integration) if integration.accepts_old_password else [],
        "actions": integration.hook_actions.all()[:ACTIONS_SHOWN],
    }
