"""The errors that a user can do something about, each with its exit code (BSD sysexits)."""

import re

# Up to the last `@`, because a password may contain `@` or a slash; but not for
# `sqlite:////home/...`, which has no login.
_LOGIN = re.compile(r"(?<=:)//(?!/)\S*@")


class PipelineError(Exception):
    """An error that is shown in one line, without a traceback."""

    exit_code = 1


class ParamsError(PipelineError):
    """A value in params.yaml breaks a rule."""

    exit_code = 2


class ArgumentError(PipelineError):
    """A command-line argument names nothing, or more than one thing."""

    exit_code = 2


class DataError(PipelineError):
    """The content of a file does not match its format."""

    exit_code = 65


class MissingInputError(PipelineError):
    """A file that an earlier stage should have written is not there."""

    exit_code = 66


class UnavailableError(PipelineError):
    """No source could provide a file."""

    exit_code = 69


class PendingError(PipelineError):
    """Something that is needed is not ready; trying again later may help."""

    exit_code = 75


class InterruptedTrainingError(PipelineError):
    """A signal ended training; the progress so far is kept."""

    def __init__(self, message: str, signal_number: int) -> None:
        """Sets the exit code that shells give for a signal."""
        super().__init__(message)
        self.exit_code = 128 + signal_number


class CannotCreateError(PipelineError):
    """A file or folder could not be created."""

    exit_code = 73


class WriteError(PipelineError):
    """Writing failed half-way, for instance on a full disk."""

    exit_code = 74


def one_line(text: object, longest: int = 200) -> str:
    """Returns the text in one line, without passwords and control characters.

    For messages of other libraries. Of a long text the middle is left out, because the cause often
    comes last.
    """
    line = printable(" ".join(without_passwords(str(text)).split()))
    half = longest // 2 - 1
    return line if len(line) <= longest else f"{line[:half]}…{line[-half:]}"


def first_line(error: Exception) -> str:
    """Returns what an error of another library says first."""
    return str(error).strip().partition("\n")[0]


def printable(text: str) -> str:
    """Returns the text with `?` for characters that would control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def without_passwords(text: str) -> str:
    """Returns the text with `user:password@` removed from its URLs."""
    return _LOGIN.sub("//", text)
