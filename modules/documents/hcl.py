"""What the files of a module say: inputs, outputs and required providers.

Which blocks and arguments there are: https://developer.hashicorp.com/terraform/language, “variable
block reference”, “output block reference”, “terraform block reference”.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import hcl2
from hcl2 import SerializationOptions

OPTIONS = SerializationOptions(
    with_comments=False,
    explicit_blocks=False,
    preserve_heredocs=False,
    preserve_scientific_notation=False,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
LONGEST_TEXT = 10_000
LONGEST_PROBLEM = 300
INDENT = "  "


def documentation(files: Mapping[str, str]) -> dict[str, Any]:
    """Return what the files of one folder say, as `reading.Documentation` names it."""
    found: dict[str, Any] = {
        "inputs": [],
        "outputs": [],
        "providers": [],
        "required_version": "",
        "problems": [],
    }
    for name in sorted(files):
        try:
            body = _parsed(name, files[name])
            _read(body, found)
        except RecursionError:
            found["problems"].append(f"{name} is nested too deeply to be read.")
        except Exception as error:  # the parser's own are of many kinds
            reason = " ".join(str(error).split())[:LONGEST_PROBLEM]
            found["problems"].append(_shown(f"{name} could not be read: {reason}"))
    for kind in ("inputs", "outputs", "providers"):
        found[kind].sort(key=lambda one: one["name"])
    return found


def _parsed(name: str, text: str) -> Any:
    if name.endswith(".json"):
        return json.loads(text)
    return hcl2.loads(f"{text}\n", serialization_options=OPTIONS)


def _read(body: Any, found: dict[str, Any]) -> None:
    for name, block in _blocks(body, "variable"):
        found["inputs"].append(
            {
                "name": name,
                "type": _expression(block.get("type", "")).strip('"'),
                "description": _text(block.get("description")),
                "default": _expression(block["default"]) if "default" in block else None,
                "is_sensitive": block.get("sensitive") is True,
            }
        )
    for name, block in _blocks(body, "output"):
        found["outputs"].append(
            {
                "name": name,
                "description": _text(block.get("description")),
                "is_sensitive": block.get("sensitive") is True,
            }
        )
    for block in _listed(body.get("terraform")):
        found["required_version"] = _text(block.get("required_version"))
        for providers in _listed(block.get("required_providers")):
            found["providers"] += [_provider(*one) for one in providers.items()]


def _provider(name: str, value: Any) -> dict[str, str]:
    """Return a required provider; before Terraform 0.13 its value was the version alone."""
    if not isinstance(value, dict):
        value = {"version": value}
    source = _text(value.get("source")) or f"hashicorp/{_unquoted(name)}"
    return {
        "name": _shown(_unquoted(name)),
        "source": source,
        "version": _text(value.get("version")),
    }


def _blocks(body: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for labeled in _listed(body.get(kind)):
        for label, content in labeled.items():
            for block in _listed(content):
                yield _shown(_unquoted(label)), block


def _listed(value: Any) -> list[dict[str, Any]]:
    """Return the blocks of a value, which JSON may write as one or as a list."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _text(value: Any) -> str:
    """Return the text of an argument that has to be a string; empty for anything else."""
    return _shown(_unquoted(value)) if isinstance(value, str) else ""


def _shown(text: str) -> str:
    """Return a text without what no database stores: NUL, and halves of characters."""
    return text[:LONGEST_TEXT].replace("\0", "").encode(errors="replace").decode()


def _unquoted(text: str) -> str:
    if len(text) < 2 or not (text[0] == text[-1] == '"'):
        return text
    parts, rest = [], iter(text[1:-1])
    for character in rest:
        if character != "\\":
            parts.append(character)
            continue
        following = next(rest, "")
        parts.append(ESCAPES.get(following, f"\\{following}"))
    return "".join(parts).replace("$${", "${").replace("%%{", "%{")


def _expression(value: Any) -> str:
    """Return an expression as people write it, objects with one line for each value."""
    return _shown(_written(value, ""))


def _written(value: Any, indent: str) -> str:
    if isinstance(value, dict):
        if not value:
            return "{}"
        inner = indent + INDENT
        lines = [f"{inner}{_key(key)} = {_written(one, inner)}" for key, one in value.items()]
        return "\n".join(["{", *lines, f"{indent}}}"])
    if isinstance(value, list):
        return f"[{', '.join(_written(one, indent) for one in value)}]"
    if isinstance(value, str):
        is_expression = value.startswith("${") and value.endswith("}")
        return value[2:-1] if is_expression else value
    return json.dumps(value)


def _key(key: str) -> str:
    return key[2:-1] if key.startswith("${") and key.endswith("}") else key
