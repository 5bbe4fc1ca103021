"""`manage.py rotate_encryption_key`: encrypt every stored secret with FIELD_ENCRYPTION_KEY."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from core.key_rotation import Outcome, SecretField, secret_fields
from vcs_integrations.models import Credentials

PRINT_EVERY = 50


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with FIELD_ENCRYPTION_KEY; what it was encrypted with until "
        "now is FIELD_ENCRYPTION_OLD_KEY. It may be interrupted and started again at any time."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        counts = dict.fromkeys(Outcome, 0)
        if Credentials._meta.db_table not in connection.introspection.table_names():
            raise CommandError(
                "This database holds nothing of Stackhook's: check DATABASE_URL, and that "
                "“manage.py migrate” was run on it."
            )
        for field in secret_fields():
            self._rotate(field, counts)
        encrypted, unreadable = counts[Outcome.ENCRYPTED], counts[Outcome.UNREADABLE]
        self.stdout.write(f"Re-encrypted: {encrypted}. Already done: {counts[Outcome.WAS_DONE]}.")
        has_old_key = bool(settings.FIELD_ENCRYPTION_OLD_KEY)
        if unreadable:
            keys = "FIELD_ENCRYPTION_KEY" + " or FIELD_ENCRYPTION_OLD_KEY" * has_old_key
            raise CommandError(
                f"{unreadable} secrets could not be read with {keys}, and stay as they are: they "
                f"are named above. Set the key that they were stored with as "
                f"FIELD_ENCRYPTION_OLD_KEY and start this again, or enter them again."
            )
        self.stdout.write("Every secret is encrypted with FIELD_ENCRYPTION_KEY.")
        if has_old_key:
            self.stdout.write("FIELD_ENCRYPTION_OLD_KEY can be removed.")

    def _rotate(self, field: SecretField, counts: dict[Outcome, int]) -> None:
        """Go through the rows that are left, count the results, and print progress."""
        total, left = field.all().count(), field.left().count()
        counts[Outcome.WAS_DONE] += total - left
        number = 0
        for number, key in enumerate(field.keys_left(), start=1):
            outcome = field.rotate(key)
            counts[outcome] += 1
            if outcome == Outcome.UNREADABLE:
                self.stderr.write(f"{field}: {field.describe(key)} can't be decrypted.")
            if number % PRINT_EVERY == 0:
                self.stdout.write(f"{field}: {number} of {left}")
        self.stdout.write(f"{field}: {number} of {left}")
