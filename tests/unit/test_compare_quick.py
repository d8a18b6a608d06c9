"""What is kept or counted once per kind of cell, against its plain definition: a quicker comparison is the same one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bench.compare_power import CHANGED
from harness.results.changes import Rule, change_of
from harness.results.matching import Sample
from harness.results.power import noise_of
from harness.results.ranks import OUTLYING, Cell, rank_test
from harness.results.statistics import middle

KINDS = ("values", "ties", "beyond the deadline", "constant", "successes")


def cell_of(rng: np.random.Generator, kind: str, most: int = 5, noise: float = 0.3) -> Cell:
    """One value a trial, the runs' trials in any order."""
    base, new = (int(size) for size in rng.integers(1, most, 2))
    size = base + new
    values = np.exp(rng.normal(1, noise, size))
    if kind == "ties":
        values = np.round(values)
    elif kind == "beyond the deadline":
        values[rng.random(size) < 0.5] = np.inf
    elif kind == "constant":
        values[:] = rng.choice([0.0, 7.0, np.inf])
    elif kind == "successes":
        values = (rng.random(size) < 0.5).astype(float)
    return Cell("c", values, np.arange(size), np.zeros(size, int), rng.permutation(size) < new)


def clustered_but_constant() -> Cell:
    """Return a cell that says nothing, beside which no cells can be taken for such of one value a trial alone."""
    return Cell("n", np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([False, False, True, True]))


def by_enumeration(cells: list[Cell]) -> tuple[float, float]:
    """P of "higher" and of "lower" by all dealings of each cell's trials, its ranks weighed as the largest one's."""
    largest = max(cell.values.size for cell in cells)
    sums = {0.0: 1.0}
    seen = 0.0
    for cell in cells:
        weight = max(1, round((largest + 1) / (cell.values.size + 1)))
        ranks = weight * stats.rankdata(cell.values)
        seen += ranks[cell.new].sum()
        dealt = [sum(chosen) for chosen in itertools.combinations(ranks, int(cell.new.sum()))]
        added: dict[float, float] = {}
        for before, one in itertools.product(sums, dealt):
            added[before + one] = added.get(before + one, 0.0) + sums[before] / len(dealt)
        sums = added
    return sum(p for one, p in sums.items() if one >= seen), sum(p for one, p in sums.items() if one <= seen)


@pytest.mark.parametrize("seed", range(30))
def test_a_test_of_many_kinds_of_cells_is_what_all_dealings_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = [cell_of(rng, str(kind)) for kind in rng.choice(KINDS, 4)]
    found = rank_test(cells)
    assert (found.higher, found.lower) == pytest.approx(by_enumeration(cells), rel=1e-9)
    by_scores = rank_test([*cells, clustered_but_constant()])
    for name in ("higher", "lower", "least_higher", "least_lower"):
        assert getattr(found, name) == pytest.approx(getattr(by_scores, name), rel=1e-12)
    for cell in cells:
        assert (cell.alone.higher, cell.alone.lower) == pytest.approx(by_enumeration([cell]), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_cell_keeps_is_what_its_values_say(kind: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        cell = cell_of(rng, kind, most=12, noise=1.0)
        base, new = cell.values[~cell.new], cell.values[cell.new]
        assert cell.doubled.tolist() == (2 * stats.rankdata(cell.values)).tolist()
        assert cell.signs == sum(int(y > x) - int(y < x) for x in base for y in new)
        assert cell.middles == (middle(base), middle(new)) and cell.rates == (base.mean(), new.mean())
        assert cell.varies == (len(set(cell.values.tolist())) > 1) and cell.counts == (base.size, new.size)
        assert cell.sums == (base.sum(), new.sum())
        assert cell.outlying.values.tolist() == (cell.values > OUTLYING * middle(cell.values)).tolist()
        ordered = np.sort(cell.values)
        ends = ((ordered[: base.size], ordered[-new.size :]), (ordered[-base.size :], ordered[: new.size]))
        assert cell.furthest_middles == tuple((middle(one), middle(other)) for one, other in ends)
        assert cell.furthest_rates == tuple((one.mean(), other.mean()) for one, other in ends)


def test_noise_is_the_middle_distance_of_two_trials_whatever_the_sizes_of_cells() -> None:
    rng = np.random.default_rng(9)
    for _ in range(25):
        cells = tuple(cell_of(rng, "values", most=8) for _ in range(4))
        sample = Sample("s", CHANGED, "ms", cells)
        change = change_of(sample, Rule())
        apart = [
            abs(one - other) / part.threshold
            for cell, part in zip(cells, change.cells, strict=True)
            for side in (cell.values[~cell.new], cell.values[cell.new])
            for one, other in itertools.combinations(side, 2)
        ]
        noise = noise_of(sample, change.base, change.threshold, Rule())
        if noise is None:
            assert not apart
            continue
        grown = math.sqrt((1 + (1 + 2 * change.threshold / change.base) ** 2) / 2)
        assert noise.spread == pytest.approx(1.0483 * grown * float(np.median(apart)), rel=1e-12)
