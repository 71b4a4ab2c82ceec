"""The program that draws charts inside a page: Vega, Vega-Lite and Vega-Embed in one text."""

from __future__ import annotations

import vl_convert


def program() -> str:
    """Returns JavaScript that needs nothing else, the same for the same version of the package.

    It gives the page a function `vegaEmbed`.
    """
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
