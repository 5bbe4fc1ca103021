"""The page of a check in its main states."""

from typing import Any

from modules.models import Check, CheckState, VersionState
from tests.browser.scene import Scene, state
from tests.builders import make_check, make_module, make_version

SHA = f"{1:040x}"
RESULTS = [
    {"name": "Archive", "outcome": "passed", "sentence": "12 files."},
    {"name": "Syntax", "outcome": "passed", "sentence": "Every file can be read."},
    {
        "name": "Initialization",
        "outcome": "skipped",
        "sentence": "registry.terraform.io was not reached from the sandbox.",
    },
]
FAILED = {
    "name": "Validation",
    "outcome": "failed",
    "sentence": "Unsupported argument on main.tf line 12, in resource "
    f"{'a-very-long-name-' * 5}: An argument named nam is not expected here.",
}


def check(scene: Scene, **changes: Any) -> Check:
    module = make_module(scene.integration, namespace="platform-engineering")
    make_version(module, state=VersionState.REFUSED)
    return make_check(module, SHA, **changes)


@state("check that failed")
def _failed(scene: Scene) -> None:
    log = "Validation: validate\n" + "Error: Unsupported argument\n" * 40 + "x" * 300
    failure = f"Validation: {FAILED['sentence']}"
    results = [*RESULTS[:2], FAILED]
    found = check(scene, state=CheckState.FAILED, results=results, failure=failure, log=log)
    scene.member(found.get_absolute_url())


@state("check that passed")
def _passed(scene: Scene) -> None:
    found = check(scene, state=CheckState.PASSED, results=RESULTS)
    scene.member(found.get_absolute_url())


@state("check that waits")
def _waits(scene: Scene) -> None:
    scene.member(check(scene, failure="The commit could not be fetched.").get_absolute_url())
