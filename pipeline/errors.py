"""What may go wrong for reasons the user can mend, each with its exit code (BSD sysexits)."""

import re

# Not for `sqlite:////home/...`. Up to the last `@`: a password may hold another, or a slash.
_LOGIN = re.compile(r"(?<=:)//(?!/)\S*@")


class PipelineError(Exception):
    """A fault to be told in one line, without a traceback."""

    exit_code = 1


class ParamsError(PipelineError):
    """A value in params.yaml breaks a rule."""

    exit_code = 2


class ArgumentError(PipelineError):
    """What was typed names nothing, or more than one thing."""

    exit_code = 2


class DataError(PipelineError):
    """A file does not hold what its format promises."""

    exit_code = 65


class MissingInputError(PipelineError):
    """A file that an earlier stage should have written is not there."""

    exit_code = 66


class UnavailableError(PipelineError):
    """No source could deliver a file."""

    exit_code = 69


class PendingError(PipelineError):
    """Something else is not ready; trying again later may do."""

    exit_code = 75


class InterruptedTrainingError(PipelineError):
    """Training was asked to end; what it had done is kept."""

    def __init__(self, message: str, signal_number: int) -> None:
        """Ends with the exit code by which shells tell of a signal."""
        super().__init__(message)
        self.exit_code = 128 + signal_number


class CannotCreateError(PipelineError):
    """A file or folder could not be created."""

    exit_code = 73


class WriteError(PipelineError):
    """Writing failed half-way, for instance on a full disk."""

    exit_code = 74


def one_line(text: object, longest: int = 200) -> str:
    """Returns what others say over many lines in one, without passwords and control characters.

    Where it gets long its middle is left out: the cause often comes last.
    """
    line = printable(" ".join(without_passwords(str(text)).split()))
    half = longest // 2 - 1
    return line if len(line) <= longest else f"{line[:half]}…{line[-half:]}"


def printable(text: str) -> str:
    """Returns the text with `?` for what would move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def without_passwords(text: str) -> str:
    """Returns the text with `user:password@` left out of its URLs."""
    return _LOGIN.sub("//", text)
