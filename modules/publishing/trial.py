"""Trying what was unpacked of an archive with Terraform or OpenTofu, in a sandbox.

Its commands find no credentials. What they can't have there, like a provider whose registry is not
reached, is skipped with the reason: only what is wrong with the code fails.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from django.conf import settings

from modules.models import Outcome, Result
from modules.publishing import diagnosing
from modules.publishing.contents import shown
from modules.publishing.module_tests import ModuleTests
from stacks.execution.checkout.project_root import SUFFIXES
from stacks.execution.checkout.workspace import CODE
from stacks.execution.isolation.sandbox import Limits, Sandbox, Stopped
from stacks.execution.output.logs import Writer
from stacks.execution.tools.errors import Tail, error_blocks
from stacks.execution.versions.installed import Program
from stacks.rules.versions import Version

SYNTAX, INIT, VALIDATE, TEST = "Syntax", "Initialization", "Validation", "Tests"
UNFORMATTED = 3  # what `fmt -check` ends with, where it can read the files
# Before, `test` was an experiment that read other files (Terraform's changelog, 1.6.0).
FIRST_WITH_TESTS = Version((1, 6, 0))
SHOWN = 5
# What only reads the code takes seconds, unless the code has thousands of errors.
OFFLINE_MINUTES = 2


class Trial:
    """The trial of a module in a sandbox, with one program. `name` is what is being tried."""

    def __init__(
        self,
        sandbox: Sandbox,
        program: Program,
        names: Iterable[str],
        log: Writer,
        is_unwanted: Callable[[], bool],
    ) -> None:
        """`names` are those of the files in the module's folder itself."""
        self.sandbox, self.version, self.log = sandbox, program.version, log
        self.has_code = any(name.endswith(SUFFIXES[program.tool]) for name in names)
        self.is_unwanted = is_unwanted
        self.name = SYNTAX
        self.program = sandbox.program(program.path, program.files)
        self.errors: list[list[str]] = []
        self.are_all_errors = True
        self.environment = {
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_DATA_DIR": sandbox.path("workspace", "data"),
            "CHECKPOINT_DISABLE": "1",
            "GIT_TERMINAL_PROMPT": "0",
        } | sandbox.certificates("SSL_CERT_FILE", "GIT_SSL_CAINFO")

    def results(self, tests: ModuleTests | None) -> Iterator[Result]:
        """Yield a result for each thing that is tried, up to the first that fails.

        Raises LimitReached and Stopped.
        """
        syntax = self._syntax()
        yield syntax
        if syntax.outcome == Outcome.FAILED:
            return
        init = self._init()
        yield init
        if init.outcome == Outcome.PASSED:
            validation = self._validation()
            yield validation
            if tests and validation.outcome != Outcome.FAILED:
                yield self._tests(tests)
        elif init.outcome == Outcome.SKIPPED:
            for name in (VALIDATE, TEST) if tests else (VALIDATE,):
                yield Result(name, Outcome.SKIPPED, "It needs the initialization.")

    def _syntax(self) -> Result:
        self.name = SYNTAX
        if not self.has_code:
            sentence = "The folder has no file like main.tf. Add one, or change the folder."
            return Result(SYNTAX, Outcome.FAILED, sentence)
        if self._execute(["fmt", "-check", "-list=false"], is_offline=True) in {0, UNFORMATTED}:
            return Result(SYNTAX, Outcome.PASSED, "Every file can be read.")
        return self._failed()

    def _init(self) -> Result:
        self.name = INIT
        if not self._execute(["init", "-backend=false", "-input=false"]):
            return Result(INIT, Outcome.PASSED, "Its modules and providers were found.")
        if reason := diagnosing.why_not_there(self.errors):
            return Result(INIT, Outcome.SKIPPED, self.log.masker.mask(f"{reason}."))
        return self._failed()

    def _validation(self) -> Result:
        self.name = VALIDATE
        if not self._execute(["validate"], is_offline=True):
            return Result(VALIDATE, Outcome.PASSED, "The configuration is valid.")
        if diagnosing.needs_caller(self.errors):
            reason = "It gets configurations of providers from the module that calls it."
            return Result(VALIDATE, Outcome.SKIPPED, reason)
        return self._failed()

    def _tests(self, tests: ModuleTests) -> Result:
        self.name = TEST
        if self.version < FIRST_WITH_TESTS:
            reason = (
                f"Version {self.version} has no tests. They are run from {FIRST_WITH_TESTS} on."
            )
            return Result(TEST, Outcome.SKIPPED, reason)
        if not tests.run:
            return Result(TEST, Outcome.SKIPPED, _why_skipped(tests.skipped))
        if self._execute(["test", *tests.filters]):
            return self._failed()
        count = len(tests.run)
        passed = f"{count} {'file' if count == 1 else 'files'} of tests passed."
        left_out = f" {_why_skipped(tests.skipped)}" if tests.skipped else ""
        return Result(TEST, Outcome.PASSED, f"{passed}{left_out}")

    def _execute(self, arguments: Sequence[str], *, is_offline: bool = False) -> int:
        """Run the program in the module's folder, into the log; keep its errors."""
        if self.is_unwanted():  # a short command doesn't ask
            raise Stopped
        self.log.say(f"{self.name}: {arguments[0]}")
        printed = Tail()

        def write(part: bytes) -> None:
            printed.write(part)
            self.log.write(part)

        minutes: float = settings.RUN_PLAN_MINUTES
        if is_offline:
            minutes = min(minutes, OFFLINE_MINUTES)
        limits = Limits(minutes * 60, is_offline=is_offline)
        command = [self.program, *arguments]
        try:
            code = self.sandbox.run(
                command, self.environment, write, self.is_unwanted, limits, CODE
            )
        finally:
            self.log.flush()
        self.errors = error_blocks(printed.text) if code else []
        self.are_all_errors = not printed.is_cut
        return code

    def _failed(self) -> Result:
        mask, are_all = self.log.masker.mask, self.are_all_errors
        sentence = diagnosing.in_a_sentence(self.errors, mask, are_all=are_all)
        return Result(self.name, Outcome.FAILED, sentence)


def _why_skipped(files: Sequence[str]) -> str:
    named = ", ".join(shown(path) for path in files[:SHOWN])
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return (
        f"Left out, as not every run block says “command = plan”: {named}{more}. Write that, or "
        f"let the module's tests apply in its settings."
    )
