"""Addresses of signing in and out, one's own password and tokens, and people."""

from django.urls import path

from accounts import views
from accounts.teams import views as teams
from accounts.tokens import views as tokens

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("password/", views.change_password, name="change_password"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<int:token_pk>/revoke/", tokens.revoke_token, name="revoke_token"),
    path("settings/people/", views.people, name="people"),
    path("settings/people/my-address/", views.change_email, name="change_email"),
    path("settings/people/add/", views.add_person, name="add_person"),
    path("settings/people/teams/", teams.teams, name="teams"),
    path("settings/people/teams/new/", teams.create_team, name="create_team"),
    path("settings/people/teams/<int:team_pk>/", teams.edit_team, name="edit_team"),
    path("settings/people/teams/<int:team_pk>/delete/", teams.delete_team, name="delete_team"),
    path("settings/people/<int:pk>/", views.edit_person, name="edit_person"),
    path("settings/people/<int:pk>/remove/", views.remove_person, name="remove_person"),
    path(
        "settings/people/<int:pk>/tokens/<int:token_pk>/revoke/",
        tokens.revoke_token_of,
        name="revoke_token_of",
    ),
]
