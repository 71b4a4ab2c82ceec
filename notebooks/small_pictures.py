"""Saves figures as small PNG files, for documents that contain many."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from pipeline.reporting.pictures import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Enough for smooth letters; apart from their edges, a figure has few colours.
_COLORS = 64


def small_png(figure: Figure) -> bytes:
    """Returns a PNG with few colours, as sharp as that of `png`, and always the same bytes."""
    content = BytesIO()
    with Image.open(BytesIO(png(figure))) as drawn:
        drawn.convert("RGB").quantize(_COLORS).save(content, format="png", optimize=True)
    return content.getvalue()
