"""Creating a module, step by step."""

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import members_only
from modules.models import Module
from modules.setup.forms import ADDRESS_TAKEN, ModuleSourceForm, NameModuleForm, PublishForm
from modules.setup.suggestions import SUGGESTED_FOR, with_suggestions
from stacks.setup.steps import (
    StepForm,
    context_of_step,
    current_step,
    initial_values,
    typed_values,
)
from vcs_integrations.models import Integration

STEPS: tuple[type[StepForm], ...] = (ModuleSourceForm, NameModuleForm, PublishForm)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def create_module(request: HttpRequest) -> HttpResponse:
    """Go step by step, as a stack is created; every request carries what was typed in all steps."""
    if not Integration.objects.usable().exists():
        return render(request, "stacks/setup/nothing_linked.html", {"title": "Create module"})
    if request.method != "POST":
        return _show_step(request, initial_values(STEPS), 1)
    current = current_step(request, STEPS)
    values = typed_values(request, STEPS, current)
    values[SUGGESTED_FOR] = request.POST.get(SUGGESTED_FOR, "")
    if "back" in request.POST:
        return _show_step(request, values, current - 1 or 1)
    checked: list[StepForm] = []
    for number, step in enumerate(STEPS[:current], start=1):
        form = step(values)
        if not form.is_valid():
            return _show_step(request, values, number, form)
        values |= form.understood
        checked.append(form)
    if current < len(STEPS):
        return _show_step(request, with_suggestions(values), current + 1)
    try:
        module = _store(request, checked)
    except IntegrityError:  # somebody took the address at the same moment
        naming = STEPS.index(NameModuleForm)
        checked[naming].add_error("name", ADDRESS_TAKEN)
        return _show_step(request, values, naming + 1, checked[naming])
    messages.success(request, f"Module {module} was created")
    return redirect(module)


def _store(request: HttpRequest, checked: list[StepForm]) -> Module:
    """Store a module, and have a worker import the tags that there are, and follow later ones."""
    columns = {name: value for form in checked for name, value in form.columns.items()}
    with transaction.atomic():
        module = Module.objects.create(**columns)
        record(request, Verb.MODULE_CREATED, module, str(module.repository))
    return module


def _show_step(
    request: HttpRequest, values: dict[str, str], number: int, form: forms.Form | None = None
) -> HttpResponse:
    form = form or STEPS[number - 1](initial=values)
    context = context_of_step(STEPS, number, form, values)
    return render(request, "modules/setup/create_module.html", context)
