"""What happens in a run, top to bottom: fetch, init, plan; and once it is confirmed, apply.

Only the worker that holds a run moves its state, and only as long as it holds the run.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from accounts.tokens.registry_host import token_variable, why_unusable
from core.encryption import WrongKey, decrypting
from core.leases import Keeping, LeaseLost
from stacks.arguments.arguments import arguments_of, arguments_used
from stacks.arguments.checks import why_not_file
from stacks.dependencies.outputs import grants_of, sensitive_outputs
from stacks.environment.variables import (
    UnusableFiles,
    environment_of,
    files_of,
    former_secrets_of,
    withheld_from,
)
from stacks.execution import queue
from stacks.execution.checkout import lfs, merging, project_root, submodules, workspace
from stacks.execution.checkout.project_root import ProjectRoot
from stacks.execution.commands import PLAN_VARIABLE, CommandFailed, Commands
from stacks.execution.failure import RunFailed
from stacks.execution.git_proxy.proxy import GitProxy, git_proxy
from stacks.execution.isolation.network import NoNetwork
from stacks.execution.isolation.sandbox import (
    KILLED_AFTER,
    LimitReached,
    Limits,
    NotIsolated,
    Sandbox,
    Stopped,
    sandbox,
)
from stacks.execution.isolation.system import MEGABYTE
from stacks.execution.looking import Seen, look, look_into_root
from stacks.execution.modules import record as module_record
from stacks.execution.modules import replacing
from stacks.execution.modules.manifest import Installed
from stacks.execution.mounting import copy_command, provide_files
from stacks.execution.output.logs import Log
from stacks.execution.output.masking import MOST_CHARACTERS, MOST_PARTS, Masker
from stacks.execution.plan_store import store_plan
from stacks.execution.progress import end, fail, move, note, report
from stacks.execution.tools import backends, terraform
from stacks.execution.tools.backends import StoredBackend
from stacks.execution.tools.errors import Tail, last_lines, terraform_errors, what_to_do
from stacks.execution.tools.operations import options_of
from stacks.execution.tools.overridden import warnings_of_overridden
from stacks.execution.tools.plan_changes import read_changes
from stacks.execution.tools.terraform import PlanSummary
from stacks.execution.versions import choosing
from stacks.execution.versions.wanted import NoVersion
from stacks.lifecycle.basis import basis_now, why_state_refuses
from stacks.lifecycle.drift import CHANGED_MEANWHILE, overlaps_apply
from stacks.lifecycle.forks import is_refused
from stacks.models import Backend, LogChunk, PlanFile, ProposedModule, Run, Stack, Tool
from stacks.rules.states import Kind, Operation, State
from stacks.tfstate.backend import address_of
from stacks.tfstate.credentials import (
    issue_credential,
    limit_apply,
    registry_token_of,
    username_of,
)
from stacks.tfstate.files import LARGEST_STATE
from vcs_integrations.organizations.refreshing import refresh_repository
from vcs_integrations.providers.base import ProviderError, digest

logger = logging.getLogger(__name__)

ASK_EVERY = 0.5  # seconds
LARGEST_PLAN = 64 * MEGABYTE
LARGEST_LOCK_FILE = MEGABYTE
LARGEST_LISTING = 16 * MEGABYTE
# What `timeout` ends with: its own time, and after a kill.
TIMED_OUT = {124, 137}
LOSES_STATE = (
    "so its state would be lost. Name a remote one, or let Stackhook keep the state: Configure "
    "backend."
)
NO_WORKSPACES = (
    "Stackhook keeps the state of this stack through Terraform's http backend, which has no "
    "workspaces: terraform.workspace would be “default”. Clear the workspace in the arguments of "
    "the stack, and give the name to the code as a variable; or choose the backend that the code "
    "names under Configure backend."
)
# Errors whose text says on a run's page what to do
WITH_A_SENTENCE = (
    LimitReached,
    NoNetwork,
    NotIsolated,
    NoVersion,
    ProviderError,
    UnusableFiles,
    WrongKey,
)
OURS = "Something went wrong in Stackhook itself. The operator finds it in the worker's log."


class WorkerEnds(Exception):
    """The worker was asked to end: the next one plans its run again."""


def execute(run: Run, is_ending: Callable[[], bool]) -> None:
    """Do what a run's state requires, to the end. Raises nothing.

    `is_ending` says whether the worker was asked to end; an apply is finished first.
    """
    with Keeping([run], queue.LEASE) as lease:
        _execute(run, is_ending, lease)


def _execute(run: Run, is_ending: Callable[[], bool], lease: Keeping) -> None:
    try:
        with (
            git_proxy() as proxy,
            sandbox(lambda sentence: report(run, sentence), [proxy.port]) as one,
        ):
            job = Job(run, one, is_ending, lease, proxy)
            if run.state == State.APPLYING:
                job.apply()
            else:
                job.plan()
    except Stopped:
        logger.info("%s of %s was stopped", run, run.stack)
    except WorkerEnds:
        queue.requeue(run)
    except RunFailed as failure:
        fail(run, str(failure), failure.errors)
    except WITH_A_SENTENCE as error:
        fail(run, str(error))
    except Exception:
        logger.exception("%s of %s failed", run, run.stack)
        fail(run, OURS)


class Job:
    """A run that this worker holds, in a sandbox."""

    def __init__(
        self,
        run: Run,
        sandbox: Sandbox,
        is_ending: Callable[[], bool],
        lease: Keeping,
        proxy: GitProxy,
    ) -> None:
        self.run = run
        self.stack = run.stack
        self.sandbox = sandbox
        self.is_ending = is_ending
        self.lease = lease
        self.proxy = proxy
        self.asked_at = time.monotonic()
        self.program = ""
        is_applying = run.state == State.APPLYING
        self.arguments = arguments_used(run) if is_applying else arguments_of(self.stack)
        self.token = run.repository.integration.read_credentials().token
        self.environment, secrets = self._environment()
        secrets += [self.token, self.run.repository.integration.provider.git_header(self.token)]
        secrets.append(proxy.secret)
        secrets += former_secrets_of(self.stack)
        self.masker = Masker([*secrets, *sensitive_outputs(self.stack)])
        self.log = Log(run, self.masker)
        integration = run.repository.integration
        self.git = workspace.Git(integration, self.token, sandbox, self.log, self._is_unwanted, run)
        self.printed = Tail()
        self.installed: list[Installed] = []
        self.proposed_module: ProposedModule | None = None
        self.commands = Commands(
            self.arguments.commands,
            sandbox,
            self.log,
            self._is_unwanted,
            Limits(settings.RUN_PLAN_MINUTES * 60),
        )

    def plan(self) -> None:
        """Plan, and wait for people where something would be changed on the tracked branch."""
        # Before anything is fetched: whatever moves from now on makes the plan out of date.
        note(self.run, basis_now(self.stack) | {"arguments": self.arguments.stored})
        if self.run.kind == Kind.PROPOSED:
            note(self.run, {"tracked_sha": merging.tracked_now(self.run)})
        self._prepare()
        if withheld := withheld_from(self.stack, Kind(self.run.kind)):
            self.log.say(
                f"Proposed runs don't find {', '.join(withheld)}. An admin can make a secret "
                f"available to them."
            )
        self._warn_of_environment()
        move(self.run, State.PLANNING)
        self.log.enter(LogChunk.Phase.PLANNING)
        self._run_commands("before_plan")
        if self.commands.of("after_init") or self.commands.of("before_plan"):
            self._check_backend(self._list_root(), has_failed=False)
        plan = self.sandbox.path("workspace", terraform.PLAN)
        locks = self.run.kind == Kind.TRACKED
        options = self.arguments.plan_options(options_of(self.run))
        command = terraform.plan_command(self.program, plan, locks=locks, options=options)
        code = self._execute(command, Limits(settings.RUN_PLAN_MINUTES * 60))
        if code not in {terraform.NO_CHANGES, terraform.CHANGES}:
            raise self._failed("The plan failed.")
        # These copies are shown and applied: `show` runs providers, which may replace the files.
        file = self.sandbox.read_at_once(terraform.PLAN, LARGEST_PLAN)
        is_applied = code == terraform.CHANGES and self.run.kind == Kind.TRACKED
        lock_file = f"{self.folder}/{terraform.LOCK_FILE}"
        versions = (
            self.sandbox.read_file(lock_file, LARGEST_LOCK_FILE, self._is_unwanted)
            if is_applied
            else b""
        )
        copy = self.sandbox.provide(terraform.PLAN, file)
        fields = self._results(copy)
        self._run_commands("after_plan", {PLAN_VARIABLE: copy})
        if self.run.kind == Kind.DRIFT and overlaps_apply(self.run):
            raise RunFailed(CHANGED_MEANWHILE)
        if not is_applied:
            end(self.run, State.FINISHED, **fields)
            return
        PlanFile.objects.update_or_create(
            run=self.run,
            defaults={
                "content": file,
                "digest": digest(file),
                "lock_file": versions,
            },
        )
        # A plan that could not be read may destroy everything.
        destroys = self.run.destroys or fields.get("destroys_everything") is not False
        # As it is by now: an admin may want approvals since the run began.
        autodeploys = Stack.objects.filter(pk=self.stack.pk, autodeploy=True).exists()
        may_go_on = autodeploys and not destroys
        end(self.run, State.CONFIRMED if may_go_on else State.UNCONFIRMED, **fields)

    def apply(self) -> None:
        """Apply exactly the plan that was confirmed, and never twice."""
        with decrypting("The plan"):
            stored = PlanFile.objects.filter(run=self.run).first()
        if stored is None:
            raise RunFailed("Its plan no longer exists, so nothing was applied. Retry it.")
        if reason := why_state_refuses(self.run):
            raise RunFailed(f"{reason} Nothing was applied. Retry it to plan again.")
        content = bytes(stored.content)
        if stored.digest and digest(content) != stored.digest:
            raise RunFailed(
                "Its plan is not the one that was shown, so nothing was applied. Retry it to plan "
                "again."
            )
        plan = self.sandbox.provide(terraform.PLAN, content)
        self._prepare(bytes(stored.lock_file))
        self.log.enter(LogChunk.Phase.APPLYING)
        self._run_commands("before_apply", {PLAN_VARIABLE: plan})
        command = terraform.apply_command(self.program, plan, self._apply_options())
        limits = Limits(settings.RUN_APPLY_MINUTES * 60, outlives=True)
        Stack.objects.filter(pk=self.stack.pk).forget_drift()
        limit_apply(self.run, timedelta(seconds=limits.seconds + KILLED_AFTER))
        code = self._execute(command, limits)
        if code in TIMED_OUT:
            raise RunFailed(
                f"It took more than {settings.RUN_APPLY_MINUTES} minutes and was ended. Part of it "
                f"was done; the next plan shows what is missing."
            )
        if code:
            raise self._failed(
                "The apply failed. Part of it may have been done: the next plan shows what is "
                "missing."
            )
        try:
            self._run_commands("after_apply")
        except (CommandFailed, LimitReached) as failure:
            self._warn(f"Everything was applied, but a command failed afterwards. {failure}")
        end(self.run, State.FINISHED, apply_ended_at=timezone.now())

    def _apply_options(self) -> list[str]:
        has_variables = terraform.apply_takes_variables(self.run.tool, self.run.tool_version)
        files = self.arguments.var_file_options if has_variables else []
        return [*files, *self.arguments.apply_arguments]

    def _run_commands(self, moment: str, more: Mapping[str, str] = MappingProxyType({})) -> None:
        """Run the commands of a moment, if there are any."""
        if self.commands.of(moment):
            self.commands.run(moment, self.environment | dict(more), self.program)

    def _program(self, seen: Seen) -> str:
        """Choose the version for the run, note it, and return its program inside."""
        program, fields = choosing.choose(self.run, self.folder, seen.versions, self._is_unwanted)
        note(self.run, fields)
        self.log.say(f"Using {program}, from {self.run.tool_version_from}")
        return self.sandbox.program(program.path, program.files)

    def _environment(self) -> tuple[dict[str, str], list[str]]:
        """Return what the job's programs find in their environment, and what of it is secret."""
        environment = {
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_DATA_DIR": self.sandbox.path("workspace", "data"),
            "CHECKPOINT_DISABLE": "1",
        }
        chosen, secrets = environment_of(self.stack, Kind(self.run.kind))
        environment = chosen | environment | self.sandbox.certificates("SSL_CERT_FILE")
        if files := files_of(self.stack, Kind(self.run.kind)):
            environment |= provide_files(self.sandbox, files)
        password = issue_credential(self.run)
        token = registry_token_of(self.run, password)
        if not why_unusable(settings.PUBLIC_URL):
            # Who set it for the stack wants that token used instead.
            environment.setdefault(token_variable(settings.PUBLIC_URL), token)
        is_ours = self.stack.backend == Backend.STACKHOOK
        if is_ours or grants_of(self.stack, Kind(self.run.kind)):
            # What reads the state of another stack proves itself with them, too.
            environment |= {"TF_HTTP_USERNAME": username_of(self.run), "TF_HTTP_PASSWORD": password}
        if is_ours:
            address = address_of(self.stack)
            environment |= {
                "TF_HTTP_ADDRESS": address,
                "TF_HTTP_LOCK_ADDRESS": address,
                "TF_HTTP_UNLOCK_ADDRESS": address,
            }
        return environment, [*secrets, password, token]

    def _prepare(self, lock_file: bytes = b"") -> None:
        """Fetch the commit, and have its project root initialized."""
        if is_refused(self.run):
            raise RunFailed("It is of a fork, whose code this stack does not run.")
        self.log.enter(LogChunk.Phase.FETCHING)
        if self.run.attempts > 1:
            self.log.say("The worker stopped, so this is begun again.")
        self.log.say(f"Fetching commit {self.run.sha[:8]} of {self.run.repository}")
        if not merging.fetch(self.git) and not self._fetch_from_new_address():
            raise self.git.failed("The commit could not be fetched.")
        if self.run.kind == Kind.PROPOSED:
            note(self.run, merging.fields_of_fetched(self.git))
        self.folder = f"{workspace.CODE}/{self.stack.project_root}".rstrip("/")
        seen = self._complete()
        self.proposed_module = replacing.fetch(self.git)
        self.log.enter(LogChunk.Phase.INITIALIZING)
        root = self._look_into_root(seen)
        self._check_files()
        ours = {terraform.LOCK_FILE: lock_file} if lock_file else {}
        if self.stack.backend == Backend.STACKHOOK:
            self._check_no_state(root)
            # Has the code's state stored in Stackhook.
            ours[backends.FILE] = backends.BLOCK
        self._put(root, ours)
        self._initialize(root)

    def _fetch_from_new_address(self) -> bool:
        """Fetch again where the repository was renamed; False if that does not help.

        Asked whenever a fetch failed: the old name may be another repository's by now.
        """
        tried = self.run.repository.clone_url
        try:
            self.run.repository = refresh_repository(self.run.repository)
        except ProviderError as error:
            if error.is_transient:
                return False
            raise
        if self.run.repository.clone_url == tried:
            return False
        self.log.say(f"The repository was renamed. Fetching from {self.run.repository}")
        return merging.fetch(self.git)

    def _complete(self) -> Seen:
        """Fetch what git left out of the code, and return what is found in it then."""
        fetched = submodules.complete(self.git)
        seen = self._look()
        if lfs.complete(self.git, seen.pointers, fetched):
            seen = self._look()
            lfs.check_complete(seen.pointers)
        return seen

    def _look(self) -> Seen:
        return look(self.sandbox, self.stack, self.folder, self._is_unwanted)

    def _list_root(self) -> ProjectRoot:
        return look_into_root(self.sandbox, self.stack, self.folder, self._is_unwanted)

    def _look_into_root(self, seen: Seen) -> ProjectRoot:
        """Return what the project root holds, once the commands before init have run.

        Raises RunFailed without configuration: Terraform would plan to destroy everything, as the
        file that names our backend hides from it that there is none.
        """
        root = seen.root
        self.program = self._program(seen)
        self.commands.read_file(self.folder, root.place)
        if self.commands.of("before_init"):
            self._run_commands("before_init")
            root = self._list_root()
        if not root.configuration(Tool(self.stack.tool)):
            where = f"“{self.stack.project_root}”" if self.stack.project_root else "the repository"
            raise RunFailed(
                f"The project root holds no {self.stack.get_tool_display()} configuration. Add a "
                f"file like main.tf to {where}, or change the project root of the stack if the "
                f"code moved."
            )
        return root

    def _check_files(self) -> None:
        """Fail where a file is missing that the arguments of the stack name."""
        if not self.arguments.files:
            return
        for path in self.arguments.files:
            if reason := why_not_file(self.stack.project_root, path):
                raise RunFailed(f"{reason} Change the arguments of the stack.")
        command = ["sh", "-c", project_root.MISSING, "missing", *self.arguments.files]
        missing, _ = self.sandbox.collect(
            command, {}, self._is_unwanted, LARGEST_LISTING, self.folder
        )
        if missing:
            path = missing.decode(errors="replace").partition("\0")[0]
            raise RunFailed(
                f"The commit has no file “{path}”, seen from the project root. Add the file, or "
                f"change the arguments of the stack."
            )

    def _check_no_state(self, root: ProjectRoot) -> None:
        """Fail where the commit holds a state, which `init` would ask to migrate."""
        if root.workspaces:
            raise RunFailed(
                f"{project_root.WORKSPACES} in the project root holds the states of workspaces, "
                f"and this stack has one state, which is kept elsewhere. Remove the folder from "
                f"the repository. {self._advice_for_state()}"
            )
        if project_root.STATE not in root.files:
            return
        file = f"{self.folder}/{project_root.STATE}"
        if project_root.holds_state(self.sandbox.read_file(file, LARGEST_STATE, self._is_unwanted)):
            raise RunFailed(
                f"{project_root.STATE} in the project root is a state, and the state of this stack "
                f"is kept elsewhere. Remove the file from the repository. "
                f"{self._advice_for_state()}"
            )

    def _advice_for_state(self) -> str:
        if self.stack.backend == Backend.STACKHOOK:
            return (
                "If it is the current state, have an admin upload it on the stack's State page "
                "first."
            )
        return (
            f"If it is the current state, first migrate it to the backend in the code: "
            f"{self.stack.tool} init -migrate-state."
        )

    def _put(self, root: ProjectRoot, ours: Mapping[str, bytes]) -> None:
        """Put files of ours into the project root; inside, where no link leads out of it.

        Raises RunFailed where something of the commit is in the way.
        """
        if backends.FILE in ours and root.has_stem(backends.STEM):
            raise RunFailed(
                f"The commit has a file named {backends.STEM}, which Stackhook needs itself. "
                f"Rename it."
            )
        for name in ours:
            if name in root.folders:
                raise RunFailed(
                    f"The commit has a folder named {name}, which Stackhook needs itself."
                )
        if not ours:
            return
        command = copy_command(self.sandbox, ours, self.folder)
        if self.sandbox.collect(command, {}, self._is_unwanted, MEGABYTE)[1]:
            raise RunFailed(f"{' and '.join(ours)} could not be put into the project root.")

    def _initialize(self, root: ProjectRoot) -> None:
        """Initialize the project root, and check which backend the tool then uses."""
        limits = Limits(settings.RUN_PLAN_MINUTES * 60)
        options = self.arguments.backend_options
        if self.stack.tool == Tool.OPENTOFU:  # its backends and modules may depend on variables
            options = [*options, *self.arguments.var_file_options]
        with self.proxy.serving(self.run, self.token) as served:
            command = terraform.init_command(self.program, options)

            def initialize() -> bool:
                return not self._execute(command, limits, served.environment())

            has_failed = not initialize()
            if self.run.state != State.APPLYING:  # it was planned with what the plan fetched
                self.installed = module_record.record(
                    self.run, served, self.sandbox, self._is_unwanted, self.masker.mask
                )
            if self.proposed_module and not has_failed:
                has_failed = not replacing.initialize_with(
                    self.proposed_module, self.git, served, initialize
                )
        self._check_backend(root, has_failed=has_failed)
        self._select_workspace(limits)
        self._run_commands("after_init")

    def _check_backend(self, root: ProjectRoot, *, has_failed: bool) -> None:
        stored = backends.read_stored(
            self.sandbox.read_at_once(f"data/{backends.STORED}", MEGABYTE)
        )
        if self.stack.backend == Backend.STACKHOOK:
            self._check_backend_is_ours(root, stored, has_failed)
        elif has_failed:
            self._check_no_state(root)
        if has_failed:
            raise self._failed(choosing.why_not_initialized(self.run, self.printed.text))
        if stored is None:
            raise RunFailed(f"The code names no backend, {LOSES_STATE}")
        if self.stack.backend == Backend.OWN and stored.type in backends.LOSE_STATE:
            raise RunFailed(f"The code names the backend “{stored.type}”, {LOSES_STATE}")

    def _select_workspace(self, limits: Limits) -> None:
        """Select the workspace of the stack; only a tracked run makes one that is not there."""
        name = self.arguments.workspace
        if not name:
            return
        if self.stack.backend == Backend.STACKHOOK:
            raise RunFailed(NO_WORKSPACES)
        creates = self.run.kind == Kind.TRACKED
        command = terraform.workspace_command(self.program, name, creates=creates)
        if self._execute(command, limits):
            sentence = f"The workspace “{name}” could not be selected."
            if not creates:
                sentence = f"{sentence} If there is none yet, a tracked run makes it."
            raise RunFailed(sentence, last_lines(self.printed.text, self.masker.mask))

    def _check_backend_is_ours(
        self, root: ProjectRoot, stored: StoredBackend | None, has_failed: bool
    ) -> None:
        """Fail if the code says who keeps its state.

        Stackhook would start from an empty state, and create everything a second time.
        """
        named = self._named_beside_ours() if has_failed else None
        if named is None and (stored is None or stored.is_ours(self.environment)):
            return
        # What replaced ours without an error is an override file.
        files = [named] if named else root.overrides(Tool(self.stack.tool))
        raise RunFailed(
            f"{' or '.join(files) or 'The code'} names a backend, and Stackhook is to keep the "
            f"state, which would begin empty. Choose the backend in the code under "
            f"Configure backend, or remove it from the code."
        )

    def _named_beside_ours(self) -> str | None:
        command = terraform.validate_command(self.program)
        try:
            diagnostics, _ = self.sandbox.collect(
                command, self.environment, self._is_unwanted, LARGEST_PLAN, self.folder
            )
        except LimitReached:
            return None
        return backends.named_beside_ours(diagnostics)

    def _warn_of_environment(self) -> None:
        """Warn of variables that have no effect, or that can't be masked."""
        for warning in warnings_of_overridden(
            self.environment,
            self.sandbox,
            self.folder,
            self._is_unwanted,
            self.arguments.var_files,
        ):
            self._warn(warning)
        if self.masker.has_more:
            self._warn(
                f"The secrets of this stack hold more than {MOST_PARTS:,} values, or "
                f"{MOST_CHARACTERS:,} characters in them. Each secret is masked as a whole, but "
                f"not each of these values. Move what is not secret into variables that are not "
                f"secret."
            )

    def _warn(self, sentence: str) -> None:
        """Show a warning on the run's page and in its log."""
        note(self.run, {"warnings": [*self.run.warnings, self.masker.mask(sentence)]})
        self.log.say(f"Warning: {sentence}")

    def _execute(
        self, command: Sequence[str], limits: Limits, more: Mapping[str, str] = MappingProxyType({})
    ) -> int:
        """Run a command in the project root, into the log; `more` is added to its environment."""
        self.printed.clear()
        environment = self.environment | dict(more)
        try:
            return self.sandbox.run(
                command, environment, self._write, self._is_unwanted, limits, self.folder
            )
        finally:
            self.log.flush()

    def _write(self, printed: bytes) -> None:
        """Log what a command prints, and keep its end, where its errors are."""
        self.printed.write(printed)
        self.log.write(printed)

    def _failed(self, sentence: str) -> RunFailed:
        """Return the failure of Terraform, with the errors that it printed."""
        errors = terraform_errors(self.printed.text, self.masker.mask)
        why = "" if errors else "The end of the log says why."
        return RunFailed(" ".join(filter(None, [sentence, why, what_to_do(errors)])), errors)

    def _results(self, plan: str) -> dict[str, Any]:
        """Return what is stored of a plan; no counts where it is too large to be read."""
        ended = {"plan_ended_at": timezone.now()}
        command = terraform.show_command(self.program, plan)
        try:
            text, code = self.sandbox.collect(
                command, self.environment, self._is_unwanted, LARGEST_PLAN, self.folder
            )
        except LimitReached:
            return ended
        hides_values = not terraform.marks_sensitive(self.run.tool, self.run.tool_version)
        summary = (
            None if code else terraform.read_plan(text, self.masker.mask, hides_values=hides_values)
        )
        if summary is None:
            return ended
        if hides_values:
            self._warn(
                f"{self.run.tool_with_version} does not say which values of a plan are sensitive, "
                f"so Stackhook shows none. To see them, use Terraform {terraform.FIRST_WITH_MARKS} "
                f"or later."
            )
        self._store_changes(summary)
        if summary.constraints:
            module_record.record_registry(
                self.run, self.installed, summary.constraints, self.masker.mask
            )
        only_refreshes = self.run.operation == Operation.REFRESH_ONLY
        drift = {"drifted": summary.drifted} if only_refreshes else {}
        return ended | summary.counts | drift

    def _store_changes(self, summary: PlanSummary) -> None:
        try:
            store_plan(self.run, read_changes(summary.entries, self.masker.mask))
        except LeaseLost:
            raise Stopped from None

    def _is_unwanted(self) -> bool:
        """Store the run's log, and say whether the run was stopped.

        Raises WorkerEnds when this worker is to end and the run can be planned by another.
        """
        is_applying = self.run.state == State.APPLYING
        now = time.monotonic()
        if now < self.asked_at + ASK_EVERY:
            return False
        self.asked_at = now
        if self.is_ending() and not is_applying:
            raise WorkerEnds
        self.log.tick()
        try:
            return not queue.is_wanted(self.run)
        except (DatabaseError, InterfaceError):
            # As long as its lease lasts, nobody else has it.
            return self.lease.may_have_ended
