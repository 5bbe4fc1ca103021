"""Addresses of Settings → VCS providers and of the webhook endpoints."""

from django.urls import path

from vcs_integrations import views, webhooks

SETTINGS = "settings/vcs-providers/"

urlpatterns = [
    path("webhooks/<slug:provider_slug>/<str:endpoint>/", webhooks.receive, name="webhook"),
    # Without the slash it is the same endpoint: a redirect would lose the event.
    path("webhooks/<slug:provider_slug>/<str:endpoint>", webhooks.receive),
    path(SETTINGS, views.provider_list, name="provider_list"),
    path(f"{SETTINGS}<slug:provider_slug>/set-up/", views.set_up, name="set_up"),
    path(f"{SETTINGS}<int:pk>/", views.integration, name="integration"),
    path(f"{SETTINGS}<int:pk>/edit/", views.edit, name="edit_integration"),
    path(f"{SETTINGS}<int:pk>/test/", views.test, name="test_integration"),
    path(f"{SETTINGS}<int:pk>/reconcile/", views.reconcile, name="reconcile"),
    path(f"{SETTINGS}<int:pk>/reveal/", views.reveal, name="reveal_password"),
    path(f"{SETTINGS}<int:pk>/unlink/", views.unlink, name="unlink_integration"),
    path(f"{SETTINGS}<int:pk>/left-over-hooks/", views.left_over_hooks, name="left_over_hooks"),
    path(f"{SETTINGS}<int:pk>/deliveries/", views.deliveries, name="deliveries"),
    path(f"{SETTINGS}<int:pk>/deliveries/replay/", views.replay, name="replay"),
    path(f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/", views.delivery, name="delivery"),
    path(
        f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/replay/",
        views.replay_one,
        name="replay_one",
    ),
    path(
        f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/body/",
        views.delivery_body,
        name="delivery_body",
    ),
]
