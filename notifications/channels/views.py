"""Channels to Teams, Slack and webhooks, which admins create, change and delete."""

from urllib.parse import urlsplit

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from notifications.channels.forms import ChannelForm
from notifications.models import Channel, ChannelSecret, Kind
from notifications.outbox.signing import new_signing_secret


@require_safe
@admin_required
def channel_list(request: HttpRequest) -> HttpResponse:
    channels = Channel.objects.prefetch_related("stacks")
    return render(request, "notifications/channels/channels.html", {"channels": channels})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def create_channel(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit_channel(request: HttpRequest, channel_pk: int) -> HttpResponse:
    return _edit(request, get_object_or_404(Channel, pk=channel_pk))


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def delete_channel(request: HttpRequest, channel_pk: int) -> HttpResponse:
    channel = get_object_or_404(Channel, pk=channel_pk)
    if request.method != "POST":
        return render(request, "notifications/channels/delete_channel.html", {"channel": channel})
    with transaction.atomic():
        record(request, Verb.CHANNEL_DELETED, channel)
        channel.delete()
    messages.success(request, f"{channel} was deleted")
    return redirect("notifications:channels")


def _edit(request: HttpRequest, channel: Channel | None) -> HttpResponse:
    """Answer with the form; or store what it says, and show a new signing secret once."""
    form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
    is_unreadable = channel is not None and channel.read_secret() is None
    if not form.is_valid():
        context = {"form": form, "channel": channel, "is_unreadable": is_unreadable}
        return render(request, "notifications/channels/edit_channel.html", context)
    verb = Verb.CHANNEL_CHANGED if channel else Verb.CHANNEL_CREATED
    with transaction.atomic():
        stored, new_secret = _store(form, channel or Channel())
        record(
            request, verb, stored, "With another address" if form.cleaned_data["address"] else ""
        )
    if new_secret:
        shown = {"channel": stored, "value": new_secret}
        return render(request, "notifications/channels/signing_secret.html", shown)
    messages.success(request, f"{stored} was saved")
    return redirect("notifications:channels")


def _store(form: ChannelForm, channel: Channel) -> tuple[Channel, str]:
    """Store a channel as a form says; return it, and its signing secret if that is new."""
    data = form.cleaned_data
    present = channel.read_secret() if channel.pk else None
    for name in ("name", "kind", "events", "labels"):
        setattr(channel, name, data[name])
    if data["address"]:
        channel.host = str(urlsplit(data["address"]).hostname)
    channel.save()
    channel.stacks.set(data["stacks"])
    new_secret = ""
    if channel.kind == Kind.WEBHOOK and (data.get("new_secret") or present is None):
        new_secret = new_signing_secret()
    if data["address"] or new_secret:
        ChannelSecret(
            channel=channel,
            address=data["address"] or (present.address if present else ""),
            signing_secret=new_secret or (present.signing_secret if present else ""),
        ).save()
    return channel, new_secret
