"""The pages of shared environments: the list, one of them, and creating, changing, deleting it."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from stacks.environment import attaching
from stacks.environment.destinations import ReachForm, destinations_of_all
from stacks.environment.shared_forms import NAME_TAKEN, LabelsForm, SharedEnvironmentForm
from stacks.models import SharedEnvironment, Stack

P = ParamSpec("P")
METHODS = ["GET", "HEAD", "POST"]


def with_environment(
    view: Callable[Concatenate[HttpRequest, SharedEnvironment, P], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Give a view the environment that its URL names; for a POST, locked until the view returns.

    Its stacks are locked with it: nobody else changes the variables that a form confirms.
    """

    @wraps(view)
    def wrapper(
        request: HttpRequest, environment_pk: int, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        environments = SharedEnvironment.objects.all()
        if request.method != "POST":
            found = get_object_or_404(environments, pk=environment_pk)
            return view(request, found, *args, **kwargs)
        with transaction.atomic():
            found = get_object_or_404(environments.select_for_update(), pk=environment_pk)
            keys = found.attachments.values("stack")
            lock_stacks(Stack.objects.filter(pk__in=keys))
            return view(request, found, *args, **kwargs)

    return wrapper


def holding_environments(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Have a view's POST hold all shared environments; stacks are locked after them everywhere."""

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with transaction.atomic():
            attaching.hold_environments()
            return view(request, *args, **kwargs)

    return wrapper


def lock_stacks(stacks: QuerySet[Stack]) -> None:
    """Lock stacks, in an order that is the same for everybody."""
    list(stacks.order_by("pk").select_for_update().values_list("pk"))


@require_safe
def environments(request: HttpRequest) -> HttpResponse:
    """All shared environments, in the order in which they count."""
    counted = SharedEnvironment.objects.annotate(
        stack_count=Count("attachments", distinct=True),
        variable_count=Count("variables", filter=Q(variables__is_file=False), distinct=True),
        file_count=Count("variables", filter=Q(variables__is_file=True), distinct=True),
    )
    return render(request, "stacks/environment/environments.html", {"environments": counted})


@require_http_methods(METHODS)
@admin_required
def create_environment(request: HttpRequest) -> HttpResponse:
    form = SharedEnvironmentForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            with transaction.atomic():
                created = SharedEnvironment.objects.create(**form.cleaned_data)
                record(request, Verb.SHARED_ENVIRONMENT_CREATED, created)
        except IntegrityError:  # somebody took the name at the same moment
            form.add_error("name", NAME_TAKEN)
        else:
            messages.success(request, f"{created} was created")
            return redirect(created)
    return render(request, "stacks/environment/edit_environment.html", {"form": form})


@require_http_methods(METHODS)
@admin_required
@with_environment
def edit_environment(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    data = request.POST if request.method == "POST" else None
    form = SharedEnvironmentForm(data, environment)
    if form.is_valid():
        for name, value in form.cleaned_data.items():
            setattr(environment, name, value)
        try:
            with transaction.atomic():
                environment.save(update_fields=list(form.cleaned_data))
                note = f"Name and priority: {environment.priority}"
                record(request, Verb.SHARED_ENVIRONMENT_CHANGED, environment, note)
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
        else:
            messages.success(request, f"{environment} was changed")
            return redirect(environment)
    context = {"form": form, "environment": environment}
    return render(request, "stacks/environment/edit_environment.html", context)


@require_http_methods(METHODS)
@admin_required
@with_environment
def environment_labels(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    """Choose which labels attach an environment, once it is clear whose code that reaches."""
    data = request.POST if request.method == "POST" else None
    form = LabelsForm(data, initial={"labels": ", ".join(environment.labels)})
    confirmation = ReachForm(data, destinations_of_all([]), "secrets")
    if form.is_valid():
        labels = form.cleaned_data["labels"]
        keys = [one.pk for one in attaching.newly_reached(environment, labels)]
        lock_stacks(Stack.objects.filter(pk__in=keys))
        new = [one for one in attaching.newly_reached(environment, labels) if one.pk in keys]
        if environment.is_secret:
            confirmation = ReachForm(data, destinations_of_all(new, new), "secrets")
        if confirmation.is_valid():
            attaching.set_labels(environment, labels, new)
            note = f"Labels: {', '.join(labels) or 'none'}"
            note = confirmation.confirm(note, reader_is_admin=True)
            record(request, Verb.SHARED_ENVIRONMENT_CHANGED, environment, note)
            messages.success(request, f"The labels of {environment} were changed")
            return redirect(environment)
    context = {"form": form, "environment": environment, "confirmation": confirmation}
    return render(request, "stacks/environment/environment_labels.html", context)


@require_http_methods(METHODS)
@admin_required
@with_environment
def delete_environment(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    """Delete an environment, once it is clear which stacks lose what."""
    if request.method != "POST":
        context = {
            "environment": environment,
            "attachments": environment.attachments.select_related("stack").order_by("stack__name"),
            "variables": environment.variables.defer("value"),
        }
        return render(request, "stacks/environment/delete_environment.html", context)
    stacks = ", ".join(environment.stacks.values_list("name", flat=True))
    note = f"It was attached to {stacks}" if stacks else "No stack had it"
    record(request, Verb.SHARED_ENVIRONMENT_DELETED, environment, note)
    attaching.delete(environment)
    messages.success(request, f"{environment} was deleted")
    return redirect("stacks:environments")
