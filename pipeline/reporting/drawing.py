"""The program that draws charts inside a page: Vega, Vega-Lite and Vega-Embed in one text."""

from __future__ import annotations

import subprocess
import sys

_BUNDLE = """
import sys, vl_convert
text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
sys.stdout.buffer.write(text.encode())
"""


def program() -> str:
    """Returns self-contained JavaScript, always the same for one version of the package.

    It defines the function `vegaEmbed` in the page. A process of its own makes it: that takes two
    seconds, in which no other thread of this one could run, because vl-convert keeps Python's lock.
    """
    command = [sys.executable, "-P", "-c", _BUNDLE]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()  # noqa: S603
