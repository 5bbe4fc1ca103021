"""Fetching the one commit of a run with git.

Git runs in a sandbox of its own, before any code of the repository: the token is in the
environment of that one process and nowhere else, and no configuration, hook, filter, submodule
or redirect is obeyed. The repository's history is gone before the code is touched.
"""

import base64
from collections.abc import Callable

from stacks.execution.sandbox import Limits, Sandbox
from stacks.models import Run

CODE = "code"
SECONDS = 1800
# $1 address, $2 commit, then what leads to it where a server gives out no single commit.
FETCH = """
set -e
address=$1 commit=$2
shift 2
git init --quiet --bare --template= git
fetch() { git -C git fetch --quiet --no-tags --no-recurse-submodules "$@"; }
fetch_commit() {
  fetch --depth=1 "$address" "$commit" && return
  for ref in "$@"; do
    fetch "$address" "$ref" && git -C git cat-file -e "$commit^{commit}" && return
  done
  return 1
}
for pause in 2 6 0; do
  fetch_commit "$@" 2>said && break
  cat said >&2
  ! grep -q "^fatal: repository .* not found" said || exit 1
  [ $pause != 0 ] || exit 1
  sleep $pause
done
mkdir code
git --git-dir=git --work-tree=code -c core.bare=false checkout --quiet --force --detach "$commit"
rm -rf git
"""


def token_header(token: str) -> str:
    """Return the header by which git proves a token; any user name will do."""
    return "Authorization: Basic " + base64.b64encode(f":{token}".encode()).decode()


def fetch(
    run: Run,
    token: str,
    sandbox: Sandbox,
    output: Callable[[bytes], None],
    is_unwanted: Callable[[], bool],
) -> bool:
    """Put exactly the commit of a run into the folder `code`; say whether that was possible.

    Raises LimitReached and Stopped.
    """
    address = run.repository.web_url
    protocol = address.partition(":")[0]
    configuration = {
        f"http.{address}.extraHeader": token_header(token),
        "http.followRedirects": "false",
        "credential.helper": "",
        "core.hooksPath": "/dev/null",
        "core.fsmonitor": "false",
        "core.attributesFile": "/dev/null",
        "fetch.recurseSubmodules": "false",
        "submodule.recurse": "false",
        "gc.auto": "0",
        "advice.detachedHead": "false",
    }
    environment = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": protocol if protocol in {"http", "https"} else "https",
        "GIT_CONFIG_COUNT": str(len(configuration)),
    } | sandbox.certificates("GIT_SSL_CAINFO")
    for number, (name, value) in enumerate(configuration.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    refs = [f"refs/heads/{run.branch}"] if run.branch else []
    if run.pull_request:
        refs.append(f"refs/pull/{run.pull_request.number}/merge")
    command = ["sh", "-c", FETCH, "fetch", address, run.sha, *refs]
    return sandbox.run(command, environment, output, is_unwanted, Limits(SECONDS)) == 0
