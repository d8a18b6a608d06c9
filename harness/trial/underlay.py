"""The one door at which an underlay that carries nothing, or stops, is found and blamed, whatever the probe.

In the underlay's own trial it fails, as any subject does. As the baseline of an overlay it is the lab's fault, and it
is looked at before an overlay is blamed that failed over it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from harness.errors import LabNotAsDeclared, OverlayError
from harness.model.probes import ProbeSettings
from harness.probes.contract import Target

Found = TypeVar("Found")

# A tool may lose its connection on a lossy path, where nothing is wrong with the lab.
_LOOKS: Final = 2


def is_bare(target: Target) -> bool:
    """Tell whether a pair is measured without overlay: as the baseline, or in the underlay's own trial."""
    return "underlay" in (target.label, target.mode)


def carried(take: Callable[[], Found], why_not: Callable[[Found], str | None], *, baseline: bool) -> Found:
    """Return what a measurement of the bare underlay finds; a baseline that does not carry is looked at once more.

    Args:
        why_not: says what it did not carry, by what was found; None where it carried.
        baseline: it is not the trial's subject, which is looked at once, as every subject is.

    Raises:
        OverlayError: it does not carry.
    """
    for looks_left in reversed(range(_LOOKS if baseline else 1)):
        try:
            found = take()
            why = why_not(found)
            if why is None:
                return found
            raise OverlayError(f"the underlay {why}; `latency` tells losses, `mtu` finds black holes")
        except OverlayError:
            if not looks_left:
                raise
    raise AssertionError("the last look returns or raises")


@contextlib.contextmanager
def blamed_on_the_lab(settings: ProbeSettings) -> Iterator[None]:
    """Take what fails over the baseline in the block for the lab's fault.

    Raises:
        LabNotAsDeclared: instead of OverlayError.
    """
    try:
        yield
    except OverlayError as error:
        remedy = "; the setting `baseline` leaves it out" if "baseline" in type(settings).model_fields else ""
        raise LabNotAsDeclared(f"nothing to compare with: {error}{remedy}") from error
