"""Fetching the one commit of a run with git.

Git runs in a sandbox of its own, before any code of the repository: the token is in the
environment of that one process and nowhere else, and no configuration, hook, filter, submodule
or redirect is obeyed. The repository's history is gone before the code is touched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stacks.execution.failure import RunFailed
from stacks.execution.isolation.sandbox import Limits, Sandbox
from stacks.execution.output.logs import Writer
from stacks.execution.tools.errors import Tail, last_lines
from stacks.models import Run
from vcs_integrations.models import Integration

CODE = "code"
REPOSITORY = "git"  # of what was fetched without being checked out
# The file that lists what FETCH found: links to commits, then the settings of .gitmodules.
LINKS = "links"
# The file that names the merge commit that FETCH checked out and its other parent, or says that
# there are conflicts.
MERGED, CONFLICTS = "merged", "conflicts"
SECONDS = 1800
PAUSES = (2, 6)  # seconds, before a fetch that failed is retried
# TARGET is the folder to check out into. A link on the way there leads somewhere else: refused.
# Without one the repository stays, in the folder `git`, and nothing is checked out.
# $1 address, $2 commit, then what leads to it where a server gives out no single commit.
# MERGE_REF is the host's ref of a merge of the commit, TRACKED_REF that of a branch to merge it
# with here; either may be empty. The result is in the file `merged`. PAUSES are between attempts.
FETCH = """
set -e
address=$1 commit=$2
shift 2
git init --quiet --bare --template= git
fetch() { git -C git fetch --quiet --no-tags --no-recurse-submodules "$@"; }
fetch_one_of() {
  for ref in "$@"; do
    fetch "$address" "$ref" && git -C git cat-file -e "$commit^{commit}" && return
  done
  return 1
}
fetch_commit() { fetch --depth=1 "$address" "$commit" || fetch_one_of "$@"; }
take_merge() {
  other= is_ours=
  for parent in $(git -C git cat-file commit FETCH_HEAD | sed -n '/^$/q;s/^parent //p'); do
    if [ "$parent" = "$commit" ]; then is_ours=yes; else other=$other$parent; fi
  done
  [ "$is_ours" ] && [ ${#other} = ${#commit} ] || return 1
  commit=$(git -C git rev-parse FETCH_HEAD)
  echo "$commit $other" > merged
}
merge_here() {
  fetch "$address" "$TRACKED_REF" || return 1
  other=$(git -C git rev-parse FETCH_HEAD)
  fetch "$address" "$commit" || fetch_one_of "$@" || return 1
  tree=$(git -C git merge-tree --write-tree "$other" "$commit") && code=0 || code=$?
  [ $code != 1 ] || echo conflicts > merged
  [ $code = 0 ] || return 0
  commit=$(git -C git -c user.name=- -c user.email=- \
    commit-tree "$tree" -p "$other" -p "$commit" -m Merge)
  echo "$commit $other" > merged
}
fetch_all() {
  if [ "$TRACKED_REF" ]; then
    merge_here "$@"
    return
  fi
  if [ "$MERGE_REF" ]; then
    fetch --depth=1 "$address" "$MERGE_REF" || grep -q "couldn't find remote ref" said || return 1
    ! take_merge || return 0
  fi
  fetch_commit "$@"
}
for pause in $PAUSES none; do
  fetch_all "$@" 2>said && break
  cat said >&2
  ! grep -q "^fatal: repository .* not found" said || exit 1
  [ $pause != none ] || exit 1
  sleep $pause
done
[ "$TARGET" ] || exit 0
mkdir -p code
[ "$(cd "$TARGET" && pwd -P)" = "$(pwd -P)/$TARGET" ]
git --git-dir=git --work-tree="$TARGET" -c core.bare=false checkout --quiet --force --detach \
  "$commit"
{
  git --git-dir=git ls-files --stage -z | grep -z "^160000 " || :
  git --git-dir=git config --blob "$commit:.gitmodules" -z --get-regexp "^submodule[.]" \
    2>/dev/null || :
} > links
rm -rf git said
"""


@dataclass(frozen=True)
class MergeSource:
    """Where a merge comes from: a ref of the host, or a branch to merge the commit with here."""

    ref: str = ""
    tracked_ref: str = ""


class NotFetched(RunFailed):
    """Something that the code needs was not fetched; the text says what, and what to do.

    `errors` is what git said of it, masked.
    """


@dataclass(frozen=True)
class SandboxedGit:
    """Git in a sandbox, with the token for one organization and no other place."""

    integration: Integration
    token: str
    sandbox: Sandbox
    log: Writer
    is_unwanted: Callable[[], bool]
    printed: Tail = field(default_factory=Tail, init=False)

    def fetch(
        self,
        address: str,
        sha: str,
        refs: Sequence[str],
        target: str = CODE,
        seconds: float = SECONDS,
        merge: MergeSource | None = None,
    ) -> bool:
        """Put exactly one commit of a repository into a folder; say whether that was possible.

        `refs` lead to the commit where a server gives out no single one. With `merge` it is a
        merge of the commit where there is one, and the file MERGED says of what. Raises
        LimitReached and Stopped.
        """
        command = ["sh", "-c", FETCH, "fetch", address, sha, *refs]
        variables = {
            "TARGET": target,
            "MERGE_REF": merge.ref if merge else "",
            "TRACKED_REF": merge.tracked_ref if merge else "",
            "PAUSES": " ".join(map(str, PAUSES)),
        }
        return self.call(command, address, {}, variables, seconds) == 0

    def call(
        self,
        command: Sequence[str],
        address: str,
        more: Mapping[str, str],
        variables: Mapping[str, str],
        seconds: float,
    ) -> int:
        """Run a command that uses git with one repository; return its exit code.

        `more` is configuration of git, `variables` are what else the command finds in its
        environment. Raises LimitReached and Stopped.
        """
        protocol = address.partition(":")[0]
        organization = self.integration.organization_url
        configuration = {
            # With a slash: https://host/org is no prefix of https://host/organization.
            f"http.{organization}/.extraHeader": self.integration.provider.git_header(self.token),
            "http.followRedirects": "false",
            "credential.helper": "",
            "core.hooksPath": "/dev/null",
            "core.fsmonitor": "false",
            "core.attributesFile": "/dev/null",
            "fetch.recurseSubmodules": "false",
            "submodule.recurse": "false",
            "gc.auto": "0",
            "advice.detachedHead": "false",
        } | dict(more)
        environment = {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": protocol if protocol in {"http", "https"} else "https",
            "GIT_CONFIG_COUNT": str(len(configuration)),
        } | self.sandbox.certificates("GIT_SSL_CAINFO")
        for number, (name, value) in enumerate(configuration.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = name
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        self.printed.clear()
        try:
            return self.sandbox.run(
                command,
                environment | dict(variables),
                self._write,
                self.is_unwanted,
                Limits(seconds),
            )
        finally:
            self.log.flush()

    def failed(self, sentence: str, fix: str = "") -> NotFetched:
        """Return the failure of the last call, with what git said of it."""
        errors = last_lines(self.printed.text, self.log.masker.mask)
        why = "" if errors else "The end of the log says why."
        return NotFetched(" ".join(filter(None, [sentence, why, fix])), errors)

    def _write(self, printed: bytes) -> None:
        self.printed.write(printed)
        self.log.write(printed)


@dataclass(frozen=True)
class Git(SandboxedGit):
    """Git in the sandbox of a run."""

    run: Run


def fetch(git: Git, merge: MergeSource | None = None) -> bool:
    """Put the commit of a run, or a merge of it, into the folder `code`; say whether it worked.

    Raises LimitReached and Stopped.
    """
    run = git.run
    brought = [one.branch for one in run.sources.all() if not one.is_from_fork]
    branches = dict.fromkeys(filter(None, [run.branch, *brought]))  # the first may be gone by now
    refs = [f"refs/heads/{branch}" for branch in branches]
    if run.pull_request:
        refs += run.repository.integration.provider.refs_of(run.pull_request.number)
    return git.fetch(run.repository.clone_url, run.sha, refs, merge=merge)
