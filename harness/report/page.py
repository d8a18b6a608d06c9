"""The templates and their rendering; they hold all styles and scripts, so that a page needs nothing but itself."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **context: Any) -> str:
    """Render a template of this package; everything is escaped but the pictures that we draw ourselves."""
    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = Markup  # drawn by this program; labels are escaped where drawn
    environment.filters["figure"] = figure
    environment.filters["size"] = size
    return environment.get_template(template).render(**context)


def figure(value: Any, digits: int = 1) -> str:
    """Return a number for a table; a dash where there is none, `late` beyond a deadline."""
    if value is None or not isinstance(value, float | int) or math.isnan(value):
        return "-"
    return "late" if math.isinf(value) else f"{value:.{digits}f}"


def size(count: int) -> str:
    """Return a file's size for people."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
