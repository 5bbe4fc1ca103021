"""What happens in a check, top to bottom: fetch, make the archive, unpack it, try it, publish it.

What is tried is the archive, in a sandbox without any credentials. Its bytes are made before any
code of the module has run.
"""

import logging
import time
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError

from core.encryption import WrongKey
from core.leases import Keeping
from modules.documents.reading import read_module
from modules.models import Check, Outcome, Result
from modules.publishing import queue
from modules.publishing.archives import build
from modules.publishing.contents import MEGABYTE, File, NotArchivable
from modules.publishing.ending import Publication, end
from modules.publishing.folder import fetch, read_folder
from modules.publishing.module_tests import tests_of
from modules.publishing.trial import Trial
from stacks.execution.checkout.workspace import NotFetched, SandboxedGit
from stacks.execution.isolation.network import NoNetwork
from stacks.execution.isolation.sandbox import (
    LimitReached,
    NotIsolated,
    Sandbox,
    Stopped,
    sandbox,
)
from stacks.execution.output.logs import Writer, as_text
from stacks.execution.output.masking import Masker
from stacks.execution.retries import with_retries
from stacks.execution.versions.choosing import choose_for_module
from stacks.execution.versions.wanted import NoVersion
from vcs_integrations.providers.base import ProviderError

logger = logging.getLogger(__name__)

ASK_EVERY = 0.5  # seconds
LOG_MB = 1
# What the code can't help: the check is made later.
NOT_OF_THE_CODE = (NoNetwork, NotFetched, NotIsolated, ProviderError, WrongKey)
OURS = "Something went wrong in Stackhook itself. The operator finds it in the worker's log."
UNPACK = 'mkdir code && tar -xzf "$1" -C code --no-same-owner'
ARCHIVE, VERSION = "Archive", "Version"


class WorkerEnds(Exception):
    """The worker was asked to end: the next one makes its check again."""


class CheckLog(Writer):
    """Keeps what a check prints, until it is stored with its results."""

    def __init__(self, masker: Masker) -> None:
        self._kept: list[str] = []
        super().__init__(masker, LOG_MB)

    @property
    def text(self) -> str:
        return as_text("".join(self._kept))

    def _save(self, text: str) -> None:
        self._kept.append(text)


def execute(check: Check, is_ending: Callable[[], bool]) -> None:
    """Make a check that this worker holds, to its end. Raises nothing.

    `is_ending` says whether the worker was asked to end.
    """
    with Keeping([check], queue.LEASE) as lease:
        try:
            _Execution(check, is_ending, lease).execute()
        except Stopped:
            logger.info("%s was stopped", check)
        except WorkerEnds:
            queue.requeue(check)
        except (DatabaseError, InterfaceError):  # its lease ends, and another worker claims it
            logger.exception("%s could not be ended", check)


class _Execution:
    """A check that this worker holds."""

    def __init__(self, check: Check, is_ending: Callable[[], bool], lease: Keeping) -> None:
        self.check, self.module = check, check.module
        self.is_ending, self.lease = is_ending, lease
        self.asked_at = time.monotonic()
        self.results: list[Result] = []
        self.publication: Publication | None = None
        self.log = CheckLog(Masker([]))

    def execute(self) -> None:
        """Make the check, and store what it came to. Raises Stopped and WorkerEnds."""
        try:
            with sandbox() as box:
                self._check(box)
        except (Stopped, WorkerEnds, DatabaseError, InterfaceError):
            raise
        except NOT_OF_THE_CODE as error:
            sentence = str(error)
            with_retries(lambda: queue.retry_later(self.check, sentence, self.log.text))
            return
        except Exception:
            logger.exception("%s failed", self.check)
            self._add("Worker", Outcome.FAILED, OURS)
        with_retries(lambda: end(self.check, self.results, self.publication, self.log.text))

    def _check(self, box: Sandbox) -> None:
        files = self._files(box)
        if files is None:
            return
        archive = build(files)
        if self.check.versions.exists():
            said = read_module({path: one.content for path, one in files.items()})
            self.publication = Publication(archive, said.readme, said.stored)
        self._unpack(box, archive)
        try:
            top = {path: one.content for path, one in files.items() if "/" not in path}
            program, origin = choose_for_module(top, self._is_unwanted)
        except NoVersion as error:
            self._add(VERSION, Outcome.FAILED, str(error))
            return
        self.log.say(f"Using {program}, from {origin}")
        trial = Trial(box, program, top, self.log, self._is_unwanted)
        tests = tests_of(files, may_apply=self.module.applies_tests)
        try:
            for result in trial.results(tests):
                self.results.append(result)
        except LimitReached as error:
            self._add(trial.name, Outcome.FAILED, str(error))

    def _files(self, box: Sandbox) -> dict[str, File] | None:
        """Return the files of the module's archive; None if there can be none."""
        integration = self.module.integration
        token = integration.read_credentials().token
        self.log.masker = Masker([token, integration.provider.git_header(token)])
        git = SandboxedGit(integration, token, box, self.log, self._is_unwanted)
        try:
            fetch(git, self.check)
            files = read_folder(git, self.check)
        except (NotArchivable, LimitReached) as error:
            self._add(ARCHIVE, Outcome.FAILED, str(error))
            return None
        noun = "file" if len(files) == 1 else "files"
        self._add(ARCHIVE, Outcome.PASSED, f"{len(files):,} {noun}.")
        return files

    def _unpack(self, box: Sandbox, archive: bytes) -> None:
        given = box.provide("module.tar.gz", archive)
        command = ["sh", "-c", UNPACK, "unpack", given]
        if box.collect(command, {}, self._is_unwanted, MEGABYTE)[1]:
            raise NotFetched("The archive could not be unpacked in the sandbox.")

    def _add(self, name: str, outcome: Outcome, sentence: str) -> None:
        self.results.append(Result(name, outcome, sentence))

    def _is_unwanted(self) -> bool:
        """Say whether the check was stopped. Raises WorkerEnds when this worker is to end."""
        now = time.monotonic()
        if now < self.asked_at + ASK_EVERY:
            return False
        self.asked_at = now
        if self.is_ending():
            raise WorkerEnds
        self.log.tick()
        try:
            return not self.check.held().exists()
        except (DatabaseError, InterfaceError):
            # As long as its lease lasts, nobody else has it.
            return self.lease.may_have_ended
