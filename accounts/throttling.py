"""How wrong passwords are slowed down, on the sign-in page and wherever else one is typed."""

from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth import authenticate
from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from accounts.audit.records import SecurityEvent
from accounts.audit.refusals import record_refusal
from accounts.models import User

# How many wrong passwords lock for AXES_COOLOFF_TIME.
FOR_ONE_NAME_FROM_ONE_ADDRESS = 5
FOR_ONE_NAME = 10
FROM_ONE_ADDRESS = 10


class Throttle(AxesDatabaseHandler):  # type: ignore[misc]  # axes has no types
    """Counts wrong passwords by name, by address, and by both together.

    Whoever signs in with a name from an address where that succeeded before is held to the last
    of the three limits only, so that guesses from elsewhere, or at other names, don't lock them
    out.
    """

    def get_failures(self, request: HttpRequest, credentials: Any = None) -> int:
        """Return how many of the limits are reached; AXES_FAILURE_LIMIT, one, locks."""
        name = get_client_username(request, credentials)
        address = request.axes_ip_address  # type: ignore[attr-defined]
        recent = AccessAttempt.objects.filter(attempt_time__gte=get_cool_off_threshold(request))
        pair = {"username": name, "ip_address": address}
        counted = [(recent.filter(**pair), FOR_ONE_NAME_FROM_ONE_ADDRESS)]
        if not AccessLog.objects.filter(**pair).exists():
            counted += [
                (recent.filter(username=name), FOR_ONE_NAME),
                (recent.filter(ip_address=address), FROM_ONE_ADDRESS),
            ]
        return sum(_failures(attempts) >= limit for attempts, limit in counted)

    def user_login_failed(
        self, sender: Any, credentials: Any, request: Any = None, **more: Any
    ) -> None:
        """Count a wrong password, and note it in the audit log."""
        was_locked = request.axes_locked_out
        super().user_login_failed(sender, credentials, request, **more)
        person = User.objects.filter(username=credentials["username"]).first()
        record_refusal(
            request,
            SecurityEvent.THROTTLED if was_locked else SecurityEvent.PASSWORD_WRONG,
            person,
            note="" if person else "An unknown name",
            person=person.get_username() if person else "",
        )


def is_own_password(request: HttpRequest, person: User, password: str) -> bool:
    """Say whether a password is the person's; wrong ones count like those of signing in.

    Where there were too many already, the answer is no, and axes' middleware replaces the page.
    """
    credentials = {"username": person.get_username(), "password": password}
    if authenticate(request, **credentials) is None:
        return False
    Throttle().reset_user_attempts(request, credentials)
    return True


def _failures(attempts: "QuerySet[Any]") -> int:
    return attempts.aggregate(count=Sum("failures_since_start"))["count"] or 0
