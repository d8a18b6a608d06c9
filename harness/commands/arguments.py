"""Arguments that several commands share, also those that read results where no lab is installed."""

from __future__ import annotations

import click


def examples(*lines: str) -> str:
    """Return an epilog for `--help`: commands to paste."""
    return "\b\nExamples:\n" + "".join(f"  {line}\n" for line in lines)


min_effect_option = click.option(
    "--min-effect",
    type=click.FloatRange(min=0),
    help="Smallest change that counts, as a share of the baseline (for rates: of 1). Default: each metric's own.",
)

only_option = click.option(
    "--only", multiple=True, metavar="KEY=VALUE", help="Only trials with this value; may be repeated."
)


label_option = click.option(
    "--label",
    "label",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label kept in the manifest, such as commit=$GITHUB_SHA; `trend` can group runs by it.",
)
NOT_LABELS = ("version", "run")
"""What `trend --by` takes besides labels: one of that name could not be asked for."""


def labels_of(texts: tuple[str, ...]) -> dict[str, str]:
    """Parse `("commit=1a2b",)` into `{"commit": "1a2b"}`; each key once, and none without a value."""
    found: dict[str, str] = {}
    for key, values in pairs(texts, "--label").items():
        if len(values) > 1:
            raise click.UsageError(f"--label {key} is given twice: {' and '.join(values)}")
        if key in NOT_LABELS:
            raise click.UsageError(f"--label {key}= would be confused with `trend --by {key}`; choose another name")
        if not values[0]:
            raise click.UsageError(f"--label {key}= has no value")
        found[key] = values[0]
    return found


def pairs(texts: tuple[str, ...], option: str) -> dict[str, list[str]]:
    """Parse `("a=1", "a=2")` into `{"a": ["1", "2"]}`."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {text!r}")
        found.setdefault(key, []).append(value)
    return found
