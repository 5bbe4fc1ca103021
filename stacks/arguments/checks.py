"""What a stack may give Terraform on its command lines, and why anything else is refused.

Which options `plan` and `apply` have is in Terraform's documentation, "Command: plan" and
"Command: apply"; what `-backend-config` means is in "Backend block configuration overview",
"Partial configuration". OpenTofu has the same options.
"""

import re
from collections.abc import Sequence

from stacks.rules.paths import in_repository, is_setting

DURATION = re.compile(r"(?:[0-9]{1,5}(?:ms|s|m|h)){1,4}", re.ASCII)
WORKSPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
MOST_PARALLEL = 256
# Those that take a value, and what it looks like; the last two are for both commands.
OF_PLAN = ("-refresh=false", "-parallelism=N", "-lock-timeout=5m", "-compact-warnings")
# A saved plan is applied as it is: its other options were decided when it was made.
OF_APPLY = ("-parallelism=N", "-lock-timeout=5m", "-compact-warnings")
ONE_RUN = "It would hold for every run. Trigger a run with it on the stack's page."
INSTEAD = {
    "var": "Add a variable that begins with TF_VAR_ under Environment, or name a variable file.",
    "var-file": "Name the file under Variable files.",
    "backend-config": "Enter it under Backend configuration.",
    "out": "Stackhook keeps each plan itself.",
    "state": "State is kept by the backend.",
    "state-out": "State is kept by the backend.",
    "backup": "State is kept by the backend.",
    "lock": "Stackhook locks the state for each tracked run.",
    "input": "Nobody can answer questions in a run.",
    "auto-approve": "Switch on Autodeploy in the stack's behavior.",
    "destroy": ONE_RUN,
    "target": ONE_RUN,
    "replace": ONE_RUN,
    "exclude": "It would hold for every run.",
    "refresh-only": ONE_RUN,
    "detailed-exitcode": "Stackhook passes it itself.",
    "json": "The log is for people.",
    "no-color": "The log shows colors, and the downloaded log has none.",
    "chdir": "Change the project root of the stack.",
}
# Arguments of backends that are secret, by their documentation: azurerm, s3, gcs, http, consul,
# pg, remote, kubernetes, cos and oss.
SECRET_SETTINGS = {
    "access_key",
    "access_token",
    "client_certificate_password",
    "client_key",
    "client_secret",
    "conn_str",
    "credentials",
    "encryption_key",
    "http_auth",
    "oidc_request_token",
    "oidc_token",
    "password",
    "sas_token",
    "secret_id",
    "secret_key",
    "security_token",
    "sse_customer_key",
    "token",
}
SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.ASCII | re.DOTALL)
WITH_PASSWORD = re.compile(r"://[^/\s]*@")


def why_not_file(project_root: str, path: str) -> str:
    """Return why a stack can't name a file of its repository like this; empty if it can."""
    if not path.isprintable() or "\\" in path or path.endswith("/"):
        return f"“{path}” is no path of a file. Write one with / between its parts."
    if path.startswith(("/", "~")):
        return f"“{path}” is not relative. Write the path from the project root."
    if in_repository(project_root, path) is None:
        return (
            f"“{path}” leads out of the repository. Write the path from the project root, with .. "
            f"to go up."
        )
    return ""


def why_not_workspace(name: str) -> str:
    """Return why this can't be the name of a workspace; empty if it can."""
    if WORKSPACE.fullmatch(name):
        return ""
    return (
        "A workspace has a name of letters, digits, “.”, “_” and “-” that doesn't begin with “.” "
        "or “-”."
    )


def why_not_argument(argument: str, allowed: Sequence[str]) -> str:
    """Return why an option can't be passed to each plan or apply; empty if it can.

    `allowed` is OF_PLAN or OF_APPLY.
    """
    # Like every Go program, both tools read --option as -option.
    name, _, value = argument.removeprefix("-").removeprefix("-").partition("=")
    names = {one[1:].partition("=")[0] for one in allowed}
    if not argument.startswith("-") or argument.startswith("--") or name not in names:
        instead = "Enter -refresh=false for plans only." if name == "refresh" else ""
        instead = INSTEAD.get(name, instead)
        return " ".join(
            filter(None, [f"“{argument}” can't be passed.", instead, f"Allowed: {_list(allowed)}."])
        )
    if _is_value(name, value, has_value="=" in argument):
        return ""
    form = next(one for one in allowed if one[1:].partition("=")[0] == name)
    return f"“{argument}” is not understood. Write it like {form}{_more_about(name)}."


def why_not_backend_config(project_root: str, line: str) -> str:
    """Return why a line can't be passed as -backend-config; empty if it can.

    Its values are on a command line, in plans and in logs, so secrets are refused.
    """
    if not is_setting(line):
        return why_not_file(project_root, line)
    found = SETTING.fullmatch(line)
    if found is None or not line.isprintable():
        return f"“{line}” is not understood. Write name=value, or the path of a file."
    name, value = found.groups()
    if name in SECRET_SETTINGS or WITH_PASSWORD.search(value):
        return (
            f"{name} holds a secret, which must not be on a command line. Add the environment "
            f"variable that the backend reads instead, like ARM_ACCESS_KEY, AWS_SECRET_ACCESS_KEY "
            f"or PG_CONN_STR, as a secret under Environment."
        )
    return ""


def _is_value(name: str, value: str, *, has_value: bool) -> bool:
    match name:
        case "refresh":
            return value == "false"
        case "compact-warnings":
            return not has_value
        case "parallelism":
            number = int(value) if re.fullmatch(r"[0-9]{1,3}", value, re.ASCII) else 0
            return 1 <= number <= MOST_PARALLEL
        case _:
            return bool(DURATION.fullmatch(value))


def _more_about(name: str) -> str:
    return f", with a number from 1 to {MOST_PARALLEL}" if name == "parallelism" else ""


def _list(allowed: Sequence[str]) -> str:
    return f"{', '.join(allowed[:-1])} and {allowed[-1]}"
