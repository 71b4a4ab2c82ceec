"""What `doctor` reports about a project: findings and notes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: what is wrong, and where, in one line.
        remedy: what the user should do, or what `mend` does.
        mend: repairs it, and returns where it set aside what was there, if it did; raises a
            PipelineError or an OSError if it cannot. None if nothing can.
        option: the option of `doctor` that allows `mend` to run.
    """

    what: str
    remedy: str = ""
    mend: Callable[[], Path | None] | None = None
    option: str = "--fix"


@dataclass(frozen=True)
class Note:
    """Something worth knowing that is not wrong.

    Attributes:
        what: what it is, in one line.
        is_gap: whether something is missing, which therefore cannot be said to be well.
    """

    what: str
    is_gap: bool = False


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
