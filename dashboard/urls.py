"""The addresses of the start page and of the page that leads to all settings."""

from django.urls import path

from dashboard import settings_views, views

app_name = "dashboard"
urlpatterns = [
    path("", views.home, name="home"),
    path("settings/", settings_views.settings, name="settings"),
]
