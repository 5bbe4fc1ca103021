"""YAML in repositories: whoever can push, or open a pull request, writes it.

So it is read without what makes YAML dangerous: tags, which make objects, and aliases, which make
much of little.
"""

from typing import Any

import yaml

DEEPEST = 10


class HasAlias(ValueError):
    """The file has an alias, like *a."""


class TooDeep(ValueError):
    """The file nests lists and mappings more deeply than anything that is asked for."""


class NoYaml(ValueError):
    """The file is no YAML: `where`, as the end of a sentence, and what the problem is, if known."""

    def __init__(self, where: str, problem: str = "") -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem


class _Loader(yaml.BaseLoader):
    """Makes text, lists and mappings, and nothing else.

    Its parser in C would crash the worker over a file of brackets.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise HasAlias
        if self.depth > DEEPEST:
            raise TooDeep
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def load_yaml(content: bytes | str) -> Any:
    """Return what a file says, in text, lists and mappings.

    It has to be small: time and memory grow with it. Raises HasAlias, TooDeep and NoYaml.
    """
    try:
        return yaml.load(content, _Loader)  # noqa: S506 - it makes no objects
    except (HasAlias, TooDeep):
        raise
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise NoYaml(where, str(error.problem)) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise NoYaml(" that can be read") from None
