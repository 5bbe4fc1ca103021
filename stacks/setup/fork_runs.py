"""Who may have pull requests from forks run: what admins opened is not for everybody."""

from stacks.environment.merging import counting, found_in
from stacks.models import Reach, Stack
from stacks.rules.states import Kind


def why_only_admins_run_forks(stack: Stack) -> str:
    """Return why a member may not switch on runs of forks, and what to do; empty if they may.

    The answer holds as long as the stack is locked. What an admin opens later, they open with forks
    on.
    """
    found = counting(found_in(stack), Kind.PROPOSED).values()
    opened = {
        "secrets": any(one.is_secret for one in found),
        "outputs of another stack": stack.read_grants.filter(is_for_proposed=True).exists(),
        "repositories of other projects": stack.reach != Reach.PROJECT,
    }
    what = " and ".join(words for words, is_there in opened.items() if is_there)
    return what and (
        f"Proposed runs of this stack can read {what}, and anybody who can fork the repository "
        f"could then read that, too. Only an admin may switch this on. Ask an admin of Stackhook."
    )
