"""Passwords of runs, with which their programs reach the state and the module registry."""

import hmac
import secrets
from datetime import timedelta

from django.utils import timezone

from stacks.models import Backend, Run, RunCredential, StateLock
from stacks.rules.states import State
from vcs_integrations.providers.base import digest

USERNAME = "run-"
RUNNING = {State.PREPARING, State.PLANNING, State.APPLYING}


def issue_credential(run: Run) -> str:
    """Return a new password of a run, as `username_of(run)`.

    It holds while the run prepares, plans or applies. An earlier one of the same run no longer
    does, and what an earlier planning of it had locked is free.
    """
    password = secrets.token_urlsafe(32)
    fresh = {
        "password_digest": digest(password.encode()),
        "reaches_state": run.stack.backend == Backend.STACKHOOK,
        "apply_ends_by": None,
        "kept_lock_id": "",
    }
    RunCredential.objects.update_or_create(run=run, defaults=fresh)
    StateLock.objects.filter(run=run).exclude(taken_while=State.APPLYING).delete()
    return password


def limit_apply(run: Run, limit: timedelta) -> None:
    """Store how long the apply that a run is about to start may take."""
    RunCredential.objects.filter(run=run).update(apply_ends_by=timezone.now() + limit)


def username_of(run: Run) -> str:
    return f"{USERNAME}{run.pk}"


def registry_token_of(run: Run, password: str) -> str:
    """Return the token with which a run reads the module registry, from its password."""
    return f"{username_of(run)}.{password}"


def run_of_token(token: str) -> Run | None:
    """Return the run that a token for the registry is of, with its stack; None if none holds."""
    username, _, password = token.partition(".")
    run = run_with_password(username.encode(errors="replace"), password.encode(errors="replace"))
    return run if run and run.state in RUNNING else None


def run_with_password(username: bytes, password: bytes) -> Run | None:
    """Return the run whose name and password these are, with its stack; it may have ended."""
    pk = username.decode(errors="replace").removeprefix(USERNAME)
    credential = (
        RunCredential.objects.filter(
            run_id=int(pk) if pk.isascii() and pk.isdigit() and len(pk) < 19 else 0
        )
        .select_related("run__stack__repository")
        .first()
    )
    expected = credential.password_digest if credential else ""
    if credential is None or not hmac.compare_digest(digest(password), expected):
        return None
    return credential.run
