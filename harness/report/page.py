"""The templates and their rendering; they hold all styles and scripts, so that a page needs nothing but itself."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **context: Any) -> str:
    """Render a template of this package; everything is escaped but the pictures that we draw ourselves."""
    return environment().get_template(template).render(**context)


def environment(*packages: str) -> Environment:
    """Return the way in to this package's templates, behind those of other packages."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in (*packages, "harness.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["picture"] = Markup  # drawn by this program; labels are escaped where drawn
    found.filters["figure"] = figure
    found.filters["size"] = size
    return found


def figure(value: Any, digits: int = 1) -> str:
    """Return a number for a table; a dash where there is none, `late` beyond a deadline."""
    if value is None or not isinstance(value, float | int) or math.isnan(value):
        return "-"
    return "late" if math.isinf(value) else f"{value:.{digits}f}"


def size(count: int) -> str:
    """Return a file's size for people."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
