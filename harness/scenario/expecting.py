"""What a scenario's `expect` says of each trial, and what of it can never be judged. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import Problem
from harness.model.document import Location, did_you_mean
from harness.model.expectation import Bound, Expectation, ExpectedNumber
from harness.model.trial import ExpectedPath, Trial
from harness.model.words import Verdict
from harness.results.metrics import METRICS, metrics_of_probes, shown
from harness.scenario.loaded import LoadedScenario
from harness.scenario.parameters import text_of

# Which verdicts are right for each pair of a trial's members.
Oracle = Callable[[Trial], Mapping[tuple[str, str], tuple[Verdict, ...]]]

# A repeat or a trial may be named that `--repeat` or another seed leaves out.
_OF_ONE_RUN = frozenset({"repeat", "trial"})


def expected_of(rules: Sequence[Expectation], trial: Trial, oracle: Oracle | None) -> dict[str, Any]:
    """Return the fields of a trial that say what is expected of it."""
    matching = [rule for rule in rules if matches(rule.when, trial)]
    return {
        "expected_outcome": tuple(outcome for rule in matching for outcome in rule.outcome),
        "expected_numbers": _numbers(matching, trial),
        **_paths(matching, trial, oracle),
    }


def _paths(rules: Sequence[Expectation], trial: Trial, oracle: Oracle | None) -> dict[str, Any]:
    """Return the last rule's path, among those that say one: general rules come first, exceptions after."""
    for rule in reversed(rules):
        if rule.path:
            return {"expected_path": rule.path}
        if rule.oracle and oracle is not None:
            paths = oracle(trial)
            if paths and all(path == ("none",) for path in paths.values()) and not any(rule.outcome for rule in rules):
                # A product that gets nothing out need not become ready either: then its trial fails, as it should.
                return {"expected_path": ("none",), "expected_outcome": ("ok", "failed")}
            if len(set(paths.values())) > 1:
                pairs = (ExpectedPath(src=src, dst=dst, path=path) for (src, dst), path in paths.items())
                return {"expected_pairs": tuple(pairs)}
            return {"expected_path": next(iter(paths.values()), ())}
    return {}


def _numbers(rules: Sequence[Expectation], trial: Trial) -> tuple[ExpectedNumber, ...]:
    """Return the last bound of each metric on the same paths; the baseline is meant only where it is named."""
    found: dict[tuple[str, tuple[str, ...]], ExpectedNumber] = {}
    for rule in rules:
        if trial.mode != "underlay" or not rule.when.keys().isdisjoint({"overlay", "mode", "trial"}):
            for metric, bound in rule.numbers.items():
                found[metric, bound.path] = ExpectedNumber(metric=metric, **bound.model_dump())
    return tuple(found.values())


def matches(when: Mapping[str, Any], trial: Trial) -> bool:
    """Tell whether a trial has all these values; a list means any of them."""
    for key, wanted in when.items():
        value = trial.selectors.get(key)
        choices = wanted if isinstance(wanted, list | tuple) else [wanted]
        if not any(value == choice or text_of(value) == text_of(choice) for choice in choices):
            return False
    return True


def never_judged(loaded: LoadedScenario, trials: Sequence[Trial]) -> Iterator[Problem]:
    """Yield what of `expect` no trial of the plan could ever meet or break: it would pass whatever came."""
    for number, rule in enumerate(loaded.scenario.expect):
        yield from _matches_nothing(loaded, ("expect", number, "when"), rule.when, trials)
        for metric, bound in rule.numbers.items():
            text = _wrong_number(metric, bound, loaded)
            if text is not None:
                yield loaded.document.problem(("expect", number, metric), text)


def _matches_nothing(
    loaded: LoadedScenario, where: Location, when: Mapping[str, Any], trials: Sequence[Trial]
) -> Iterator[Problem]:
    known = trials[0].selectors
    unknown = [key for key in when if key not in known]
    for key in unknown:
        yield loaded.document.problem((*where, key), f"no trial has such a key{did_you_mean(key, known)}")
    if unknown or not _OF_ONE_RUN.isdisjoint(when) or any(matches(when, trial) for trial in trials):
        return
    for key, wanted in when.items():
        if not any(matches({key: wanted}, trial) for trial in trials):
            there = list(dict.fromkeys(text_of(trial.selectors[key]) for trial in trials))
            hint = did_you_mean(text_of(wanted), there) or f"; there is {', '.join(there[:8])}"
            yield loaded.document.problem((*where, key), f"no trial has {text_of(wanted)}{hint}")
            return
    yield loaded.document.problem(where, "no trial has all of these together: nothing would be judged")


def _wrong_number(metric: str, bound: Bound, loaded: LoadedScenario) -> str | None:
    if metric not in METRICS:
        return f"unknown key, and no such metric{suggested(metric)}"
    if (text := unmeasured(metric, loaded)) is not None:
        return text
    if METRICS[metric].unit == "1":
        for value in (bound.min, bound.max):
            if value is not None and not 0 <= value <= (math.inf if METRICS[metric].multiple else 1):
                if METRICS[metric].multiple:
                    return f"is a multiple (0 or more), which {value:g} is not"
                return f"is a ratio (0 to 1), which {value:g} is not"
    return None


def unmeasured(metric: str, loaded: LoadedScenario) -> str | None:
    """Say which probe a metric needs that the scenario does not run; None where it has what it needs."""
    asked = dict(loaded.scenario.probes.items())
    for probe, metrics in metrics_of_probes().items():
        if metric in metrics and probe not in asked:
            return f"is measured by the probe {probe}, which `probes` does not name"
    return None


def suggested(metric: str) -> str:
    """Return ` (did you mean ...?)` for a mistyped metric, or for a column's header; else nothing."""
    headers = {
        re.sub(r"\W+", "_", column.header.lower()).strip("_"): column.metric
        for one in shown().values()
        for column in one.columns
    }
    return f" (did you mean {headers[metric]}?)" if metric in headers else did_you_mean(metric, METRICS)
