"""Why a run failed, as its page says it."""


class RunFailed(Exception):
    """A run fails; the text says why, and what to do.

    `errors` is what the program that failed printed of it, masked; empty if there is nothing.
    """

    def __init__(self, sentence: str, errors: str = "") -> None:
        super().__init__(sentence)
        self.errors = errors
