"""`manage.py reconcile`: read from the provider what happened, without waiting for its turn."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from stacks.deciding.reconciliation import LEASE, reconcile
from vcs_integrations.models import Integration, Repository
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND, ProviderError


class Command(BaseCommand):
    help = "Read what happened in the repositories that stacks use, and start missing runs."

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        for integration in Integration.objects.usable():  # names may have changed
            refresh(integration, BACKGROUND)
        for pk in Repository.objects.to_reconcile().values_list("pk", flat=True):
            row = Repository.objects.filter(pk=pk).select_related("integration")
            claimed = row.claim_these(LEASE)
            if not claimed:
                self.stdout.write(f"{Repository.objects.get(pk=pk)}: the worker is reading it")
                continue
            [repository] = claimed
            try:
                found = [one for one in reconcile(repository) if one.run]
            except ProviderError as error:
                failed += 1
                self.stderr.write(f"{repository}: {error}")
            else:
                self.stdout.write(f"{repository}: {_count(len(found), 'new run')}")
        if failed:
            names = _count(failed, "repository", "repositories")
            raise CommandError(f"{names} could not be read; the worker tries again.")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
