"""People and their roles, one's own password, signing in and out."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.paginator import Paginator
from django.db import DatabaseError, IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import SecurityEvent, Verb, record
from accounts.forms import (
    AddPersonForm,
    EditPersonForm,
    OwnEmailForm,
    OwnPasswordForm,
    SignInForm,
)
from accounts.mail import mail_obstacle
from accounts.models import User
from accounts.roles import Role, admin_required, role_not_required


class SignIn(LoginView):
    """Django's sign-in, which would answer a way back to itself with an error."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_redirect_url(self) -> str:  # type: ignore[override]  # the stubs are of Django 6
        url = super().get_redirect_url()
        return "" if url.partition("?")[0] == self.request.path else url

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)
            record(self.request, SecurityEvent.SIGNED_IN, form.get_user())
        return response


class SignOut(LogoutView):
    """Django's sign-out, recorded."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with transaction.atomic():
            record(request, SecurityEvent.SIGNED_OUT, cast(User, request.user))
            return super().post(request, *args, **kwargs)


sign_in = login_not_required(SignIn.as_view())
sign_out = role_not_required(SignOut.as_view())


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def change_email(request: HttpRequest) -> HttpResponse:
    """One's own address, which only admins need: notices go to them."""
    form = OwnEmailForm(request.POST or None, instance=cast(User, request.user))
    if form.is_valid():
        with transaction.atomic():
            record(request, Verb.PERSON_CHANGED, form.save(), "Own e-mail address")
        messages.success(request, "Your e-mail address was changed")
        return redirect("accounts:people")
    return render(request, "accounts/change_email.html", {"form": form})


@role_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    form = OwnPasswordForm(request)
    if form.is_valid():
        with transaction.atomic():
            person = form.save()
            record(request, Verb.PERSON_CHANGED, person, "Own password")
        update_session_auth_hash(request, person)
        messages.success(request, "Your password was changed")
        return redirect("accounts:change_password")
    return render(request, "accounts/change_password.html", {"form": form})


@require_safe
@admin_required
def people(request: HttpRequest) -> HttpResponse:
    everyone = User.objects.order_by("username").prefetch_related("groups")
    page = Paginator(everyone, 50).get_page(request.GET.get("page"))
    context = {"page": page, "mail_obstacle": mail_obstacle()}
    return render(request, "accounts/people.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def add_person(request: HttpRequest) -> HttpResponse:
    form = AddPersonForm(request.POST or None)
    if form.is_valid():
        try:
            with transaction.atomic():
                person = form.save()
                role = Role(form.cleaned_data["role"]).label
                record(request, Verb.PERSON_ADDED, person, role)
        except IntegrityError:  # somebody took the name in this moment
            form.add_error("username", "A user with that username already exists.")
        else:
            messages.success(request, f"{person.username} was added")
            return redirect("accounts:people")
    return render(request, "accounts/add_person.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit_person(request: HttpRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    if person == request.user:
        messages.error(request, "Nobody can change their own role: ask another admin")
        return redirect("accounts:people")
    form = EditPersonForm(request.POST or None, person=person)
    if form.is_valid():
        with transaction.atomic():
            try:
                form.save()
            except DatabaseError as error:  # the person was removed in this moment
                raise Http404 from error
            if form.changes:
                record(request, Verb.PERSON_CHANGED, person, form.changes)
        messages.success(request, f"{person.username} was changed")
        return redirect("accounts:people")
    tokens = Paginator(person.tokens.all(), 50).get_page(request.GET.get("page"))
    context = {"form": form, "person": person, "tokens": tokens}
    return render(request, "accounts/edit_person.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def remove_person(request: HttpRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    if person == request.user:
        messages.error(request, "Nobody can remove themselves: ask another admin")
        return redirect("accounts:people")
    if request.method != "POST":
        return render(request, "accounts/remove_person.html", {"person": person})
    with transaction.atomic():
        # From here on nothing that refers to them is stored.
        person = get_object_or_404(User.objects.select_for_update(), pk=pk)
        record(request, Verb.PERSON_REMOVED, person)
        person.delete()
    messages.success(request, f"{person.username} was removed")
    return redirect("accounts:people")
