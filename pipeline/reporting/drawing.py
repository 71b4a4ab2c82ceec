"""The program that draws charts inside a page: Vega, Vega-Lite and Vega-Embed in one text."""

from __future__ import annotations

import vl_convert


def program() -> str:
    """Returns self-contained JavaScript, always the same for one version of the package.

    It defines the function `vegaEmbed` in the page.
    """
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
