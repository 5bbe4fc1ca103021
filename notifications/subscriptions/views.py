"""What a person is notified of by e-mail: nobody but they can change it."""

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.roles import about_oneself
from core.http import post_or_redirect
from core.keyset import is_key
from notifications.models import Event, Subscription
from notifications.subscriptions.forms import ALL, SubscriptionForm


@require_http_methods(["GET", "HEAD", "POST"])
@about_oneself
def subscriptions(request: HttpRequest) -> HttpResponse:
    """One's own, and a form that adds one or changes the events of one; `?stack=` selects one."""
    person = cast(User, request.user)
    own = Subscription.objects.filter(person=person).select_related("stack")
    stack = request.GET.get("stack", "")
    initial = {
        "scope": f"stack:{stack}" if is_key(stack) else ALL,
        Event.WAITING.value: True,
        Event.FAILED.value: True,
    }
    form = SubscriptionForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        data = form.cleaned_data
        scope = {"stack": data["stack"], "label": data["label"]}
        Subscription.objects.update_or_create(
            person=person, **scope, defaults={"events": data["events"]}
        )
        messages.success(request, "Your notifications were changed")
        return redirect("notifications:mine")
    context = {"form": form, "subscriptions": own, "obstacle": _obstacle(person)}
    return render(request, "notifications/subscriptions/subscriptions.html", context)


def _own_page(subscription_pk: int) -> str:
    return reverse("notifications:mine")


@require_http_methods(["GET", "HEAD", "POST"])
@about_oneself
@post_or_redirect(_own_page)
def remove(request: HttpRequest, subscription_pk: int) -> HttpResponse:
    person = cast(User, request.user)
    get_object_or_404(Subscription, pk=subscription_pk, person=person).delete()
    messages.success(request, "Your notifications were changed")
    return redirect("notifications:mine")


def _obstacle(person: User) -> str:
    """Return why nothing is e-mailed to a person, and what to do; empty if it is."""
    if not settings.SENDS_EMAIL:
        return (
            "Nothing is e-mailed yet: no mail server is set up. "
            "The operator names one in EMAIL_URL."
        )
    if not person.email:
        return (
            "Nothing is e-mailed to you yet: you have no e-mail address. Ask an admin to enter it "
            "under People."
        )
    return ""
