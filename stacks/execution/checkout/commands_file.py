"""Reading `.stackhook/config.yml`: the commands that code has run before and after each step."""

from collections.abc import Mapping
from typing import Any

from stacks.arguments.arguments import MOMENTS
from stacks.execution.output.terminal import harmless
from stacks.sources.yaml_files import HasAlias, NoYaml, TooDeep, load_yaml

FOLDER, NAME = ".stackhook", "config.yml"
FILE = f"{FOLDER}/{NAME}"
LARGEST = 64 * 1024  # bytes
MOST_COMMANDS = 20
LONGEST_COMMAND = 2000
EXAMPLE = "Write commands: and below it, for example, before_plan: with a list of commands."


class InvalidCommands(Exception):
    """The file is not as it has to be; the text is the rest of a sentence about it."""


def read_commands(content: bytes) -> Mapping[str, list[str]]:
    """Return the commands of each moment that a file names. Raises InvalidCommands."""
    if len(content) > LARGEST:
        raise InvalidCommands(f"is larger than {LARGEST // 1024} KB.")
    found = _loaded(content)
    if found in (None, ""):
        return {}
    of_file = _mapping(found, "the file", {"commands"})
    of_moments = _mapping(of_file.get("commands") or {}, "commands", set(MOMENTS))
    return {moment: _commands(moment, listed) for moment, listed in of_moments.items()}


def _loaded(content: bytes) -> Any:
    try:
        return load_yaml(content)
    except HasAlias:
        raise InvalidCommands("has an alias, like *a. Write the text itself.") from None
    except TooDeep:
        raise InvalidCommands(f"is not understood. {EXAMPLE}") from None
    except NoYaml as error:
        problem = f": {error.problem}" if error.problem else ""
        raise InvalidCommands(f"is no YAML{error.where}{problem}.") from None


def _mapping(found: Any, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidCommands(f"is not understood. {EXAMPLE}")
    for key in found:
        if key not in known:
            raise InvalidCommands(
                f"has “{_shown(key)}” in {name}, which Stackhook doesn't know. Known: "
                f"{', '.join(one for one in ['commands', *MOMENTS] if one in known)}."
            )
    return found


def _shown(key: str) -> str:
    return " ".join(harmless(key).split())[:100]


def _commands(moment: str, listed: Any) -> list[str]:
    commands = [listed] if isinstance(listed, str) else listed
    if not isinstance(commands, list) or not all(isinstance(one, str) for one in commands):
        raise InvalidCommands(f"has no list of commands for {moment}. {EXAMPLE}")
    commands = [one.strip() for one in commands if one.strip()]
    if len(commands) > MOST_COMMANDS:
        raise InvalidCommands(
            f"has {len(commands)} commands for {moment}, and {MOST_COMMANDS} are allowed. Write a "
            f"script, and name that."
        )
    if any(len(one) > LONGEST_COMMAND or "\0" in one for one in commands):
        raise InvalidCommands(
            f"has a command for {moment} with more than {LONGEST_COMMAND} characters. Write a "
            f"script, and name that."
        )
    return commands
