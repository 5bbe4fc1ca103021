"""Addresses of Settings → VCS providers and → Audit log, and of the webhook endpoints."""

from django.urls import path

from vcs_integrations.audit import views as audit
from vcs_integrations.connections import link_views, unlink_views, views
from vcs_integrations.hooks import views as hooks
from vcs_integrations.notices import views as notices
from vcs_integrations.webhooks import endpoint
from vcs_integrations.webhooks import views as ledger

SETTINGS = "settings/vcs-providers/"

app_name = "integrations"
urlpatterns = [
    path("webhooks/<slug:provider_slug>/<str:endpoint>/", endpoint.receive, name="webhook"),
    # Without the slash it is the same endpoint: a redirect would lose the event.
    path("webhooks/<slug:provider_slug>/<str:endpoint>", endpoint.receive),
    path("settings/audit-log/", audit.audit_log, name="audit_log"),
    path(SETTINGS, views.provider_list, name="list"),
    path(f"{SETTINGS}<slug:provider_slug>/set-up/", link_views.set_up, name="set_up"),
    path(f"{SETTINGS}<int:pk>/", views.integration, name="detail"),
    path(f"{SETTINGS}<int:pk>/edit/", link_views.edit, name="edit"),
    path(f"{SETTINGS}<int:pk>/test/", link_views.test, name="test"),
    path(f"{SETTINGS}<int:pk>/reconcile/", views.reconcile, name="reconcile"),
    path(f"{SETTINGS}<int:pk>/reveal/", views.reveal, name="reveal_password"),
    path(f"{SETTINGS}<int:pk>/unlink/", unlink_views.unlink, name="unlink"),
    path(
        f"{SETTINGS}<int:pk>/left-over-hooks/", unlink_views.left_over_hooks, name="left_over_hooks"
    ),
    path(f"{SETTINGS}<int:pk>/hooks/", hooks.hooks, name="hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/keep/", hooks.keep_hooks, name="keep_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/leave/", hooks.leave_hooks, name="leave_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/read/", hooks.read_hooks, name="read_hooks"),
    path(f"{SETTINGS}<int:pk>/hooks/record/", hooks.hook_actions, name="hook_actions"),
    path(f"{SETTINGS}<int:pk>/hooks/test/", hooks.test_hook, name="test_hook"),
    path(f"{SETTINGS}<int:pk>/hooks/test/<int:test_pk>/", hooks.hook_test, name="hook_test"),
    path(f"{SETTINGS}<int:pk>/password/", hooks.change_password, name="change_webhook_password"),
    path(f"{SETTINGS}<int:pk>/password/end/", hooks.end_overlap, name="end_overlap"),
    path(f"{SETTINGS}<int:pk>/notices/", notices.notices, name="notices"),
    path(f"{SETTINGS}<int:pk>/deliveries/", ledger.deliveries, name="deliveries"),
    path(f"{SETTINGS}<int:pk>/deliveries/replay/", ledger.replay, name="replay"),
    path(f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/", ledger.delivery, name="delivery"),
    path(
        f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/replay/",
        ledger.replay_one,
        name="replay_one",
    ),
    path(
        f"{SETTINGS}<int:pk>/deliveries/<int:delivery_pk>/body/",
        ledger.delivery_body,
        name="delivery_body",
    ),
]
