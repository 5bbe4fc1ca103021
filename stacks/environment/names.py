"""Which names variables and files of an environment may have."""

import re

from django.conf import settings

ORDINARY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What follows TF_VAR_ is a name of Terraform's, which may have hyphens.
INPUT_NAME = re.compile(r"TF_VAR_[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
# Of a file's path below the folder of files
PART_OF_PATH = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", re.ASCII)
MOST_PARTS_OF_PATH = 8
# Variables that each run has its own values of
RESERVED = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "ENV", "BASH_ENV", "IFS"}
RESERVED_PREFIXES = ("LD_", "STACKHOOK_")
INPUT = "TF_VAR_"
FREE_OF_TF = (INPUT, "TF_TOKEN_")
# What inputs and the usual providers read. Anything else may steer git, the programs of a run or
# the libraries below them, and lead secrets elsewhere: HTTP_PROXY, GIT_SSH_COMMAND, NODE_OPTIONS.
ALLOWED_PREFIXES = (
    *FREE_OF_TF,
    "ALICLOUD_",
    "ARM_",
    "AWS_",
    "AZDO_",
    "AZURE_",
    "CLOUDFLARE_",
    "CONSUL_",
    "DATABRICKS_",
    "DATADOG_",
    "DD_",
    "DIGITALOCEAN_",
    "FASTLY_",
    "GITHUB_",
    "GITLAB_",
    "GOOGLE_",
    "GRAFANA_",
    "HCLOUD_",
    "HELM_",
    "KUBE_",
    "LINODE_",
    "MONGODB_ATLAS_",
    "NEW_RELIC_",
    "NOMAD_",
    "OCI_",
    "OKTA_",
    "OS_",
    "PAGERDUTY_",
    "SNOWFLAKE_",
    "TFE_",
    "VAULT_",
    "VSPHERE_",
)


def why_not_named(name: str) -> str:
    """Return why a variable can't have this name, and what to do; empty if it can."""
    if not ORDINARY_NAME.fullmatch(name) and not INPUT_NAME.fullmatch(name):
        return "Use letters, digits and _, with no digit first, like TF_VAR_region."
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        return f"Each run has its own {name}. Choose another name."
    if name.startswith("TF_") and not name.startswith(FREE_OF_TF):
        return (
            "Stackhook sets what begins with TF_ itself, other than TF_VAR_ and TF_TOKEN_. "
            "Choose another name."
        )
    if name.startswith((*ALLOWED_PREFIXES, *settings.RUN_VARIABLE_PREFIXES)):
        return ""
    examples = ", ".join(["ARM_", "AZDO_", "AWS_", "GOOGLE_", *settings.RUN_VARIABLE_PREFIXES])
    return (
        f"{name} is not allowed, as it may steer the programs of a run. Choose a name that begins "
        f"with TF_VAR_, TF_TOKEN_ or the prefix of a provider ({examples}, …), or ask the operator "
        f"to add its prefix to RUN_VARIABLE_PREFIXES."
    )


def is_input(name: str) -> bool:
    """Say whether only the code of a stack reads a variable.

    Providers read any other, which may decide where secrets are sent: to which host, account,
    tenant or region. There are too many of these to list.
    """
    return name.startswith(INPUT)


def why_not_a_path(path: str) -> str:
    """Return why a file can't have this path, and what to do; empty if it can."""
    parts = path.split("/")
    if path.startswith("/") or {"", ".", ".."} & set(parts):
        return "Use a path below the folder of files, like kube/config."
    if not all(PART_OF_PATH.fullmatch(part) for part in parts):
        return "Use letters, digits, dots, _ and -, with / between folders, like kube/config."
    if len(parts) > MOST_PARTS_OF_PATH:
        return f"A path has at most {MOST_PARTS_OF_PATH} parts."
    return ""
