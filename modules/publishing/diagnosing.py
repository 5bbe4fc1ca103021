"""What the errors of Terraform and OpenTofu mean for a check: that the code is wrong, or not."""

import re
from collections.abc import Callable, Sequence

# What `init` says of registries and repositories, by its first line (internal/command/init.go and
# internal/initwd/module_install.go of Terraform; OpenTofu's are the same but for one word).
OF_DOWNLOADS = re.compile(
    r"Error: (?:Failed to (?:query available provider packages|resolve provider packages|"
    r"install provider|download module|retrieve available versions)|"
    r"Error accessing remote module registry|Module not found)"
)
# How Go's network, git and curl say that they reached nobody, or are asked to sign in.
OUT_OF_REACH = re.compile(
    r"no such host|server misbehaving|connection refused|connection reset|network is unreachable|"
    r"no route to host|i/o timeout|TLS handshake timeout|context deadline exceeded|"
    r"Client\.Timeout exceeded|Could not resolve host|Failed to connect to|Couldn't connect to|"
    r"Connection timed out|Operation timed out"
)
SIGN_IN = re.compile(
    r"could not read (?:Username|Password)|Authentication failed|terminal prompts disabled|"
    r"\b401 Unauthorized|Host key verification failed|Permission denied \(publickey"
)
HOST = re.compile(r"(?:https?|ssh)://(?:[^/@\s\"']*@)?([\w.-]+)")
# A module with aliases of providers can only be validated where another module calls it.
NEEDS_CALLER = re.compile(r"Error: Provider configuration not present")
LONGEST = 300


def why_not_there(errors: Sequence[Sequence[str]]) -> str:
    """Return why the code could not be initialized, though it may be right; empty if it is wrong.

    Every error has to be of that kind: one that is the code's own counts.
    """
    blocks = [" ".join(" ".join(lines).split()) for lines in errors]
    if not blocks or not all(OF_DOWNLOADS.match(one) for one in blocks):
        return ""
    if not all(OUT_OF_REACH.search(one) or SIGN_IN.search(one) for one in blocks):
        return ""
    first = blocks[0]
    host = HOST.search(first)
    where = host[1] if host else "What it downloads"
    if OUT_OF_REACH.search(first):
        return f"{where} was not reached from the sandbox"
    return f"{where} asks for a sign-in, and checks have no credentials"


def needs_caller(errors: Sequence[Sequence[str]]) -> bool:
    """Say whether all that is wrong is that no module calls this one."""
    blocks = [" ".join(lines) for lines in errors]
    return bool(blocks) and all(NEEDS_CALLER.match(one) for one in blocks)


def in_a_sentence(
    errors: Sequence[Sequence[str]], mask: Callable[[str], str], *, are_all: bool
) -> str:
    """Return the first error in one line, masked and cut, and how many more there are.

    Unless they `are_all`, there were others before them, which nobody counted.
    """
    if not errors:
        return "The end of the log says why."
    text = mask("\n".join(errors[0])).removeprefix("Error: ")
    line = " ".join(text.split())
    shown = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
    more = len(errors) - 1
    if not are_all:
        return f"{shown} (and more than {more} more)"
    return f"{shown} (and {more} more)" if more else shown
