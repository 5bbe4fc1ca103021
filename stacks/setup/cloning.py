"""Create a stack with the settings of another: what the steps say at first, what is copied."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from stacks.environment.copying import Copying, copying_of
from stacks.models import Reach, Stack
from stacks.setup.forms import StackStepForm

# Arguments that a clone gets. The others choose a state, which two stacks must not share, or are
# for admins.
COPIED_ARGUMENTS = ("var_files", "plan_arguments", "apply_arguments")
OTHER_ARGUMENTS = {
    "workspace": "workspace",
    "backend_config": "backend configuration",
    "commands": "commands",
}
MOST_NAMED = 5  # of each kind that a clone does not get


@dataclass(frozen=True)
class Clone:
    """The stack whose settings are copied, and what is copied of its variables."""

    stack: Stack
    variables: Copying

    def first_values(self, steps: tuple[type[StackStepForm], ...]) -> dict[str, str]:
        """Return what the steps say at first, as a browser sends it, with a name of its own."""
        typed = {
            name: _as_typed(value)
            for step in steps
            for name, value in step.initial_of(self.stack).items()
        }
        return typed | {"name": _free_name(self.stack.name)}

    @property
    def stack_fields(self) -> dict[str, Any]:
        """The columns of the new stack that no step decides."""
        copied = {name: getattr(self.stack, name) for name in COPIED_ARGUMENTS}
        # Whoever clones a stack must not open it to code that an admin closed it to.
        return copied | {"plans_module_changes": self.stack.plans_module_changes}

    @property
    def arguments_left(self) -> str:
        """The arguments that are not copied, in words; empty if there are none."""
        return ", ".join(
            words for name, words in OTHER_ARGUMENTS.items() if getattr(self.stack, name)
        )

    @property
    def left(self) -> list[str]:
        """What else the stack has that a clone does not get, in words."""
        schedules = self.stack.schedules.count()
        by_hand = self.stack.attachments.filter(is_by_hand=True).in_order()
        after = self.stack.dependencies.select_related("on")
        grants = self.stack.read_grants.select_related("stack")
        found = [
            "module access" if self.stack.reach != Reach.PROJECT else "",
            "who confirms runs" if self.stack.restricts_confirmation else "",
            _named("environments attached by hand", [one.environment.name for one in by_hand]),
            f"{schedules} schedule{'' if schedules == 1 else 's'}" if schedules else "",
            _named("dependencies on", [one.on.name for one in after]),
            _named("permission to read the outputs of", [one.stack.name for one in grants]),
        ]
        return [words for words in found if words]

    @property
    def note(self) -> str:
        """What the audit log says."""
        parts = [f"Settings of {self.stack.name}"]
        if self.variables.copied:
            parts.append(f"variables copied: {self.variables.copied}")
        if self.variables.left:
            parts.append(f"not copied: {self.variables.left}")
        if self.arguments_left:
            parts.append(f"arguments not copied: {self.arguments_left}")
        if left := self.left:
            parts.append(f"left out: {'; '.join(left)}")
        return "; ".join(parts)


def _named(what: str, names: list[str]) -> str:
    """Return words that name a few, and how many more there are; empty for none."""
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{what} {', '.join(names[:MOST_NAMED])}{more}"


def clone_in(request: HttpRequest) -> Clone | None:
    """Return what a request clones; None if it names no stack that is there."""
    sent = request.POST if request.method == "POST" else request.GET
    slug = sent.get("clone", "").replace("\0", "")
    found = Stack.objects.with_repository().filter(slug=slug).first() if slug else None
    return Clone(found, copying_of(found)) if found else None


def _as_typed(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    return str(value)


def _free_name(name: str) -> str:
    """Return a name for a copy that no stack has."""
    base = f"{name[:90]} copy"
    taken = {one.lower() for one in Stack.objects.values_list("name", flat=True)}
    numbered = (f"{base} {number}" for number in range(2, len(taken) + 3))
    return next(one for one in [base, *numbered] if one.lower() not in taken)
