"""Typing the name of a stack, which confirms what can't be taken back."""


def why_not_confirmed(typed: str, name: str) -> str:
    """Return why what was typed confirms nothing for the stack of this name; empty if it does."""
    return "" if typed.strip() == name else f"To confirm, type the stack's name: {name}"
