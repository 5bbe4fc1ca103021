"""What a run plans otherwise than usual, as options of `terraform plan`.

https://developer.hashicorp.com/terraform/cli/commands/plan#planning-modes and #planning-options
name them. Every address was checked when the run was triggered, and each is one argument of its
own, so that none is taken for another option.
"""

from stacks.models import Run
from stacks.rules.states import Operation

MODES = {
    Operation.APPLY: [],
    Operation.DESTROY: ["-destroy"],
    Operation.REFRESH_ONLY: ["-refresh-only"],
}


def options_of(run: Run) -> list[str]:
    targets = [f"-target={address}" for address in run.targets]
    replacements = [f"-replace={address}" for address in run.replacements]
    return [*MODES[Operation(run.operation)], *targets, *replacements]
