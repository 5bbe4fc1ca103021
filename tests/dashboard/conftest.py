"""The start page shows stacks, so its tests share theirs."""

from tests.stacks.conftest import stack, world

__all__ = ["stack", "world"]
