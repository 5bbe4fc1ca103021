"""Addresses of Settings → VCS providers and → Audit log, and of the webhook endpoints."""

from django.urls import path

from vcs_integrations import audit_pages, hook_views, notice_views, views, webhooks

SETTINGS = "settings/vcs-providers/"

urlpatterns = [
    path("webhooks/<slug:provider_slug>/<str:endpoint>/", webhooks.receive, name="webhook"),
    # Without the slash it is the same endpoint: a redirect would lose the event.
    path("webhooks/<slug:provider_slug>/<str:endpoint>", webhooks.receive),
    path("settings/audit-log/", audit_pages.audit_log, name="audit_log"),
    path(SETTINGS, views.provider_list, name="provider_list"),
    path(f"{SETTINGS}<slug:provider_slug>/set-up/", views.set_up, name="set_up"),
    path(f"{SETTINGS}<int:pk>/", views.integration, name="integration"),
    path(f"{SETTINGS}<int:pk>/edit/", views.edit, name="edit_integration"),
    path(f"{SETTINGS}<int:pk>/test/", views.test, name="test_integration"),
    path(f"{SETTINGS}<int:pk>/reconcile/", views.reconcile, name="reconcile"),
    path(f"{SETTINGS}<int:pk>/reveal/", views.reveal, name="reveal_password"),
    path(f"{SETTINGS}<int:pk>/unlink/", views.unlink, name="unlink_integration"),
    path(f"{SETTINGS}<int:pk>/left-over-hooks/", views.left_over_hooks, name="left_over_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/", hook_views.hooks, name="hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/keep/", hook_views.keep_hooks, name="keep_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/leave/", hook_views.leave_hooks, name="leave_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/read/", hook_views.read_hooks, name="read_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/record/", hook_views.hook_actions, name="hook_actions"),
    path(f"{SETTINGS}<int:pk>/hooks/test/", hook_views.test_hook, name="test_hook"),
    path(f"{SETTINGS}<int:pk>/hooks/test/<int:test_pk>/", hook_views.hook_test, name="hook_test"),
    path(
        f"{SETTINGS}<int:pk>/password/", hook_views.change_password, name="change_webhook_password"
    ),
    path(f"{SETTINGS}<int:pk>/password/end/", hook_views.end_overlap, name="end_overlap"),
    path(f"{SETTINGS}<int:pk>/notices/", notice_views.notices, name="notices"),
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
