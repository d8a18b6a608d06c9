"""What a run is against what was expected of it: said in full, and as an exit code."""

from __future__ import annotations

from harness.commands.console import Console
from harness.errors import EXIT_EXPECTATION, EXIT_HARNESS, EXIT_OK
from harness.results.run_judgement import RunJudgement

_STYLES = {"met": "green", "not decided": "yellow"}


def conclude(found: RunJudgement, console: Console) -> int:
    """Say what was judged and what was wrong, the worst last; returns the exit code.

    A number that is not decided is said, and changes no exit code.
    """
    console.print(found.text, style="" if found.judged else "yellow", markup=False, highlight=False, soft_wrap=True)
    for judged in sorted(found.numbers, key=lambda one: one.is_broken):
        style = _STYLES.get(judged.judgement, "red")
        console.print(f"{judged.judgement}: {judged.text}", style=style, markup=False, highlight=False, soft_wrap=True)
    for reason in found.invalid:
        console.print(f"invalid, shows nothing: {reason}", style="yellow", markup=False, soft_wrap=True)
    for complaint in found.complaints:
        console.print(f"not as expected: {complaint}", style="red", markup=False, soft_wrap=True)
    for error in found.errors:
        console.print(f"error of the harness: {error}", style="bold red", markup=False, soft_wrap=True)
    if found.errors:
        return EXIT_HARNESS
    return EXIT_OK if found.as_expected else EXIT_EXPECTATION
