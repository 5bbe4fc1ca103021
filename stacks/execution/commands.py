"""Running the commands that a stack and its code name, before and after init, plan and apply.

They are code like any other of a run: in its sandbox, with its environment, in the project root.
Those of a proposed run are what the proposed code says, and find what proposed runs find.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stacks.arguments.arguments import MOMENTS
from stacks.execution.checkout.commands_file import (
    FILE,
    LARGEST,
    InvalidCommands,
    read_commands,
)
from stacks.execution.checkout.project_root import ROOT
from stacks.execution.checkout.workspace import CODE
from stacks.execution.failure import RunFailed
from stacks.execution.isolation.sandbox import LimitReached, Limits, Sandbox
from stacks.execution.isolation.system import SYSTEM_PATH
from stacks.execution.output.logs import Log
from stacks.execution.output.terminal import harmless
from stacks.execution.tools.errors import Tail, last_lines

# The plan, as a file that commands after it may read.
PLAN_VARIABLE = "STACKHOOK_PLAN"
LONGEST_SHOWN = 200


class CommandFailed(RunFailed):
    """A command, or the file that names commands, fails its run; the text says which, and why.

    `errors` is what the command printed last, masked.
    """


class Commands:
    """The commands of a run. `of_stack` are those of its stack, which precede those of its code."""

    def __init__(
        self,
        of_stack: Mapping[str, Sequence[str]],
        sandbox: Sandbox,
        log: Log,
        is_unwanted: Callable[[], bool],
        limits: Limits,
    ) -> None:
        self.of_stack, self.sandbox, self.log = of_stack, sandbox, log
        self.is_unwanted, self.limits = is_unwanted, limits
        self.of_code: Mapping[str, Sequence[str]] = {}
        self.folder = ""

    def read_file(self, folder: str, place: str) -> None:
        """Read the code's own file, from a folder of the workspace. Raises CommandFailed.

        `folder` is the project root, in which commands are run; `place` says where the file is.
        """
        self.folder = folder
        if not place:
            return
        top = folder if place == ROOT else CODE
        try:
            content = self.sandbox.read_file(f"{top}/{FILE}", LARGEST, self.is_unwanted)
        except LimitReached:
            content = b" " * (LARGEST + 1)
        try:
            self.of_code = read_commands(content)
        except InvalidCommands as error:
            raise CommandFailed(f"{FILE} {error}") from None

    def of(self, moment: str) -> list[str]:
        """Return the commands of a moment, like “before_plan”, in their order."""
        return [*self.of_stack.get(moment, ()), *self.of_code.get(moment, ())]

    def run(self, moment: str, environment: Mapping[str, str], program: str) -> None:
        """Run the commands of a moment, one after the other. Raises CommandFailed at the first.

        They find `program`, the run's Terraform or OpenTofu, first on their path. Raises
        LimitReached and Stopped.
        """
        # With a path of its own, as that of a worker may lead to another version.
        path = {"PATH": f"{Path(program).parent}:{SYSTEM_PATH}"}
        for command in self.of(moment):
            self.log.say(f"{MOMENTS[moment].capitalize()}: {command}")
            printed = Tail()
            code = self._run(command, dict(environment) | path, printed)
            if code:
                sentence = f"The command {MOMENTS[moment]} ended with exit code {code}: "
                shown = self.log.masker.mask(" ".join(harmless(command).split()))
                errors = last_lines(printed.text, self.log.masker.mask)
                raise CommandFailed(f"{sentence}{_cut(shown)}", errors)

    def _run(self, command: str, environment: Mapping[str, str], printed: Tail) -> int:
        def write(part: bytes) -> None:
            printed.write(part)
            self.log.write(part)

        try:
            return self.sandbox.run(
                ["sh", "-c", command],
                environment,
                write,
                self.is_unwanted,
                self.limits,
                self.folder,
            )
        finally:
            self.log.flush()


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
