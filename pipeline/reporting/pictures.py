"""Figures as PNG files that are the same bytes each time."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from PIL import Image

from pipeline.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_DOTS_PER_INCH = 130
# Channels that are red, green and blue.
_COLORS = 3
# In pixels.
THUMBNAIL = 56
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


def drawable(images: NDArray[np.number]) -> NDArray[np.uint8]:
    """Returns images of three channels as they are, others as grey ones [images, height, width]."""
    if images.ndim > 3 and images.shape[-1] != _COLORS:
        images = images.mean(axis=-1).round()
    return images.astype(np.uint8)


def thumbnail_png(image: NDArray[np.number], *, is_ink: bool) -> bytes:
    """Returns a small PNG of an image [height, width] or [height, width, channels].

    Ink is bright in the image, and dark on white in the picture.
    """
    (pixels,) = drawable(image[None])
    picture = Image.fromarray(255 - pixels if is_ink else pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    content = BytesIO()
    picture.save(content, format="png", optimize=True)
    return content.getvalue()


def data_url(content: bytes) -> str:
    """Returns a PNG as an address that a page can hold."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
