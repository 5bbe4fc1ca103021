"""The end of a check: what is stored of it, and what becomes of the versions that wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from modules.models import Check, CheckState, Outcome, Result, VersionState
from modules.publishing.storing import store
from stacks.execution.isolation.sandbox import Stopped


@dataclass(frozen=True)
class Publication:
    """What a version has once it is published: its archive, README and documentation."""

    archive: bytes
    readme: str
    documentation: dict[str, Any]


def end(check: Check, results: Sequence[Result], publication: Publication | None, log: str) -> None:
    """Store how a check that this worker holds ended, and publish or refuse its versions.

    That is one transaction: a version is published once, with its archive, or not at all. One that
    came to wait in the meantime has the check due again. Raises Stopped if the check is not this
    worker's any more.
    """
    failed = next((one for one in results if one.outcome == Outcome.FAILED), None)
    with transaction.atomic():
        now = timezone.now()
        is_ours = check.release(
            None,
            state=CheckState.FAILED if failed else CheckState.PASSED,
            ended_at=now,
            results=[one.stored for one in results],
            failure=f"{failed.name}: {failed.sentence}"[:1000] if failed else "",
            log=log,
        )
        if not is_ours:
            raise Stopped
        waiting = check.versions.filter(state=VersionState.WAITING)
        if failed:
            waiting.update(state=VersionState.REFUSED)
        elif publication and waiting.exists():
            waiting.update(
                state=VersionState.PUBLISHED,
                published_at=now,
                archive=store(publication.archive),
                readme=publication.readme,
                documentation=publication.documentation,
            )
        check.report()
