"""The four roles, and the rule that every page needs one.

A team may have a higher role than its people at some addresses: `stacks.apps` registers what says
so, and `role_here` asks.

A person's role is the group of that name; a superuser counts as admin. Django's
SignInRequiredMiddleware asks strangers to sign in; RoleRequiredMiddleware turns away
whoever is signed in without a role, and lets viewers read and change nothing. A view that is open
to everyone signed in says so with `@role_not_required`, one that only admins may use with
`@admin_required`, one that viewers may not even open, as it is only a form, with `@members_only`,
and one with which each person changes what is their own with `@about_oneself`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet, TextChoices
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import ResolverMatch, reverse
from django.utils.deprecation import MiddlewareMixin

from accounts.models import User

P = ParamSpec("P")
R = TypeVar("R", bound=HttpRequest)
V = TypeVar("V", bound=Callable[..., HttpResponseBase])


class Role(TextChoices):
    """The names of the groups that give a role; who is in several has the first.

    Each role may what those after it may.
    """

    ADMIN = "admin", "Admin"
    APPROVER = "approver", "Approver"
    MEMBER = "member", "Member"
    VIEWER = "viewer", "Viewer"

    def includes(self, other: "Role") -> bool:
        """Say whether who has this role may what another role may."""
        order = list(Role)
        return order.index(self) <= order.index(other)


RoleAt = Callable[[User, ResolverMatch], Role | None]
_roles_of_teams: list[RoleAt] = []


def with_role(people: QuerySet[User]) -> QuerySet[User]:
    """Have people come with their roles, so that `role_of` asks for none."""
    groups = Group.objects.filter(user=OuterRef("pk"))
    return people.annotate(**{_flag(role): Exists(groups.filter(name=role)) for role in Role})


def role_of(user: AbstractBaseUser | AnonymousUser) -> Role | None:
    """Return a person's role, asking the database at most once for each request's user."""
    if not isinstance(user, User) or not user.is_active:
        return None
    if not hasattr(user, "_role"):
        names = {Role.ADMIN} if user.is_superuser else _groups_of(user)
        user._role = next((role for role in Role if role in names), None)  # type: ignore[attr-defined]
    return user._role  # type: ignore[attr-defined,no-any-return]


def _groups_of(user: User) -> set[str]:
    if hasattr(user, _flag(Role.ADMIN)):
        return {role for role in Role if getattr(user, _flag(role))}
    return {group.name for group in user.groups.all()}


def _flag(role: Role) -> str:
    return f"is_in_{role}"


def is_admin(request: HttpRequest) -> bool:
    """Say whether the person asking is an admin."""
    return role_of(request.user) == Role.ADMIN


def may_change(request: HttpRequest) -> bool:
    """Say whether the person asking may here what members may; viewers only read."""
    role = role_here(request)
    return role is not None and role.includes(Role.MEMBER)


def register(one: RoleAt) -> None:
    """Have `one` asked what the teams of a person are at an address; None for no role."""
    _roles_of_teams[:] = [one]


def role_here(request: HttpRequest) -> Role | None:
    """Return what the person asking is at this address, asking the database at most once.

    Only what viewers may depends on it: all other roles may what a team may.
    """
    role = role_of(request.user)
    if role != Role.VIEWER or request.resolver_match is None:
        return role
    if not hasattr(request, "_role_here"):
        [role_at] = _roles_of_teams
        by_teams = role_at(cast(User, request.user), request.resolver_match)
        request._role_here = by_teams or role  # type: ignore[attr-defined]
    return request._role_here  # type: ignore[attr-defined,no-any-return]


def admin_required(
    view: Callable[Concatenate[R, P], HttpResponseBase],
) -> Callable[Concatenate[R, P], HttpResponseBase]:
    """Let only admins use a view; others get the page that explains a 403."""

    @wraps(view)
    def wrapper(request: R, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not is_admin(request):
            raise PermissionDenied("Only admins may do this. Ask an admin of Stackhook.")
        return view(request, *args, **kwargs)

    return wrapper


def role_not_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Open a view to everyone who is signed in, with or without a role."""
    view.role_required = False  # type: ignore[attr-defined]
    return view


def members_only(view: V) -> V:
    """Keep viewers out of a view that shows only a form, or what a form offers."""
    view.members_only = True  # type: ignore[attr-defined]
    return view


def about_oneself(view: V) -> V:
    """Let viewers, too, change something with a view: what is their own."""
    view.is_about_oneself = True  # type: ignore[attr-defined]
    return view


class SignInRequiredMiddleware(LoginRequiredMiddleware):
    """Lead strangers to the sign-in page, and then back to the page they were on.

    Who sent a form after their session ended is led back to the form's page: what a form is
    sent to may be no page.
    """

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        if request.method in {"GET", "HEAD"}:
            return super().handle_no_permission(request, view_func)
        return redirect_to_login(_page_of(request))


def _page_of(request: HttpRequest) -> str:
    """Return the page a form was sent from, as far as the browser says."""
    try:
        came_from = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return reverse("dashboard:home")
    return came_from.path if came_from.netloc == request.get_host() else reverse("dashboard:home")


class RoleRequiredMiddleware(MiddlewareMixin):
    """Turn away whoever is signed in without a role, unless the view is open to them.

    Viewers are turned away from whatever is no reading, whether or not a view knows of them.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> None:
        open_to_strangers = not getattr(view, "login_required", True)
        if open_to_strangers or not getattr(view, "role_required", True):
            return
        role = role_here(request)
        if role is None:
            raise PermissionDenied(
                "You are signed in, but you have no role yet. "
                "Ask an admin of Stackhook to make you a member."
            )
        if role == Role.VIEWER and not _is_for_viewers(request, view):
            raise PermissionDenied(
                "Viewers can read everything that members read, but change nothing. "
                "Ask an admin of Stackhook to make you a member."
            )


def _is_for_viewers(request: HttpRequest, view: Callable[..., HttpResponse]) -> bool:
    if getattr(view, "is_about_oneself", False):
        return True
    return request.method in {"GET", "HEAD"} and not getattr(view, "members_only", False)


def role_of_user(request: HttpRequest) -> dict[str, bool]:
    """Return for templates what the person asking may: read, create things, change what is here."""
    if not hasattr(request, "user"):
        return {"has_role": False, "may_create": False, "may_change": False, "is_admin": False}
    role = role_of(request.user)
    return {
        "has_role": role is not None,
        "may_create": role is not None and role.includes(Role.MEMBER),
        "may_change": may_change(request),
        "is_admin": is_admin(request),
    }
