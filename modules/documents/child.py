"""Print what a module says of itself, as JSON: a program of its own, since its code is anybody's.

`modules.documents.asking` starts it. It reads a JSON object from standard input: `code`, text by
path, and `readme`.
"""

import json
import sys

from modules.documents.hcl import documentation
from modules.documents.markdown import to_html


def main() -> None:
    module = json.load(sys.stdin)
    folders: dict[str, dict[str, str]] = {}
    for path, content in module["code"].items():
        folder, _, file = path.rpartition("/")
        folders.setdefault(folder, {})[file] = content
    said = {folder: documentation(files) for folder, files in folders.items()}
    json.dump({"folders": said, "readme": to_html(module["readme"])}, sys.stdout)


if __name__ == "__main__":
    main()
