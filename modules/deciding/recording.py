"""Storing what was decided: each subject once for a module, whatever tells of it how often."""

from collections.abc import Iterable, Sequence

from modules.models import Module, ModuleDecision, ModuleVersion
from modules.rules.decisions import ONLY_FOR_DELIVERIES, REPEATED, Decided, Rule
from stacks.module_registry import Verdict
from vcs_integrations.models import Delivery


class Ledger:
    """The decisions that modules of a repository have about some subjects.

    New ones are stored by `save`.
    """

    def __init__(self, modules: Sequence[Module], subjects: Iterable[str]) -> None:
        self._once: dict[tuple[int, str], ModuleDecision] = {}
        self._of_delivery: dict[tuple[int, str, int], ModuleDecision] = {}
        self._new: list[ModuleDecision] = []
        of_repository = ModuleDecision.objects.filter(
            module__repository=modules[0].repository_id, subject__in=[*subjects]
        )
        for one in of_repository.select_related("version").order_by("pk"):
            self._remember(one)

    def has_decided(self, module: Module, subject: str) -> bool:
        """Say whether a subject was decided by a rule that decides once."""
        return (module.pk, subject) in self._once

    def repeat(self, module: Module, subject: str, delivery: Delivery | None) -> Verdict | None:
        """Say of a delivery that its subject was decided before; None where none tells of it.

        A delivery that is processed again keeps what was decided for it.
        """
        earlier = self._once[module.pk, subject]
        if delivery is None:
            return None
        mine = self._of_delivery.get((module.pk, subject, delivery.pk))
        if mine is None:
            decided = Decided(Rule.DECIDED, f"It was decided before: {earlier.sentence}")
            mine = ModuleDecision.of(module, subject, decided, delivery, earlier.version)
            self._add(mine)
        return verdict_on(mine, module)

    def add(
        self,
        module: Module,
        subject: str,
        decided: Decided,
        delivery: Delivery | None,
        version: ModuleVersion | None = None,
        position: int | None = None,
    ) -> Verdict | None:
        """Add a decision; None where a reconciliation need not store one of its kind."""
        if delivery is None and decided.rule in ONLY_FOR_DELIVERIES:
            return None
        mine = delivery and self._of_delivery.get((module.pk, subject, delivery.pk))
        if mine and mine.rule == decided.rule:
            return verdict_on(mine, module)
        made = ModuleDecision.of(module, subject, decided, delivery, version)
        made.position = position
        self._add(made)
        return verdict_on(made, module)

    def save(self) -> None:
        """Store what was added."""
        ModuleDecision.objects.bulk_create(self._new)
        self._new.clear()

    def _add(self, made: ModuleDecision) -> None:
        self._new.append(made)
        self._remember(made)

    def _remember(self, one: ModuleDecision) -> None:
        if one.rule not in REPEATED:
            self._once.setdefault((one.module_id, one.subject), one)
        if one.delivery_id:
            self._of_delivery.setdefault((one.module_id, one.subject, one.delivery_id), one)


def verdict_on(decision: ModuleDecision, module: Module) -> Verdict:
    """Return what a delivery's outcome says of a decision."""
    version = decision.version if decision.makes_version else None
    name = f"Version {version.number} of {module.address}" if version else ""
    return Verdict(decision.sentence, name)
