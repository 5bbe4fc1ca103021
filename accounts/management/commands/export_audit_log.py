"""Prints the audit log as JSON lines: `manage.py export_audit_log > audit-log.jsonl`."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.audit.records import entries, json_lines


class Command(BaseCommand):
    help = "Prints the audit log as JSON lines, oldest entry first."

    def handle(self, *args: Any, **options: Any) -> None:
        for line in json_lines(entries()):
            self.stdout.write(line, ending="")
