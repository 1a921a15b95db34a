"""The one exception that is meant for people."""


class BudamaError(Exception):
    """A mistake of the user or of the environment, never of this program.

    Its text is one line a mistake, for people: the file, the key, the value, what is allowed. Several mistakes
    of one file are told at once: ``BudamaError(*lines)``.
    """

    @property
    def lines(self) -> list[str]:
        """The mistakes, one a line."""
        return str(self).splitlines()

    def __str__(self) -> str:
        return "\n".join(str(argument) for argument in self.args)
