"""Addresses of stacks, and of an integration's reports."""

from django.urls import path

from stacks.arguments import views as arguments
from stacks.dependencies import views as dependencies
from stacks.environment import shared_variable_views, shared_views
from stacks.environment import views as environment
from stacks.overview import all_runs_views
from stacks.overview import views as overview
from stacks.plans import views as plans
from stacks.reports import views as reports
from stacks.runs import fork_views, log_views, trigger_views
from stacks.runs import views as runs
from stacks.schedules import views as schedules
from stacks.setup import confirmation_views, edit_views, module_views
from stacks.setup import views as setup
from stacks.tfstate import backend, version_views
from stacks.tfstate import views as tfstate

ENVIRONMENTS = "settings/environments/"

app_name = "stacks"
urlpatterns = [
    path(ENVIRONMENTS, shared_views.environments, name="environments"),
    path(f"{ENVIRONMENTS}new/", shared_views.create_environment, name="create_environment"),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/",
        shared_variable_views.shared_environment,
        name="shared_environment",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/edit/",
        shared_views.edit_environment,
        name="edit_environment",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/labels/",
        shared_views.environment_labels,
        name="environment_labels",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/delete/",
        shared_views.delete_environment,
        name="delete_environment",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/add-variable/",
        shared_variable_views.add_shared_variable,
        name="add_shared_variable",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/add-file/",
        shared_variable_views.add_shared_file,
        name="add_shared_file",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/variables/<int:shared_pk>/",
        shared_variable_views.change_shared_variable,
        name="change_shared_variable",
    ),
    path(
        f"{ENVIRONMENTS}<int:environment_pk>/variables/<int:shared_pk>/remove/",
        shared_variable_views.remove_shared_variable,
        name="remove_shared_variable",
    ),
    path("settings/vcs-providers/<int:pk>/reports/", reports.reports, name="reports"),
    path(
        "settings/vcs-providers/<int:pk>/reports/retry/",
        reports.retry_reports,
        name="retry_reports",
    ),
    path("runs/", all_runs_views.run_list, name="runs"),
    path("stacks/", overview.stack_list, name="list"),
    path("stacks/new/", setup.create_stack, name="create"),
    path("stacks/new/repositories/", setup.repository_options, name="repository_options"),
    path("stacks/new/branches/", setup.branch_options, name="branch_options"),
    path("stacks/<slug:slug>/", overview.stack, name="detail"),
    path("stacks/<slug:slug>/activity/", overview.activity, name="activity"),
    path("stacks/<slug:slug>/runs/new/", trigger_views.trigger_run, name="trigger_run"),
    path("stacks/<slug:slug>/runs/<int:number>/", runs.run, name="run"),
    path("stacks/<slug:slug>/runs/<int:number>/act/", runs.act_on_run, name="act_on_run"),
    path("stacks/<slug:slug>/runs/<int:number>/confirm/", runs.confirm_run, name="confirm_run"),
    path("stacks/<slug:slug>/runs/<int:number>/log/", log_views.log_part, name="log_part"),
    path(
        "stacks/<slug:slug>/runs/<int:number>/log/first-error/",
        log_views.first_error,
        name="first_error",
    ),
    path("stacks/<slug:slug>/runs/<int:number>/log.txt", log_views.log_file, name="log_file"),
    path("stacks/<slug:slug>/runs/<int:number>/plan/", plans.plan, name="plan"),
    path(
        "stacks/<slug:slug>/runs/<int:number>/plan/<int:change>/",
        plans.plan_change,
        name="plan_change",
    ),
    path("stacks/<slug:slug>/forks/<slug:sha>/", fork_views.allow_fork, name="allow_fork"),
    path("stacks/<slug:slug>/plan-older/", overview.plan_open, name="plan_open"),
    path("stacks/<slug:slug>/head/", overview.refresh_head, name="refresh_head"),
    path("stacks/<slug:slug>/edit/", edit_views.edit_stack, name="edit"),
    path("stacks/<slug:slug>/behavior/", edit_views.change_behavior, name="change_behavior"),
    path("stacks/<slug:slug>/backend/", edit_views.change_backend, name="change_backend"),
    path("stacks/<slug:slug>/arguments/", arguments.change_arguments, name="change_arguments"),
    path("stacks/<slug:slug>/state/", backend.state_backend, name="state_backend"),
    path("stacks/<slug:slug>/state/versions/", tfstate.state_versions, name="state_versions"),
    path(
        "stacks/<slug:slug>/state/versions/<int:version>/",
        tfstate.download_state,
        name="download_state",
    ),
    path(
        "stacks/<slug:slug>/state/versions/<int:version>/restore/",
        version_views.restore_state,
        name="restore_state",
    ),
    path(
        "stacks/<slug:slug>/state/compare/",
        version_views.compare_states,
        name="compare_states",
    ),
    path("stacks/<slug:slug>/state/upload/", tfstate.upload_state, name="upload_state"),
    path(
        "stacks/<slug:slug>/state/upload/confirm/",
        tfstate.confirm_state,
        name="confirm_state",
    ),
    path("stacks/<slug:slug>/state/unlock/", tfstate.unlock_state, name="unlock_state"),
    path("stacks/<slug:slug>/dependencies/", dependencies.dependencies, name="dependencies"),
    path(
        "stacks/<slug:slug>/dependencies/add/", dependencies.add_dependency, name="add_dependency"
    ),
    path(
        "stacks/<slug:slug>/dependencies/<int:dependency_pk>/remove/",
        dependencies.remove_dependency,
        name="remove_dependency",
    ),
    path("stacks/<slug:slug>/dependencies/readers/add/", dependencies.add_grant, name="add_grant"),
    path(
        "stacks/<slug:slug>/dependencies/readers/<int:grant_pk>/remove/",
        dependencies.remove_grant,
        name="remove_grant",
    ),
    path("stacks/<slug:slug>/environment/", environment.environment, name="environment"),
    path("stacks/<slug:slug>/environment/add-file/", environment.add_file, name="add_file"),
    path(
        "stacks/<slug:slug>/environment/attach/",
        shared_variable_views.attach_environment,
        name="attach_environment",
    ),
    path(
        "stacks/<slug:slug>/environment/detach/<int:environment_pk>/",
        shared_variable_views.detach_environment,
        name="detach_environment",
    ),
    path(
        "stacks/<slug:slug>/environment/<int:variable_pk>/",
        environment.change_variable,
        name="change_variable",
    ),
    path(
        "stacks/<slug:slug>/environment/<int:variable_pk>/remove/",
        environment.remove_variable,
        name="remove_variable",
    ),
    path("stacks/<slug:slug>/modules/", module_views.module_access, name="module_access"),
    path(
        "stacks/<slug:slug>/confirmation/",
        confirmation_views.change_confirmation,
        name="confirmation",
    ),
    path("stacks/<slug:slug>/schedules/", schedules.schedules, name="schedules"),
    path(
        "stacks/<slug:slug>/schedules/<int:schedule_pk>/",
        schedules.change_schedule,
        name="change_schedule",
    ),
    path(
        "stacks/<slug:slug>/schedules/<int:schedule_pk>/remove/",
        schedules.remove_schedule,
        name="remove_schedule",
    ),
    path("stacks/<slug:slug>/source/", edit_views.change_source, name="change_source"),
    path("stacks/<slug:slug>/delete/", edit_views.delete_stack, name="delete"),
]
