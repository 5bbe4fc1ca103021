"""What must come of each repository of this folder, once it is proposed, pushed and applied.

Each is a folder of the files that a team has; `<name>.next` is what the team pushes afterwards. How
one gets into an organization is in tests/stacks/execution/test_repositories.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stacks.models import Backend

OWN = {"backend": Backend.OWN}
ONE = "planned: 1 to add, 0 to change, 0 to destroy"
OUTPUT = "planned: 0 to add, 0 to change, 0 to destroy, 1 output"
ONE_APPLIED = "applied: 1 added, 0 changed, 0 destroyed"
OUTPUT_APPLIED = "applied: 0 added, 0 changed, 0 destroyed, 1 output"


@dataclass(frozen=True)
class Case:
    """A repository, how its stack is set up, and what must be seen.

    `status` begins the pull request's status, which fails if it begins with “failed”. Its comment
    has each text of `comment`. `applied` is the commit's status after the push and Confirm, and
    `then` that of `<name>.next`; they are empty where nothing is pushed. The last run's log has
    `log`, and its page `page`; `secret` must be nowhere.
    """

    name: str
    status: str
    comment: Sequence[str] = ()
    applied: str = ""
    then: str = ""
    log: str = ""
    page: str = ""
    secret: str = ""
    stack: Mapping[str, Any] = field(default_factory=dict)


CASES = [
    # One code, many environments
    Case(
        "by-var-file",
        "planned: 4 to add, 0 to change, 0 to destroy, 1 output",
        [" + module.app.terraform_data.instance[3]", " + output environment"],
        "applied: 4 added, 0 changed, 0 destroyed, 1 output",
        log='environment = "prod"',
        stack={"var_files": ["environments/prod.tfvars"]},
    ),
    Case(
        "by-folder",
        f"{ONE}, 1 output",
        [" + module.network.terraform_data.network"],
        f"{ONE_APPLIED}, 1 output",
        log='cidr = "10.2.0.0/16"',
        stack={"project_root": "live/prod"},
    ),
    # What the code calls
    Case(
        "submodule",
        OUTPUT,
        [" + output answer"],
        OUTPUT_APPLIED,
        log='answer = "shared"',
        stack={"reach": "organization"},  # it is in another project
    ),
    Case(
        "generated",
        "planned: 2 to add, 0 to change, 0 to destroy",
        [" + terraform_data.network", " + terraform_data.storage"],
        "applied: 2 added, 0 changed, 0 destroyed",
        log="Before init: sh generate.sh",
    ),
    Case("links", ONE, [" + terraform_data.shared"], stack={"project_root": "live"}),
    Case(
        "windows",
        f"{ONE}, 1 output",
        [" + output one"],
        f"{ONE_APPLIED}, 1 output",
        log='one = "line"',
    ),
    # Versions and backends
    Case("terraform-version", "failed: Terraform 0.1.2 (from .terraform-version) is not on"),
    Case("required-version", "failed: Terraform < 0.2 (from required_version) is not on"),
    Case("backend-in-code", "failed: main.tf names a backend, and Stackhook is to keep the state"),
    Case(
        "partial-backend",
        ONE,
        applied=ONE_APPLIED,
        stack=OWN | {"backend_config": ["backends/prod.hcl", "lock_method=LOCK"]},
    ),
    Case("committed-state", "failed: terraform.tfstate in the project root is a state"),
    Case("empty-root", "failed: The project root holds no Terraform configuration."),
    # What fails
    Case(
        "failing-plan",
        "failed: Resource precondition failed",
        ["There is no zone moon.", "on main.tf line 7"],
    ),
    Case(
        "failing-apply",
        "planned: 3 to add, 0 to change, 0 to destroy",
        applied="failed: local-exec provisioner error",
        # The second one is tainted, and the third one is missing.
        then="applied: 2 added, 0 changed, 1 destroyed",
        log="Apply complete! Resources: 2 added, 0 changed, 1 destroyed.",
    ),
    Case(
        "missing-variable",
        "failed: No value for required variable",
        page="Set TF_VAR_subscription in the stack&#x27;s environment",
    ),
    Case("unknown-for-each", "failed: Invalid for_each argument", ["known only after apply"]),
    # What plans hold
    Case(
        "refactoring",
        "planned: 3 to add, 0 to change, 0 to destroy",
        applied="applied: 3 added, 0 changed, 0 destroyed",
        then="applied: 1 imported, 1 added, 0 changed, 1 destroyed, 1 moved, 1 forgotten",
        log="terraform_data.adopted: Import complete",
    ),
    Case(
        "sensitive",
        f"{ONE}, 2 outputs",
        [" + output password", " + output user"],
        f"{ONE_APPLIED}, 2 outputs",
        secret="correct-horse",
    ),
    Case("checks", ONE, applied=ONE_APPLIED, log="Warning: Check block assertion failed"),
    Case(
        "overrides",
        f"{ONE}, 1 output",
        applied=f"{ONE_APPLIED}, 1 output",
        log='one = "overridden, too"',
    ),
    Case(
        "json-configuration",
        "planned: 2 to add, 0 to change, 0 to destroy, 1 output",
        [" + terraform_data.one[1]"],
        "applied: 2 added, 0 changed, 0 destroyed, 1 output",
    ),
    Case(
        "unicode",
        "planned: 5 to add, 0 to change, 0 to destroy, 1 output",
        [
            " + module.модуль.terraform_data.один",
            ' + terraform_data.straße["a|b`c*d"]',
            ' + terraform_data.straße["🚀"]',
            " + output größe",
        ],
        "applied: 5 added, 0 changed, 0 destroyed, 1 output",
        log='größe = "zwölf „Zoll“ 📏"',
    ),
    # What is large
    Case(
        "many-resources",
        "planned: 2000 to add, 0 to change, 0 to destroy",
        [" + terraform_data.host[0]", "more"],
    ),
    Case("long-output", OUTPUT, [" + output lines"], log="01023 0123456789"),
]
# Those that any Terraform can run, as they have no resources.
OF_ANY_VERSION = [
    Case(
        "variables-in-files",
        OUTPUT,
        [" + output all"],
        OUTPUT_APPLIED,
        log='all = "first second third"',
    ),
    Case(
        "private-modules",
        OUTPUT,
        [" + output answers"],
        OUTPUT_APPLIED,
        log='"inner v1",',
    ),
    Case("lfs", OUTPUT, [" + output size"], OUTPUT_APPLIED, log="size = 4321"),
]
BY_WORKSPACE = Case(
    "by-workspace",
    "planned: 3 to add, 0 to change, 0 to destroy, 1 output",
    applied="applied: 3 added, 0 changed, 0 destroyed, 1 output",
    log='environment = "prod"',
    stack=OWN | {"workspace": "prod", "backend_config": ["backends/pg.hcl"]},
)
