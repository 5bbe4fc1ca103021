"""Why a plan does something to a resource, in words for people."""

# "Plan Representation", action_reason:
# https://developer.hashicorp.com/terraform/internals/json-format
REASONS = {
    "replace_because_tainted": "Replaced because it is tainted: an apply left it incomplete.",
    "replace_because_cannot_update": "Replaced because it can't be updated in place.",
    "replace_by_request": "Replaced because the run asks for it.",
    "replace_by_triggers": "Replaced because something in replace_triggered_by changes.",
    "delete_because_no_resource_config": "Destroyed because the code no longer has it.",
    "delete_because_no_module": "Destroyed because the code no longer has its module.",
    "delete_because_wrong_repetition": (
        "Destroyed because its key doesn't fit the code's count or for_each."
    ),
    "delete_because_count_index": "Destroyed because its index is beyond count.",
    "delete_because_each_key": "Destroyed because for_each no longer has its key.",
    "delete_because_no_move_target": (
        "Destroyed because it was moved to an address that the code doesn't have."
    ),
}
