"""Text that people type as a list."""


def comma_separated(text: str) -> list[str]:
    """Return what is between commas, in its order, without blanks around it and repetitions."""
    words = (word.strip() for word in text.split(","))
    return list(dict.fromkeys(word for word in words if word))
