"""Channels to Teams, Slack and webhooks, which admins create, change and delete."""

from urllib.parse import urlsplit

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from notifications.channels.forms import NAME_TAKEN, ChannelForm
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
    if request.method != "POST":
        return _edit(request, get_object_or_404(Channel, pk=channel_pk))
    with transaction.atomic():
        held = Channel.objects.select_for_update(no_key=True)  # messages to it are still stored
        return _edit(request, get_object_or_404(held, pk=channel_pk))


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def delete_channel(request: HttpRequest, channel_pk: int) -> HttpResponse:
    if request.method != "POST":
        channel = get_object_or_404(Channel, pk=channel_pk)
        return render(request, "notifications/channels/delete_channel.html", {"channel": channel})
    with transaction.atomic():
        # From here on no message to it is stored.
        channel = get_object_or_404(Channel.objects.select_for_update(), pk=channel_pk)
        record(request, Verb.CHANNEL_DELETED, channel)
        channel.delete()
    messages.success(request, f"{channel} was deleted")
    return redirect("notifications:channels")


def _edit(request: HttpRequest, channel: Channel | None) -> HttpResponse:
    """Answer with the form; or store what it says, and show a new signing secret once."""
    form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
    is_unreadable = channel is not None and channel.read_secret() is None
    if form.is_valid():
        verb = Verb.CHANNEL_CHANGED if channel else Verb.CHANNEL_CREATED
        note = "With another address" if form.cleaned_data["address"] else ""
        try:
            with transaction.atomic():
                stored, new_secret = _store(form, channel or Channel())
                record(request, verb, stored, note)
        except IntegrityError:  # somebody took the name at the same moment
            form.add_error("name", NAME_TAKEN)
        else:
            return _stored(request, stored, new_secret)
    context = {"form": form, "channel": channel, "is_unreadable": is_unreadable}
    return render(request, "notifications/channels/edit_channel.html", context)


def _stored(request: HttpRequest, channel: Channel, new_secret: str) -> HttpResponse:
    if new_secret:
        shown = {"channel": channel, "value": new_secret}
        return render(request, "notifications/channels/signing_secret.html", shown)
    messages.success(request, f"{channel} was saved")
    return redirect("notifications:channels")


def _store(form: ChannelForm, channel: Channel) -> tuple[Channel, str]:
    """Store a channel as a form says; return it, and its signing secret if that is new.

    Raises IntegrityError where another channel has the name.
    """
    data = form.cleaned_data
    present = channel.read_secret() if channel.pk else None
    for name in ("name", "kind", "events", "labels"):
        setattr(channel, name, data[name])
    if data["address"]:
        channel.host = str(urlsplit(data["address"]).hostname)
    channel.save()
    # Once more, since one may be deleted in this moment.
    channel.stacks.set(data["stacks"].order_by("pk").select_for_update(no_key=True))
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
