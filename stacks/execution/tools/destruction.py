"""Whether a plan destroys every resource in the state.

Read from what `show -json` prints:
https://developer.hashicorp.com/terraform/internals/json-format names the fields.
"""

from collections.abc import Iterator
from typing import Any

# An address, and the key of a deposed object: what is left of an instance that was replaced.
Instance = tuple[str, str]


def destroys_everything(plan: dict[str, Any]) -> bool:
    """Say whether no managed resource in the state outlives a plan, and one at least is destroyed.

    A replaced resource does not outlive it: what there is now is destroyed. One that the state
    only forgets neither outlives the plan nor is destroyed by it.
    """
    ended: set[Instance] = set()
    kept: set[Instance] = set()
    imported: set[Instance] = set()
    destroys = False
    for resource in plan.get("resource_changes") or []:
        if resource.get("mode", "managed") != "managed":
            continue
        change = resource["change"]
        instance = (resource["address"], resource.get("deposed") or "")
        destroys = destroys or "delete" in change["actions"]
        if change.get("importing"):
            imported.add(instance)
        elif {"delete", "forget"} & set(change["actions"]):
            ended.add(instance)
        elif change["actions"] != ["create"]:
            kept.add(instance)
    return destroys and not kept and _in_state(plan) <= ended | imported


def _in_state(plan: dict[str, Any]) -> set[Instance]:
    values = (plan.get("prior_state") or {}).get("values") or {}
    return set(_managed(values.get("root_module") or {}))


def _managed(module: dict[str, Any]) -> Iterator[Instance]:
    """Yield what a module of the state manages, with what the modules below it do."""
    for resource in module.get("resources") or []:
        if resource["mode"] == "managed":
            yield resource["address"], resource.get("deposed_key") or ""
    for child in module.get("child_modules") or []:
        yield from _managed(child)
