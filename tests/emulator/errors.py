"""What is refused, for whichever part answers."""


class RefusedError(ValueError):
    """Something cannot be done; the text is for a person, the rest for the REST answer."""

    def __init__(
        self, message: str, type_key: str = "InvalidArgumentValueException", status: int = 400
    ) -> None:
        super().__init__(message)
        self.type_key = type_key
        self.status = status
