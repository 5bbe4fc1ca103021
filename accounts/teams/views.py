"""Teams: people who are given roles together, where a page of another package says which."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.models import Team
from accounts.roles import admin_required
from accounts.teams.forms import TeamForm


@require_safe
@admin_required
def teams(request: HttpRequest) -> HttpResponse:
    every = Team.objects.prefetch_related("people")
    page = Paginator(every, 50).get_page(request.GET.get("page"))
    return render(request, "accounts/teams/teams.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def create_team(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit_team(request: HttpRequest, team_pk: int) -> HttpResponse:
    return _edit(request, get_object_or_404(Team, pk=team_pk))


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def delete_team(request: HttpRequest, team_pk: int) -> HttpResponse:
    team = get_object_or_404(Team, pk=team_pk)
    if request.method != "POST":
        return render(request, "accounts/teams/delete_team.html", {"team": team})
    with transaction.atomic():
        names = team.people.order_by("username").values_list("username", flat=True)
        record(request, Verb.TEAM_DELETED, team, f"People: {', '.join(names) or 'nobody'}"[:2000])
        team.delete()
    messages.success(request, f"Team {team.name} was deleted")
    return redirect("accounts:teams")


def _edit(request: HttpRequest, team: Team | None) -> HttpResponse:
    """Let a team be filled in, one that there is or a new one."""
    # An empty form is a team without a name, and no reason to show the present one.
    form = TeamForm(request.POST if request.method == "POST" else None, team)
    if form.is_valid():
        verb, what = (Verb.TEAM_CHANGED, "changed") if team else (Verb.TEAM_CREATED, "created")
        try:
            with transaction.atomic():
                saved = form.save()
                record(request, verb, saved, form.note)
        except IntegrityError:  # somebody took the name at the same moment
            form.add_error("name", "Another team has this name.")
        else:
            messages.success(request, f"Team {saved.name} was {what}")
            return redirect("accounts:teams")
    return render(request, "accounts/teams/edit_team.html", {"form": form, "team": team})
