"""Print which files of tests only plan, as JSON: a program of its own, since they are anybody's.

`modules.documents.asking` starts it. It reads a JSON object from standard input: text by path.

A `run` block applies unless it says `command = plan` (https://developer.hashicorp.com/terraform/
language/tests, “Run blocks”).
"""

import json
import sys
from typing import Any

import hcl2


def only_plans(text: str) -> bool:
    """Say whether each run block of a file plans; False for what can't be read."""
    try:
        body = hcl2.loads(f"{text}\n")
        blocks = [block for labeled in body.get("run", []) for block in labeled.values()]
        return all(_command(block) == "plan" for block in blocks)
    except Exception:  # the parser's own are of many kinds
        return False


def _command(block: Any) -> Any:
    """Return the command of a block, a keyword; what is in quotes is none."""
    return block.get("command")


def main() -> None:
    files = json.load(sys.stdin)
    json.dump({path: only_plans(text) for path, text in files.items()}, sys.stdout)


if __name__ == "__main__":
    main()
