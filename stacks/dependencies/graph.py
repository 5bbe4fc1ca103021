"""Which stacks run after which: never in a circle."""

from django.db import transaction

from stacks.models import Dependency, Stack


class Circle(Exception):
    """A dependency that would have a stack run after itself; the text names the stacks."""


@transaction.atomic
def depend(stack: Stack, on: Stack, outputs: list[str]) -> Dependency:
    """Have a stack run after another one changed these outputs, or any if there are none.

    What the other's state holds now counts as seen. Raises Circle, and IntegrityError where the
    stack depends on it already.
    """
    # All of them, in one order: two dependencies that close a circle together wait for each other.
    list(Stack.objects.order_by("pk").select_for_update().values_list("pk"))
    if path := _path(on, stack):
        names = " → ".join(one.name for one in [stack, *path])
        raise Circle(
            f"{on} runs after {stack} already, so they would run in a circle: {names}. Remove one "
            f"of these dependencies first."
        )
    newest = on.state_versions.values_list("number", flat=True).first()
    return Dependency.objects.create(stack=stack, on=on, outputs=outputs, seen_version=newest or 0)


def _path(start: Stack, goal: Stack) -> list[Stack]:
    """Return the stacks from one to another, each of which runs after the next; empty if none."""
    after: dict[int, list[int]] = {}
    for stack, on in Dependency.objects.values_list("stack", "on"):
        after.setdefault(stack, []).append(on)
    came_from: dict[int, int] = {start.pk: 0}
    waiting = [start.pk]
    while waiting:
        here = waiting.pop()
        if here == goal.pk:
            break
        for following in after.get(here, []):
            if following not in came_from:
                came_from[following] = here
                waiting.append(following)
    if goal.pk not in came_from:
        return []
    keys = [goal.pk]
    while came_from[keys[-1]]:
        keys.append(came_from[keys[-1]])
    stacks = Stack.objects.in_bulk(keys)
    return [stacks[key] for key in reversed(keys)]
