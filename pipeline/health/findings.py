"""What `doctor` has to say of a project."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: is wrong, and where, in one line.
        remedy: what to do, or what the mend does.
        mend: does it, and raises a PipelineError or an OSError where it cannot.
        option: of `doctor`, without which nothing is mended.
    """

    what: str
    remedy: str = ""
    mend: Callable[[], None] | None = None
    option: str = "--fix"


@dataclass(frozen=True)
class Note:
    """Something to know that is not wrong."""

    what: str
