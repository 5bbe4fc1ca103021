"""What a plan changes, in numbers and words: the same on pages, in statuses and in comments."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

# In the order in which Terraform counts; what Terraform itself does not count comes last.
TO_DO = {
    "imported": "to import",
    "added": "to add",
    "changed": "to change",
    "destroyed": "to destroy",
    "moved": "moved",
    "forgotten": "forgotten",
}
DONE = TO_DO | {
    "imported": "imported",
    "added": "added",
    "changed": "changed",
    "destroyed": "destroyed",
}
WILL = {
    "imported": "import",
    "added": "add",
    "changed": "change",
    "destroyed": "destroy",
    "moved": "move",
    "forgotten": "forget",
}
# The others are counted only where there are any.
ALWAYS_COUNTED = {"added", "changed", "destroyed"}

DESTROYING = {"destroy", "replace"}


@dataclass(frozen=True)
class Changes:
    """How many resources a plan adds, changes and so on, and how many outputs change.

    One resource may count more than once: a replaced one is added and destroyed. What is
    forgotten is no longer managed, but not destroyed.
    """

    added: int
    changed: int
    destroyed: int
    outputs: int = 0
    imported: int = 0
    moved: int = 0
    forgotten: int = 0

    def __bool__(self) -> bool:
        return any(astuple(self))

    def text(self, words: dict[str, str]) -> str:
        """Return the counts in words, like "2 to add, 0 to change, 1 to destroy" with `TO_DO`."""
        counted = {name: getattr(self, name) for name in words}
        parts = [
            f"{count} {words[name]}"
            for name, count in counted.items()
            if count or name in ALWAYS_COUNTED
        ]
        if self.outputs:
            parts.append(f"{self.outputs} output{'' if self.outputs == 1 else 's'}")
        return ", ".join(parts)


def count_destroying(rows: Iterable[dict[str, str]]) -> int:
    """Return how many of a plan's rows destroy a resource, for good or to replace it."""
    return sum(row.get("action") in DESTROYING for row in rows)
