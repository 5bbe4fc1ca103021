"""What people are notified of."""

from django.db.models import TextChoices


class Event(TextChoices):
    """What happened to a run; the word is stored, so it never changes."""

    WAITING = "waiting", "Waiting for confirmation"
    FAILED = "failed", "Failed"
    DRIFT = "drift", "Drift found"
    APPLIED = "applied", "Applied"


def labels_of(events: list[str]) -> str:
    """Return events that are stored in a list as text, in their usual order."""
    return ", ".join(event.label for event in Event if event in events)
