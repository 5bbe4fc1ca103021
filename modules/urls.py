"""Addresses of modules, and of the registry that Terraform and OpenTofu ask."""

from django.urls import URLPattern

app_name = "modules"
urlpatterns: list[URLPattern] = []
