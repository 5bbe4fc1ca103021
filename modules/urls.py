"""Addresses of modules, and of the registry that Terraform and OpenTofu ask."""

from django.urls import path

from modules.impact import views as impact
from modules.overview import version_views
from modules.overview import views as overview
from modules.publishing import views as publishing
from modules.registry import views as registry
from modules.setup import edit_views
from modules.setup import views as setup

MODULE = "modules/<slug:namespace>/<slug:name>/<slug:system>/"
VERSION = f"{MODULE}versions/<str:version_number>/"
REGISTERED = f"{registry.BASE}<slug:namespace>/<slug:name>/<slug:system>/"

app_name = "modules"
urlpatterns = [
    path("modules/", overview.module_list, name="list"),
    path("modules/new/", setup.create_module, name="create"),
    path(MODULE, overview.module, name="detail"),
    path(f"{MODULE}versions/", overview.versions, name="versions"),
    path(f"{MODULE}activity/", overview.activity, name="activity"),
    path(VERSION, version_views.version, name="version"),
    path(f"{VERSION}yank/", edit_views.yank_version, name="yank"),
    path(f"{VERSION}restore/", edit_views.restore_version, name="restore"),
    path(f"{MODULE}edit/", edit_views.edit_module, name="edit"),
    path(f"{MODULE}delete/", edit_views.delete_module, name="delete"),
    path(f"{MODULE}checks/<str:sha>/", publishing.check, name="check"),
    path(f"{MODULE}checks/<str:sha>/again/", publishing.check_again, name="check_again"),
    path(".well-known/terraform.json", registry.discovery, name="discovery"),
    path(f"{REGISTERED}versions", registry.versions, name="registry_versions"),
    path(f"{REGISTERED}<str:version_number>/download", registry.download, name="download"),
    path("registry/archives/<str:signed>", registry.archive, name="archive"),
    path(f"{MODULE}stacks/", impact.stacks, name="stacks"),
    path(f"{MODULE}pull-requests/<int:pull_number>/", impact.impact, name="impact"),
    path(f"{MODULE}pull-requests/<int:pull_number>/plan-rest/", impact.plan_rest, name="plan_rest"),
]
