"""The lines below each resource of a plan in a comment: which attributes change, and why.

A plan's values were masked when they were stored; whoever may read the pull request sees them,
as they would in what Terraform prints.
"""

from collections.abc import Iterator

from core.encryption import WrongKey
from stacks.models import PlanChange, Run, values_of
from stacks.models.plan import ChangeKind
from stacks.rules.line_diff import Line, LineDiff
from stacks.rules.plan_reasons import REASONS

INDENT = " " * 6
MOST_ATTRIBUTES = 20
MOST_LINES_OF_TEXT = 12
LONGEST_VALUE = 120  # characters

Row = tuple[str, str | None, str | None, bool]


def lines_below(run: Run, most: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the place of a resource among those of a plan, and the lines that belong below it.

    Of the first `most` resources. What a destroyed resource had is left out. Where the values
    can't be decrypted, or are not kept any more, there are no lines.
    """
    part, values = 0, {}
    diff = LineDiff()
    changes = PlanChange.objects.filter(run=run, kind=ChangeKind.RESOURCE, number__lte=most)
    for change in changes:
        lines = [f"{INDENT}{REASONS[change.reason]}"] if change.reason in REASONS else []
        if change.action not in {"destroy", "forget"}:
            try:
                if change.part != part:
                    part, values = change.part, values_of(run, change.part)
            except WrongKey:
                return
            known = values.get(change.number, {})
            lines += _attributes(known.get("rows", []), known.get("left_out", 0), diff)
        yield change.number - 1, lines


def _attributes(rows: list[Row], left_out: int, diff: LineDiff) -> Iterator[str]:
    # What forces a replacement is what people look for.
    forcing_first = sorted(rows, key=lambda row: not row[3])
    for row in forcing_first[:MOST_ATTRIBUTES]:
        yield from _attribute(row, diff)
    if rest := len(rows) + left_out - len(rows[:MOST_ATTRIBUTES]):
        yield f"{INDENT}… {rest} more attribute{'' if rest == 1 else 's'}"


def _attribute(row: Row, diff: LineDiff) -> Iterator[str]:
    path, old, new, forces = row
    name = path.replace("\n", " ") + (" (forces replacement)" if forces else "")
    sign = "+" if old is None else "-" if new is None else "~"
    if "\n" in f"{old}{new}":
        yield f"{INDENT}{sign} {_cut(name)}:"
        yield from _lines(old, new, diff)
    else:
        values = " → ".join(_cut(one) for one in (old, new) if one is not None)
        yield f"{INDENT}{sign} {_cut(name)}: {values}"


def _lines(old: str | None, new: str | None, diff: LineDiff) -> Iterator[str]:
    if old is None or new is None:
        lines = [Line("", text) for text in (old or new or "").split("\n")]
    else:
        lines = diff.compare(old, new)
    for line in lines[:MOST_LINES_OF_TEXT]:
        text = "…" if line.text is None else f"{line.sign or ' '} {_cut(line.text)}"
        yield f"{INDENT}    {text}".rstrip()
    if len(lines) > MOST_LINES_OF_TEXT:
        yield f"{INDENT}    …"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
