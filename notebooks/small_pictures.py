"""Figures as small PNG files, for documents that enclose many."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from pipeline.reporting.pictures import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Enough for letters without ragged edges; a figure has few colours but for those.
_COLORS = 64


def small_png(figure: Figure) -> bytes:
    """Returns a PNG of few colours, as sharp as `png` gives it: the same bytes each time."""
    content = BytesIO()
    with Image.open(BytesIO(png(figure))) as drawn:
        drawn.convert("RGB").quantize(_COLORS).save(content, format="png", optimize=True)
    return content.getvalue()
