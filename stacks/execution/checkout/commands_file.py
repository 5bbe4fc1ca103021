"""Reading `.stackhook/config.yml`: the commands that code has run before and after each step.

Anybody who can open a pull request can write it, so it is small, and read without what makes YAML
dangerous: tags, which make objects, and aliases, which make much of little.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from stacks.arguments.arguments import MOMENTS
from stacks.execution.output.terminal import harmless

FOLDER, NAME = ".stackhook", "config.yml"
FILE = f"{FOLDER}/{NAME}"
LARGEST = 64 * 1024  # bytes
MOST_COMMANDS = 20
LONGEST_COMMAND = 2000
DEEPEST = 10
EXAMPLE = "Write commands: and below it, for example, before_plan: with a list of commands."


class InvalidCommands(Exception):
    """The file is not as it has to be; the text is the rest of a sentence about it."""


class _Loader(yaml.BaseLoader):
    """Makes text, lists and mappings, and nothing else.

    Its parser in C would crash the worker over a file of brackets.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidCommands("has an alias, like *a. Write the text itself.")
        if self.depth > DEEPEST:
            raise InvalidCommands(f"is not understood. {EXAMPLE}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


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
        return yaml.load(content, _Loader)  # noqa: S506 - it makes no objects
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidCommands(f"is no YAML{where}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InvalidCommands("is no YAML that can be read.") from None


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
