"""Hiding secrets in what a job prints: whole and in part, in the forms that programs write."""

from collections.abc import Iterable
from itertools import chain, islice

from stacks.execution.secret_parts import parts_of
from stacks.execution.spellings import spellings
from stacks.execution.terminal import harmless

MASK = "********"
# Shorter ones would hide half of every log.
SHORTEST_SECRET = 4
# What a value holds is more often an ordinary word than a whole value is: true, sa, 1433. So it
# has to be as long as a secret that is entered.
SHORTEST_PART = 6
# Finding them all takes a few seconds at most, and memory for some ten spellings of each.
MOST_PARTS = 10_000


class Masker:
    """Replaces secrets, their parts, and the forms in which programs like to print them.

    `has_more` says whether the secrets have more parts than are masked one by one.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Secrets that come first have their parts masked first."""
        wholes = list(dict.fromkeys(secrets))
        parts = chain.from_iterable(parts_of(one, SHORTEST_PART) for one in wholes)
        chosen = set(islice(parts, MOST_PARTS))
        self.has_more = next(parts, None) is not None
        self.longest = 0
        self._known: set[str] = set()
        # By the first characters, so that text is read once, however many secrets there are.
        self._lengths: dict[str, list[int]] = {}
        for whole in wholes:
            self._know([whole, *whole.splitlines()], SHORTEST_SECRET)
        for one in chosen.union(wholes):
            self._know(spellings(one), SHORTEST_PART)
        for lengths in self._lengths.values():
            lengths.sort(reverse=True)

    def mask(self, text: str) -> str:
        """Return a text, which has to be harmless, without secrets."""
        shown: list[str] = []
        end = 0
        for start, stop in self.spans(text):
            shown += [text[end:start], MASK]
            end = stop
        return "".join([*shown, text[end:]])

    def cut(self, text: str) -> int:
        """Return where text may be cut so that no secret that may go on is cut in two."""
        end = max(0, len(text) - self.longest + 1) if self.longest else len(text)
        for start, stop in self.spans(text):
            # Secrets that overlap to no end are cut in two: each half is masked by itself.
            if start < end < stop and (start or len(text) < 2 * self.longest):
                return start
        return end

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets are in a text; those that overlap as one."""
        found: list[tuple[int, int]] = []
        known, begin, size = self._known, self._lengths, SHORTEST_SECRET
        last = len(text) - size if known else -1
        for start in [one for one in range(last + 1) if text[one : one + size] in begin]:
            for length in begin[text[start : start + size]]:
                if text[start : start + length] in known:
                    stop = min(start + length, len(text))
                    if found and start < found[-1][1]:
                        found[-1] = (found[-1][0], max(stop, found[-1][1]))
                    else:
                        found.append((start, stop))
                    break
        return found

    def _know(self, forms: Iterable[str], shortest: int) -> None:
        """Add forms that are long enough, without spaces around them, which need no mask."""
        for form in forms:
            for text in {form.strip(), harmless(form).strip()}:
                if len(text) < shortest or text in self._known:
                    continue
                self._known.add(text)
                self.longest = max(self.longest, len(text))
                lengths = self._lengths.setdefault(text[:SHORTEST_SECRET], [])
                if len(text) not in lengths:
                    lengths.append(len(text))
