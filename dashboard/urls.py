"""The address of the start page."""

from django.urls import path

from dashboard import views

app_name = "dashboard"
urlpatterns = [path("", views.home, name="home")]
