"""How tests let deliveries arrive, repositories be read, and versions be published."""

from dataclasses import dataclass

from django.utils import timezone

from modules.deciding.importing import import_next
from modules.models import CheckState, Module, ModuleVersion, VersionState
from modules.rules.decisions import Rule
from stacks.deciding.reconciliation import reconcile
from tests.builders import archive_of, make_archive
from tests.emulator import Emulator
from tests.endpoint import Endpoint
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.webhooks.processing import process_due


@dataclass(frozen=True)
class Hearing:
    """An integration that hears of pushes, by webhooks or by reading."""

    integration: Integration
    emulator: Emulator

    def deliver(self) -> list[Delivery]:
        """Hand over what the hooks sent, and process it; return the deliveries."""
        before = Delivery.objects.count()
        for request in self.emulator.deliveries.take():
            self.receive(request.body)
        self.process()
        return list(Delivery.objects.order_by("pk")[before:])

    def receive(self, body: bytes) -> None:
        assert Endpoint(self.integration).post(body).status_code == 200

    def process(self) -> None:
        while process_due():
            pass

    def lose(self) -> None:
        """Let nobody hear of what the hooks sent."""
        self.emulator.deliveries.take()


def read_again(module: Module) -> None:
    """Reconcile a module's repository."""
    reconcile(Repository.objects.select_related("integration").get(pk=module.repository_id))


def list_tags(module: Module) -> None:
    """Have the tags of a module listed, as if its time had come."""
    Module.objects.exclude(pk=module.pk).update(due_at=None)
    Module.objects.filter(pk=module.pk).update(due_at=timezone.now())
    assert import_next()
    module.refresh_from_db()


def publish(module: Module) -> list[str]:
    """Publish what waits, as run workers do; return the numbers."""
    published = []
    due = set(checked(module))
    for version in module.versions.filter(state=VersionState.WAITING):
        assert version.sha in due
        archive = make_archive(archive_of({"main.tf": f"# {version.sha}"}))
        version.state, version.archive = VersionState.PUBLISHED, archive
        version.published_at = timezone.now()
        version.save()
        published.append(version.number)
    module.checks.update(state=CheckState.PASSED, due_at=None)
    return published


def versions(module: Module) -> dict[str, tuple[str, str, str]]:
    """Return tag, commit and state of each version by its number."""
    return {one.number: (one.tag, one.sha, one.state) for one in module.versions.all()}


def version(module: Module, number: str) -> ModuleVersion:
    return module.versions.get(number=number)


def rules(module: Module) -> list[str]:
    """Return the rules by which was decided, the oldest first; not what was repeated."""
    return [one.rule for one in module.decisions.order_by("pk") if one.rule != Rule.DECIDED]


def checked(module: Module) -> list[str]:
    """Return the commits that are due to be checked."""
    return [one.sha for one in module.checks.order_by("pk") if one.due_at]
