"""What stacks ask of modules: a `stacks.module_registry.ModuleRegistry`."""

from modules.models import Module, ModuleDecision
from stacks.module_registry import Following
from vcs_integrations.consumer import Part
from vcs_integrations.models import Delivery, Integration

DECISIONS_SHOWN = 100
MODULES_SHOWN = 20


def follow(integration: Integration, repository_id: str) -> Following | None:
    return None


def decisions_on(delivery: Delivery) -> Part | None:
    """Return, for each module, a version or the reason for none; None where nothing was decided."""
    ours = ModuleDecision.objects.filter(delivery=delivery).for_pages().order_by("pk")
    found = list(ours[: DECISIONS_SHOWN + 1])
    if not found:
        return None
    context = {"decisions": found[:DECISIONS_SHOWN], "has_more": len(found) > DECISIONS_SHOWN}
    return Part("modules/deciding/decisions_on_delivery.html", context)


def dependents_of(integration: Integration) -> Part:
    """Return the modules that unlinking an integration would detach."""
    modules = Module.objects.of(integration)
    context = {"count": modules.count(), "first": modules[:MODULES_SHOWN]}
    return Part("modules/deciding/dependents.html", context)
