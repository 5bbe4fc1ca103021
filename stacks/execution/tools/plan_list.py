"""The list of what a plan does with resources, read from the JSON of `terraform show`.

Each row has an `address` and an `action`. `module` is the module that it is in, if that is not the
root; `moved_from` is the address before, where that differs; `also` is what happens in addition: an
import, or that the replaced object is forgotten.
"""

from typing import Any

from stacks.rules.addresses import with_long_numbers
from stacks.rules.changes import DESTROYING

# https://developer.hashicorp.com/terraform/internals/json-format#change-representation
ACTIONS = {
    ("create",): "add",
    ("update",): "change",
    ("delete",): "destroy",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("create", "forget"): "add",
    ("forget", "create"): "add",
    ("read",): "read",
    ("forget",): "forget",
    ("no-op",): "",
}
MOST_SERIOUS_FIRST = ("destroy", "replace", "change", "add", "import", "move", "forget")


def resource_row(resource: dict[str, Any]) -> dict[str, str] | None:
    """Return the row of one of a plan's `resource_changes`; None if nothing happens to it.

    Reading a data source changes nothing.
    """
    if resource.get("mode", "managed") != "managed":
        return None
    address, change = str(resource["address"]), resource["change"]
    actions = tuple(change["actions"])
    row = {"address": address, "action": ACTIONS.get(actions, "change")}
    if module := resource.get("module_address"):
        row["module"] = str(module)
    is_imported = change.get("importing") is not None
    before = str(resource.get("previous_address") or address)
    if before != address:
        row["moved_from"] = before
    if not row["action"]:
        row["action"] = "import" if is_imported else "move" if before != address else ""
    elif is_imported:
        row["also"] = "import"
    elif "forget" in actions and row["action"] != "forget":
        row["also"] = "forget"
    return row if row["action"] else None


def in_order(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return rows in the order in which people read a plan: by `rank`."""
    return sorted(rows, key=rank)


def rank(row: dict[str, str]) -> tuple[bool, str, int, str]:
    """Return what orders a row: what destroys comes first, then module by module.

    Within a module, the most serious action comes first, and those of one by address, 2 before 10.
    """
    action = row["action"]
    ranks = {one: place for place, one in enumerate(MOST_SERIOUS_FIRST)}
    module = with_long_numbers(row.get("module", ""))
    place = ranks.get(action, len(ranks))
    return (action not in DESTROYING, module, place, with_long_numbers(row["address"]))
