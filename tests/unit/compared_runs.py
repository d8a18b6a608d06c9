"""Made-up runs to compare, and what a comparison says of one subject."""

import functools

import pandas as pd
from made_runs import frame_of
from result_samples import Maker

from harness.results.compare import Comparison


@functools.cache
def _run_of(repeats: int, settings: tuple[tuple[str, object], ...]) -> pd.DataFrame:
    return frame_of(Maker(**dict(settings)), repeats)  # type: ignore[arg-type]


def run_of(repeats: int = 2, **settings: object) -> pd.DataFrame:
    """Return a made-up run; a copy, since making one takes longer than comparing two."""
    return _run_of(repeats, tuple(sorted(settings.items()))).copy()


def verdict(comparison: Comparison, subject: str, metric: str) -> str:
    found = [c.verdict for c in comparison.changes if c.subject.startswith(subject) and c.metric == metric]
    assert len(found) == 1, found
    return found[0]
