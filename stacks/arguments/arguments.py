"""What the tool is run with in a run: a stack's arguments, as they were when it was planned."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stacks.models import Backend, Run, Stack
from stacks.rules.paths import named_files

NONE = "-refresh=false"
STEPS = ("init", "plan", "apply")
# When commands are run, in order, as stored and as people read it.
MOMENTS = {f"{when}_{step}": f"{when} {step}" for step in STEPS for when in ("before", "after")}


@dataclass(frozen=True)
class Arguments:
    """Files of variables, configuration of the backend, workspace, more options, and commands.

    Paths are relative to the project root.
    """

    var_files: Sequence[str] = ()
    backend_config: Sequence[str] = ()
    workspace: str = ""
    plan_arguments: Sequence[str] = ()
    apply_arguments: Sequence[str] = ()
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """The files that the commit has to have."""
        return named_files(self.var_files, self.backend_config)

    @property
    def moments(self) -> list[str]:
        """When there are commands, in order: a database may return them in another one."""
        return [moment for moment in MOMENTS if moment in self.commands]

    @property
    def var_file_options(self) -> list[str]:
        return [f"-var-file={path}" for path in self.var_files]

    def plan_options(self, of_run: Sequence[str]) -> list[str]:
        """Return the options of a plan; `of_run` are those that its run was triggered with.

        A run that only refreshes can't do without it: Terraform refuses both at once.
        """
        own = [one for one in self.plan_arguments if "-refresh-only" not in of_run or one != NONE]
        return [*self.var_file_options, *own, *of_run]

    @property
    def backend_options(self) -> list[str]:
        return [f"-backend-config={one}" for one in self.backend_config]

    @property
    def stored(self) -> dict[str, Any]:
        """What a run keeps of them: those that are there."""
        return {name: value for name, value in asdict(self).items() if value}


def arguments_of(stack: Stack) -> Arguments:
    """Return what runs of a stack are planned with now."""
    is_own = stack.backend == Backend.OWN
    return Arguments(
        var_files=stack.var_files,
        # Of Stackhook's backend there is nothing to configure.
        backend_config=stack.backend_config if is_own else (),
        workspace=stack.workspace,
        plan_arguments=stack.plan_arguments,
        apply_arguments=stack.apply_arguments,
        commands=stack.commands,
    )


def arguments_used(run: Run) -> Arguments:
    """Return what a run was planned with."""
    return Arguments(**run.arguments)
