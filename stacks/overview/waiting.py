"""How many runs wait for confirmation, for the navigation of every page."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.roles import role_of
from stacks.models import Run
from stacks.rules.states import State

MOST_COUNTED = 99


def waiting(request: HttpRequest) -> dict[str, object]:
    """Add how many runs wait to the templates of people with a role; one query, where it is shown.

    It is a text, empty for none, and counts no further than a badge has room for.
    """
    if hasattr(request, "user") and role_of(request.user):
        return {"waiting_runs": SimpleLazyObject(_waiting)}
    return {}


def _waiting() -> str:
    found = Run.objects.filter(state=State.UNCONFIRMED).order_by()
    count = found[: MOST_COUNTED + 1].count()
    return f"{MOST_COUNTED}+" if count > MOST_COUNTED else str(count or "")
