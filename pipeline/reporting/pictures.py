"""Figures as PNG files that are the same bytes each time."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from PIL import Image

from pipeline.files import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_DOTS_PER_INCH = 130
# A user's own style would give other figures, or need a LaTeX that is not there.
mpl.rcdefaults()


def write_figure(path: Path, figure: Figure) -> None:
    """Writes a figure as a PNG."""
    write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """Returns a PNG that names neither a program nor a date."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()


def ink_png(image: NDArray[np.uint8]) -> bytes:
    """Returns a small PNG of an image [height, width] in 0…255, drawn dark on white."""
    content = BytesIO()
    Image.fromarray(255 - image).save(content, format="png", optimize=True)
    return content.getvalue()
