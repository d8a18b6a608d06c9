"""Arguments that several commands share."""

from __future__ import annotations

import click

only_option = click.option(
    "--only", multiple=True, metavar="KEY=VALUE", help="Only trials with this value; may be given again."
)


def pairs(texts: tuple[str, ...], option: str) -> dict[str, list[str]]:
    """`("a=1", "a=2")` as `{"a": ["1", "2"]}`."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {text!r}")
        found.setdefault(key, []).append(value)
    return found
