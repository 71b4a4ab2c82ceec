"""How the templates of reports are loaded, and what they can call."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.comparison.words import interval, number, p_value, percent
from pipeline.reporting.words import escaped


def environment(*, autoescape: bool) -> Environment:
    """Returns the environment that loads the templates of reports."""
    templates = Environment(
        loader=PackageLoader("pipeline.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=autoescape,  # noqa: S701  Off for Markdown only.
    )
    templates.filters |= {
        "percent": percent, "number": number, "p_value": p_value, "interval": interval,
        "escaped": escaped,
    }  # fmt: skip
    return templates
