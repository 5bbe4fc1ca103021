"""Terraform and OpenTofu: which one, their commands, and reading a plan."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from core import bounded_json
from stacks.execution.isolation.system import SYSTEM_PATH
from stacks.execution.output.terminal import harmless
from stacks.execution.tools.calls import constraints_of
from stacks.execution.tools.destruction import destroys_everything
from stacks.execution.tools.plan_changes import MOST_CHANGES, Entry, count_drifted, entries_of
from stacks.execution.tools.plan_list import ACTIONS, in_order, resource_row
from stacks.models.stack import Tool
from stacks.rules.changes import DESTROYING
from stacks.rules.versions import Version, read_version
from stacks.tfstate.files import MOST_PARTS

LOCK_FILE = ".terraform.lock.hcl"
PLAN = "plan"
NO_CHANGES, CHANGES = 0, 2
# How long a plan waits for the lock of the state, which another program may hold.
LOCK_TIMEOUT = "-lock-timeout=60s"
# How many resources, and how many outputs, are stored for the page of a run, which lists them.
MOST_LISTED = 5000
# How much is kept of what a plan lists, in characters.
LONGEST = {"address": 500, "module": 500, "moved_from": 500, "name": 200}
# Since when a saved plan is applied with the files of variables that it was made with.
FIRST_WITH_VARIABLES = {Tool.TERRAFORM: (1, 10), Tool.OPENTOFU: (1, 8)}
# Since when `show -json` marks what a provider says is sensitive in the values before a change
# (hashicorp/terraform, pull requests 28523 and 28542); each OpenTofu does.
FIRST_WITH_MARKS = Version((0, 15, 1))
PROGRAMS = {Tool.TERRAFORM: "terraform", Tool.OPENTOFU: "tofu"}
VARIABLES = {Tool.TERRAFORM: "TERRAFORM_BIN", Tool.OPENTOFU: "TOFU_BIN"}


def binary(tool: str) -> str | None:
    """Return the path of a tool's program on this machine, or None where it is not there."""
    named = {Tool.TERRAFORM: settings.TERRAFORM_BIN, Tool.OPENTOFU: settings.TOFU_BIN}[Tool(tool)]
    return named or shutil.which(PROGRAMS[Tool(tool)], path=SYSTEM_PATH)


def init_command(program: str, options: Sequence[str] = ()) -> list[str]:
    return [program, "init", "-input=false", *options]


def plan_command(program: str, plan: str, *, locks: bool, options: Sequence[str] = ()) -> list[str]:
    """Return how to plan; what is not applied needs no lock of the state.

    `options` say what is planned otherwise than usual. Of an option that is there twice the last
    one counts, so they may have another timeout.
    """
    lock = LOCK_TIMEOUT if locks else "-lock=false"
    plain = [program, "plan", "-input=false", lock, "-detailed-exitcode", f"-out={plan}"]
    return [*plain, *options]


def show_command(program: str, plan: str) -> list[str]:
    return [program, "show", "-json", plan]


def apply_command(program: str, plan: str, options: Sequence[str] = ()) -> list[str]:
    return [program, "apply", "-input=false", LOCK_TIMEOUT, *options, plan]


def workspace_command(program: str, name: str, *, creates: bool) -> list[str]:
    """Return how to select a workspace; `creates` also makes one that is not there.

    TF_WORKSPACE would make one in any case: the backends write an empty state for a name that
    they don't know. The option -or-create is from Terraform 1.4 on.
    """
    script = '"$1" workspace select "$2"'
    if creates:
        script = f'{script} || "$1" workspace new "$2"'
    return ["sh", "-c", script, "workspace", program, name]


def apply_takes_variables(tool: str, version: str) -> bool:
    """Say whether a tool wants the files of variables again for a saved plan.

    Terraform does from 1.10 on, whose ephemeral variables are in no plan (Command: apply,
    “-var-file”); OpenTofu from 1.8 on, which evaluates variables early (What's new in OpenTofu
    1.8). Those before refuse them.
    """
    return read_version(version).numbers >= FIRST_WITH_VARIABLES[Tool(tool)]


def marks_sensitive(tool: str, version: str) -> bool:
    """Say whether the JSON of a plan marks every value that is sensitive."""
    return tool != Tool.TERRAFORM or read_version(version) >= FIRST_WITH_MARKS


def validate_command(program: str) -> list[str]:
    return [program, "validate", "-json"]


def read_json(printed: bytes) -> Any:
    """Read what a command printed with `-json`. Raises ValueError."""
    # Terraform 0.15 may print "o:" first, which its two processes use between them.
    return bounded_json.loads(printed[printed.find(b"{") :], MOST_PARTS)


@dataclass
class PlanSummary:
    """What a plan will do: how many resources, and which resources and outputs."""

    added: int = 0
    changed: int = 0
    destroyed: int = 0
    imported: int = 0
    moved: int = 0
    forgotten: int = 0
    changed_outputs: int = 0
    resources: list[dict[str, str]] = field(default_factory=list)
    outputs: list[dict[str, str]] = field(default_factory=list)
    left_out: int = 0
    destroys_everything: bool = False
    entries: list[Entry] = field(default_factory=list)
    constraints: Mapping[str, str] = field(default_factory=dict)

    @property
    def drifted(self) -> int:
        """How many resources were changed outside of Terraform."""
        return count_drifted(self.entries)

    @property
    def unlisted(self) -> int:
        """How much of it its page leaves out."""
        return max(0, len(self.entries) - MOST_CHANGES)

    def count(self, row: dict[str, str]) -> None:
        """Count what happens to one resource; some rows count more than once."""
        what = {row["action"], row.get("also")}
        self.added += bool(what & {"add", "replace"})
        self.changed += "change" in what
        self.destroyed += row["action"] in DESTROYING
        self.imported += "import" in what
        self.moved += "moved_from" in row
        self.forgotten += "forget" in what

    @property
    def counts(self) -> dict[str, Any]:
        """The fields of a run that say what its plan changes."""
        return {
            "added": self.added,
            "changed": self.changed,
            "destroyed": self.destroyed,
            "destroys_everything": self.destroys_everything,
            "imported": self.imported,
            "moved": self.moved,
            "forgotten": self.forgotten,
            "changed_outputs": self.changed_outputs,
            "plan": self.listed,
            "unlisted": self.unlisted,
        }

    @property
    def listed(self) -> dict[str, Any]:
        """What is stored besides the counts."""
        return {"resources": self.resources, "outputs": self.outputs, "left_out": self.left_out}


def read_plan(
    text: bytes, mask: Callable[[str], str], *, hides_values: bool = False
) -> PlanSummary | None:
    """Read what `show -json` printed; None when that is no plan.

    Its rows have no values: those of its entries are encrypted, and removed sooner. With
    `hides_values` entries keep none, where not every sensitive value is marked.
    """
    try:
        summary = _summary(read_json(text), hides_values)
    except (ValueError, AttributeError, TypeError, KeyError):
        return None
    for row in [*summary.resources, *summary.outputs]:
        # Nothing is cut before: what is left of a secret would not be known as one.
        for name, most in LONGEST.items():
            if name in row:
                row[name] = _cut(mask(harmless(row[name])), most)
    return summary


def _summary(plan: dict[str, Any], hides_values: bool) -> PlanSummary:
    entries = [replace(one, hides_values=hides_values) for one in entries_of(plan)]
    summary = PlanSummary(
        destroys_everything=destroys_everything(plan),
        entries=entries,
        constraints=constraints_of(plan),
    )
    for resource in plan.get("resource_changes") or []:
        if row := resource_row(resource):
            summary.resources.append(row)
            summary.count(row)
    for name, change in sorted((plan.get("output_changes") or {}).items()):
        if action := ACTIONS.get(tuple(change["actions"]), "change"):
            summary.outputs.append({"name": str(name), "action": action})
    summary.changed_outputs = len(summary.outputs)
    listed = len(summary.resources) + len(summary.outputs)
    summary.resources = in_order(summary.resources)[:MOST_LISTED]
    summary.outputs = summary.outputs[:MOST_LISTED]
    summary.left_out = listed - len(summary.resources) - len(summary.outputs)
    return summary


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"
