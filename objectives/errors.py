"""The one exception for what a user can put right."""


class InputError(ValueError):
    """A config, a file or a value is not usable; the message says what to do about it."""
