"""The delivery log: each message, how far it came, and sending it again."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from core.keyset import keyset_page
from notifications.log.forms import MessageFilter
from notifications.models import Message, MessageState
from notifications.outbox.queue import resend

MESSAGES_ON_A_PAGE = 50


@require_safe
@admin_required
def log(request: HtmxHttpRequest) -> HttpResponse:
    """The log, the newest message first; the page polls it."""
    form = MessageFilter(request.GET)
    found = Message.objects.select_related("run__stack", "person", "channel")
    found = found.defer("run__plan", "run__errors").order_by("-pk")
    page = keyset_page(request, form.narrow(found), "pk", MESSAGES_ON_A_PAGE)
    shown = [(row.pk, row.state, row.problem, row.tries, row.due_at) for row in page.rows]
    can_change = page.is_first or any(row.state == MessageState.WAITING for row in page.rows)
    return render_live(
        request,
        "notifications/log/log.html",
        "notifications/log/message_table.html",
        version_of(shown),
        {"form": form, "page": page, "can_change": can_change},
    )


def _log(message_pk: int) -> str:
    return reverse("notifications:log")


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_log)
def resend_one(request: HttpRequest, message_pk: int) -> HttpResponse:
    """Have a message sent again; a webhook gets it with the same id."""
    found = Message.objects.select_related("run__stack", "person", "channel")
    message = get_object_or_404(found, pk=message_pk)
    with transaction.atomic():
        if is_resent := resend(message):
            about = f"{message.get_event_display()}, to {message.target}"
            record(
                request,
                Verb.NOTIFICATION_RESENT,
                message.run,
                about,
                name=f"{message.run.stack}, {message.run}",
            )
    if is_resent:
        messages.success(request, "The notification is sent again")
    else:
        messages.warning(request, "The notification waits to be sent already")
    return redirect("notifications:log")
