"""Whether the database that DATABASE_URL names can be used."""

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection


def refuse_unreachable() -> None:
    """Raise ImproperlyConfigured when the database gives no connection; leave none open."""
    try:
        connection.ensure_connection()
    except Error as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ImproperlyConfigured(
            f"DATABASE_URL names a database that can't be used: {reason}."
        ) from error
    finally:
        connection.close()
