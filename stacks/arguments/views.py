"""The page of a stack's arguments: what its Terraform is run with."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin, members_only
from stacks.arguments.forms import ArgumentsForm
from stacks.environment.destinations import with_stack
from stacks.models import Stack


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@with_stack
def change_arguments(request: HttpRequest, stack: Stack) -> HttpResponse:
    """Show and change files of variables, workspace, options and commands of a stack's runs.

    They count from the next plan on; an apply uses what its plan was made with.
    """
    data = request.POST if request.method == "POST" else None
    reader_is_admin = is_admin(request)
    form = ArgumentsForm(data, stack, reader_is_admin=reader_is_admin)
    if form.is_valid():
        if form.has_changed():
            Stack.objects.filter(pk=stack.pk).update(**form.stack_fields)
            record(request, Verb.STACK_CHANGED, stack, f"Arguments: {form.changed_labels}")
            messages.success(request, f"Stack {stack.name} was changed")
        return redirect(stack)
    context = {"form": form, "stack": stack, "reader_is_admin": reader_is_admin}
    return render(request, "stacks/arguments/change_arguments.html", context)
