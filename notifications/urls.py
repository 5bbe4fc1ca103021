"""Addresses of a person's notifications, of channels, and of the delivery log."""

from django.urls import path

from notifications.channels import views as channels
from notifications.log import views as log
from notifications.subscriptions import views as subscriptions

OWN = "account/notifications/"
SETTINGS = "settings/notifications/"

app_name = "notifications"
urlpatterns = [
    path(OWN, subscriptions.subscriptions, name="mine"),
    path(f"{OWN}<int:subscription_pk>/remove/", subscriptions.remove, name="remove"),
    path(SETTINGS, channels.channel_list, name="channels"),
    path(f"{SETTINGS}new/", channels.create_channel, name="create_channel"),
    path(f"{SETTINGS}<int:channel_pk>/", channels.edit_channel, name="channel"),
    path(f"{SETTINGS}<int:channel_pk>/delete/", channels.delete_channel, name="delete_channel"),
    path(f"{SETTINGS}log/", log.log, name="log"),
    path(f"{SETTINGS}log/<int:message_pk>/resend/", log.resend_one, name="resend"),
]
