"""Azure DevOps' dates: ISO 8601 with up to seven fractional digits."""

import re
from datetime import UTC, datetime


def read_date(text: str) -> datetime | None:
    """Return a date with its time zone (UTC where none is said), or None when unreadable."""
    try:
        date = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
