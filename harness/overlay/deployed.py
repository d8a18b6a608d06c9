"""How overlays are deployed, in words: `deployed.yaml` next to the adapters of a package says it for each of them.

python -m harness.overlay.deployed      writes the table in docs/overlays.md
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.overlay.contract import Overlay

FILE = "deployed.yaml"
_START, _END = "<!-- deployed -->\n", "<!-- end of deployed -->"


class Deployed(BaseModel):
    """What the makers of some overlays recommend, what we set, and where and why that differs.

    `udp_blocked` and `tls_only` say what becomes of a pair in such a network.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlays: tuple[str, ...]
    makers: str
    ours: str
    differs: str
    udp_blocked: str
    tls_only: str


def deployed_as(overlay: Overlay) -> Deployed | None:
    """Return how this overlay is deployed; None where its package does not say."""
    package = type(overlay).__module__.partition(".")[0]
    return next((one for one in _said(package) if overlay.name in one.overlays), None)


@cache
def _said(package: str) -> Sequence[Deployed]:
    try:
        text = files(package).joinpath(FILE).read_text(encoding="utf-8")
    except (OSError, ModuleNotFoundError, TypeError):  # a module that is no package has nothing next to it
        return ()
    return TypeAdapter(tuple[Deployed, ...]).validate_python(yaml.safe_load(text))


def table(package: str = "overlays") -> str:
    """Return what a package says of its overlays as a Markdown table."""
    rows = [
        "| overlay | its makers recommend | we set | where we differ, and why | `udp-blocked` | `tls-only` |",
        "|---|---|---|---|---|---|",
    ]
    for one in _said(package):
        names = ", ".join(f"`{name}`" for name in one.overlays)
        cells = (names, one.makers, one.ours, one.differs, one.udp_blocked, one.tls_only)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """Return docs/overlays.md with its table made again."""
    before, _, rest = text.partition(_START)
    return f"{before}{_START}{table()}{rest[rest.index(_END) :]}"


def main() -> None:
    """Write the table."""
    where = Path(__file__).resolve().parents[2] / "docs" / "overlays.md"
    where.write_text(page(where.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
