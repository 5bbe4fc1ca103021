"""How wrong passwords are slowed down, on the sign-in page and wherever else one is typed.

Wrong tokens are counted, too. They lock nothing: a token has 256 random bits, which nobody guesses,
and a lock would let one broken program stop all others behind its address. After the most of them,
an address is only told to wait, at no further cost.
"""

from contextlib import suppress
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.contrib.auth import authenticate
from django.db import DatabaseError, transaction
from django.db.models import F, QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone

from accounts.audit.records import SecurityEvent
from accounts.audit.refusals import record_refusal
from accounts.client_address import throttled_address
from accounts.models import User

# How many wrong passwords lock for AXES_COOLOFF_TIME.
FOR_ONE_NAME_FROM_ONE_ADDRESS = 5
FOR_ONE_NAME = 10
FROM_ONE_ADDRESS = 10
# What wrong tokens are counted by in place of a username: none has a space.
TOKENS = "a token"


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
                (recent.filter(ip_address=address).exclude(username=TOKENS), FROM_ONE_ADDRESS),
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


def refuse_token(request: HttpRequest) -> bool:
    """Count a wrong token, and note it in the audit log; say whether there were too many before."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    of_address = {
        "username": TOKENS,
        "ip_address": throttled_address(request) or None,
        "user_agent": "",
    }
    counted = AccessAttempt.objects.filter(**of_address)
    recent = counted.filter(attempt_time__gte=since)
    if _failures(recent) >= FROM_ONE_ADDRESS:
        return True
    with suppress(DatabaseError), transaction.atomic():
        counted.filter(attempt_time__lt=since).delete()
        if not recent.update(failures_since_start=F("failures_since_start") + 1):
            AccessAttempt.objects.create(
                **of_address, failures_since_start=1, get_data="", post_data="", path_info=""
            )
    record_refusal(request, SecurityEvent.TOKEN_REFUSED)
    return False


def _failures(attempts: "QuerySet[Any]") -> int:
    return attempts.aggregate(count=Sum("failures_since_start"))["count"] or 0
