"""What happens in a run, top to bottom: fetch, init, plan; and once it is confirmed, apply.

The run's state is moved by the worker that has it, and only as long as it has it.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from stacks.environment import environment_of
from stacks.execution import queue, terraform, workspace
from stacks.execution.logs import Log, Masker
from stacks.execution.patience import patiently
from stacks.execution.sandbox import (
    MEGABYTE,
    LimitReached,
    Limits,
    NotIsolated,
    Sandbox,
    Stopped,
    sandbox,
)
from stacks.execution.terraform import PlanSummary
from stacks.models import Backend, PlanFile, Run, Tool
from stacks.state_backend import address_of, issue_credential, username_of
from stacks.states import Kind, State
from vcs_integrations.encryption import WrongKey, decrypting
from vcs_integrations.providers.base import ProviderError

logger = logging.getLogger(__name__)

RENEW_EVERY = 10  # seconds
ASK_EVERY = 0.5
LARGEST_PLAN = 64 * MEGABYTE
LARGEST_LOCK_FILE = MEGABYTE
# What `timeout` ends with: its own time, and after a kill.
TIMED_OUT = {124, 137}
OURS = "Something went wrong in Stackhook itself. The operator finds it in the worker's log."


class JobFailed(Exception):
    """A run failed; the text says why, and what to do."""


class WorkerEnds(Exception):
    """The worker was asked to end: what it plans is planned again by the next one."""


def execute(run: Run, is_ending: Callable[[], bool]) -> None:
    """Do what is to be done in a run's state, to its end. Raises nothing.

    `is_ending` says whether the worker was asked to end; an apply is brought to its end first.
    """
    try:
        with sandbox() as one:
            job = Job(run, one, is_ending)
            if run.state == State.APPLYING:
                job.apply()
            else:
                job.plan()
    except Stopped:
        logger.info("%s of %s was stopped", run, run.stack)
    except WorkerEnds:
        queue.give_back(run)
    except (JobFailed, LimitReached, NotIsolated, ProviderError, WrongKey) as error:
        fail(run, str(error))
    except Exception:
        logger.exception("%s of %s failed", run, run.stack)
        fail(run, OURS)


def fail(run: Run, sentence: str) -> None:
    """End a run as failed, if it is still this worker's."""
    ended = "apply_ended_at" if run.state == State.APPLYING else "plan_ended_at"
    try:
        end(run, State.FAILED, failure=sentence[:1000], **{ended: timezone.now()})
    except Stopped:
        logger.info("%s of %s had ended: %s", run, run.stack, sentence)
    except (DatabaseError, InterfaceError):  # its lease runs out, and others see to it
        logger.exception("%s of %s could not be ended", run, run.stack)


def end(run: Run, state: State, **fields: Any) -> None:
    """Move a run on and let go of it. Raises Stopped when it is not this worker's any more."""
    patiently(lambda: _move(run, state, worker="", lease_until=None, **fields))


@transaction.atomic
def _move(run: Run, state: State, **fields: Any) -> None:
    held = Run.objects.filter(pk=run.pk, worker=run.worker, state=run.state)
    if not held.move_to(state):
        raise Stopped
    Run.objects.filter(pk=run.pk).update(**fields)
    run.refresh_from_db()


class Job:
    """A run that this worker has, in a sandbox."""

    def __init__(self, run: Run, sandbox: Sandbox, is_ending: Callable[[], bool]) -> None:
        self.run = run
        self.stack = run.stack
        self.sandbox = sandbox
        self.is_ending = is_ending
        self.asked_at = self.renewed_at = time.monotonic()
        self.program = self._program()
        self.token = run.repository.integration.read_credentials().token
        self.environment, secrets = self._environment()
        self.masker = Masker([self.token, workspace.token_header(self.token), *secrets])
        self.log = Log(run, run.state, self.masker)

    def plan(self) -> None:
        """Plan, and wait for people where something would be changed on the tracked branch."""
        self._prepare()
        _move(self.run, State.PLANNING)
        self.log.phase = State.PLANNING
        plan = self.sandbox.path("workspace", terraform.PLAN)
        locks = self.run.kind == Kind.TRACKED
        command = terraform.plan_command(self.program, plan, locks=locks)
        code = self._execute(command, Limits(settings.RUN_PLAN_MINUTES * 60))
        if code not in {terraform.NO_CHANGES, terraform.CHANGES}:
            raise JobFailed("The plan failed. The end of the log says why.")
        fields = self._results(plan)
        if code == terraform.NO_CHANGES or self.run.kind == Kind.PROPOSED:
            end(self.run, State.FINISHED, **fields)
            return
        file = self.sandbox.take(terraform.PLAN, LARGEST_PLAN, self._is_unwanted)
        lock_file = f"{self.folder}/{terraform.LOCK_FILE}"
        PlanFile.objects.update_or_create(
            run=self.run,
            defaults={
                "content": file,
                "lock_file": self.sandbox.take(lock_file, LARGEST_LOCK_FILE, self._is_unwanted),
            },
        )
        end(self.run, State.CONFIRMED if self.stack.autodeploy else State.UNCONFIRMED, **fields)

    def apply(self) -> None:
        """Apply exactly the plan that was confirmed. What began to be applied never is again."""
        with decrypting("The plan"):
            stored = PlanFile.objects.filter(run=self.run).first()
        if stored is None:
            raise JobFailed("Its plan is not there any more, so nothing was applied. Retry it.")
        plan = self.sandbox.give(terraform.PLAN, bytes(stored.content))
        self._prepare(bytes(stored.lock_file))
        command = terraform.apply_command(self.program, plan)
        limits = Limits(settings.RUN_APPLY_MINUTES * 60, outlives=True)
        code = self._execute(command, limits)
        if code in TIMED_OUT:
            raise JobFailed(
                f"It took more than {settings.RUN_APPLY_MINUTES} minutes and was ended. Part of it "
                f"was done; the next plan shows what is missing."
            )
        if code:
            raise JobFailed(
                "The apply failed. Part of it may have been done: the end of the log says why, and "
                "the next plan shows what is missing."
            )
        end(self.run, State.FINISHED, apply_ended_at=timezone.now())

    def _program(self) -> str:
        program = terraform.binary(self.stack.tool)
        if program is None:
            name = self.stack.get_tool_display()
            raise JobFailed(
                f"{name} is not there on the worker's machine. The operator installs it, or names "
                f"its place in {terraform.VARIABLES[Tool(self.stack.tool)]}."
            )
        return self.sandbox.program(program)

    def _environment(self) -> tuple[dict[str, str], list[str]]:
        """Return what the job's programs find in their environment, and what of it is secret."""
        environment = {
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_DATA_DIR": self.sandbox.path("workspace", "data"),
            "CHECKPOINT_DISABLE": "1",
        }
        chosen, secrets = environment_of(self.stack)
        environment = chosen | environment | self.sandbox.certificates("SSL_CERT_FILE")
        if self.stack.backend != Backend.STACKHOOK:
            return environment, secrets
        password, address = issue_credential(self.run), address_of(self.stack)
        environment |= {
            "TF_HTTP_ADDRESS": address,
            "TF_HTTP_LOCK_ADDRESS": address,
            "TF_HTTP_UNLOCK_ADDRESS": address,
            "TF_HTTP_USERNAME": username_of(self.run),
            "TF_HTTP_PASSWORD": password,
        }
        return environment, [*secrets, password]

    def _prepare(self, lock_file: bytes = b"") -> None:
        """Fetch the commit, and have its project root initialized."""
        source = self.run.pull_request
        if source and source.is_from_fork and not self.run.push_id and not self.stack.runs_forks:
            raise JobFailed("It is of a fork, whose code this stack does not run.")
        if self.run.attempts > 1:
            self.log.say("The worker stopped, so this is begun again.")
        self.log.say(f"Fetching commit {self.run.sha[:8]} of {self.run.repository}")
        if not workspace.fetch(
            self.run, self.token, self.sandbox, self.log.write, self._is_unwanted
        ):
            self.log.flush()
            raise JobFailed("The commit could not be fetched. The end of the log says why.")
        self.folder = f"{workspace.CODE}/{self.stack.project_root}".rstrip("/")
        if self._try("test", "-d", self.sandbox.path("workspace", self.folder)):
            raise JobFailed(
                f"The commit has no folder “{self.stack.project_root}”. Change the project root of "
                f"the stack, or add the folder."
            )
        if self.stack.backend == Backend.STACKHOOK:
            self._check_names_no_backend()
            self._put(terraform.OVERRIDE, terraform.BACKEND)
        if lock_file:
            self._put(terraform.LOCK_FILE, lock_file)
        limits = Limits(settings.RUN_PLAN_MINUTES * 60)
        if self._execute(terraform.init_command(self.program), limits):
            raise JobFailed("The initialization failed. The end of the log says why.")
        if self._try("test", "-e", self.sandbox.path("workspace", "data/terraform.tfstate")):
            raise JobFailed(
                "The code names no backend, so its state would be lost. Name one, or let Stackhook "
                "keep the state: Configure backend."
            )

    def _check_names_no_backend(self) -> None:
        """Fail where the code says who keeps its state.

        Ours would win, begin with an empty state, and have all that is there made once more.
        """
        where = [self.sandbox.path("workspace", self.folder), "-maxdepth", "1", "-name", "*.tf"]
        command = ["find", *where, "-exec", "grep", "-lE", terraform.NAMES_BACKEND, "{}", "+"]
        found, _ = self.sandbox.collect(command, {}, self._is_unwanted, MEGABYTE)
        if found:
            file = Path(os.fsdecode(found.splitlines()[0])).name
            raise JobFailed(
                f"{file} names a backend, and Stackhook is to keep the state, which would begin "
                f"empty. Choose the backend that the code names under Configure backend, or remove "
                f"it from the code."
            )

    def _put(self, name: str, content: bytes) -> None:
        """Put a file of ours into the project root; inside, where no link leads out of it."""
        given = self.sandbox.give(name, content)
        target = self.sandbox.path("workspace", f"{self.folder}/{name}")
        if self._try("cp", "-T", "--remove-destination", given, target):
            raise JobFailed(f"The commit has a folder named {name}, which Stackhook needs itself.")

    def _try(self, *command: str) -> int:
        return self.sandbox.collect(command, {}, self._is_unwanted, MEGABYTE)[1]

    def _execute(self, command: Sequence[str], limits: Limits) -> int:
        """Run a command in the project root, into the log."""
        try:
            return self.sandbox.run(
                command, self.environment, self.log.write, self._is_unwanted, limits, self.folder
            )
        finally:
            self.log.flush()

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
        summary = None if code else terraform.read_plan(text, self.masker.mask)
        return ended | (counts_of(summary) if summary else {})

    def _is_unwanted(self) -> bool:
        """Keep the run, store its log, and say whether it was stopped.

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
            if now < self.renewed_at + RENEW_EVERY:
                return not queue.is_wanted(self.run)
            is_held = queue.renew(self.run)
            self.renewed_at = now
            return not is_held
        except (DatabaseError, InterfaceError):
            # As long as its lease lasts, nobody else has it.
            return now > self.renewed_at + queue.LEASE.total_seconds()


def counts_of(summary: PlanSummary) -> dict[str, Any]:
    return {
        "added": summary.added,
        "changed": summary.changed,
        "destroyed": summary.destroyed,
        "plan": summary.listed,
    }
