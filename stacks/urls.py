"""Addresses of the start page and of stacks."""

from django.urls import path

from stacks import (
    environment_pages,
    fork_views,
    home,
    report_views,
    run_views,
    state_pages,
    views,
)
from stacks.state_backend import state_backend

urlpatterns = [
    path("", home.home, name="home"),
    path("settings/vcs-providers/<int:pk>/reports/", report_views.reports, name="reports"),
    path(
        "settings/vcs-providers/<int:pk>/reports/retry/",
        report_views.retry_reports,
        name="retry_reports",
    ),
    path("stacks/", views.stack_list, name="stack_list"),
    path("stacks/new/", views.create_stack, name="create_stack"),
    path("stacks/new/repositories/", views.repository_options, name="repository_options"),
    path("stacks/new/branches/", views.branch_options, name="branch_options"),
    path("stacks/<slug:slug>/", views.stack, name="stack"),
    path("stacks/<slug:slug>/activity/", views.activity, name="activity"),
    path("stacks/<slug:slug>/runs/<int:number>/", run_views.run, name="run"),
    path("stacks/<slug:slug>/runs/<int:number>/act/", run_views.act_on_run, name="act_on_run"),
    path("stacks/<slug:slug>/runs/<int:number>/log/", run_views.log_part, name="log_part"),
    path("stacks/<slug:slug>/runs/<int:number>/log.txt", run_views.log_file, name="log_file"),
    path("stacks/<slug:slug>/forks/<slug:sha>/", fork_views.allow_fork, name="allow_fork"),
    path("stacks/<slug:slug>/plan-older/", views.plan_open, name="plan_open"),
    path("stacks/<slug:slug>/head/", views.refresh_head, name="refresh_head"),
    path("stacks/<slug:slug>/edit/", views.edit_stack, name="edit_stack"),
    path("stacks/<slug:slug>/behavior/", views.change_behavior, name="change_behavior"),
    path("stacks/<slug:slug>/backend/", views.change_backend, name="change_backend"),
    path("stacks/<slug:slug>/state/", state_backend, name="state_backend"),
    path("stacks/<slug:slug>/state/versions/", state_pages.state_versions, name="state_versions"),
    path(
        "stacks/<slug:slug>/state/versions/<int:version>/",
        state_pages.download_state,
        name="download_state",
    ),
    path("stacks/<slug:slug>/state/upload/", state_pages.upload_state, name="upload_state"),
    path(
        "stacks/<slug:slug>/state/upload/confirm/",
        state_pages.confirm_state,
        name="confirm_state",
    ),
    path("stacks/<slug:slug>/state/unlock/", state_pages.unlock_state, name="unlock_state"),
    path("stacks/<slug:slug>/environment/", environment_pages.environment, name="environment"),
    path(
        "stacks/<slug:slug>/environment/<int:variable_pk>/",
        environment_pages.change_variable,
        name="change_variable",
    ),
    path(
        "stacks/<slug:slug>/environment/<int:variable_pk>/remove/",
        environment_pages.remove_variable,
        name="remove_variable",
    ),
    path("stacks/<slug:slug>/source/", views.change_source, name="change_source"),
    path("stacks/<slug:slug>/delete/", views.delete_stack, name="delete_stack"),
]
