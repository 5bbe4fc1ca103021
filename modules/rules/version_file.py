"""Reading the version in `.stackhook/module.yml`, in the folder of a module."""

from modules.rules.semver import InvalidVersion, SemVer
from stacks.sources.yaml_files import HasAlias, NoYaml, TooDeep, load_yaml

PATH = ".stackhook/module.yml"
LARGEST = 64 * 1024  # characters
EXAMPLE = "Write a line like version: 1.2.3"


class InvalidFile(ValueError):
    """The file says no version; the text is the rest of a sentence about it, without a period."""


def path_in(folder: str) -> str:
    """Return the path of the file in a repository, for a module's folder."""
    return f"{folder}/{PATH}" if folder else PATH


def read_version(content: str) -> SemVer:
    """Return the version that a file says. Raises InvalidFile."""
    if len(content) > LARGEST:
        raise InvalidFile(f"is larger than {LARGEST // 1024} KB")
    try:
        found = load_yaml(content)
    except HasAlias:
        raise InvalidFile("has an alias, like *a. Write the text itself") from None
    except TooDeep:
        raise InvalidFile(f"is not understood. {EXAMPLE}") from None
    except NoYaml as error:
        raise InvalidFile(f"is no YAML{error.where}. {EXAMPLE}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str) or not version.strip():
        raise InvalidFile(f"has no version. {EXAMPLE}")
    try:
        return SemVer.parse(version.strip().removeprefix("v"))
    except InvalidVersion:
        shown = " ".join(version.split())[:100]
        raise InvalidFile(
            f"has the version “{shown}”, which is none by Semantic Versioning. {EXAMPLE}"
        ) from None
