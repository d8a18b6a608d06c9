"""Cuts a trial's capture and pings to what the tests of `harness.probes.carriage` need, a few kilobytes.

python -m bench.cut_captures TRIAL_FOLDER NAME [FIRST LAST] writes tests/captures/NAME.pcapng.gz and NAME.csv: the pings
with these numbers, the IP headers of what passed both ports meanwhile. What is right for them is said by hand in
tests/captures/cases.yaml.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

from harness.lab.capture import CaptureWriter, read_capture
from harness.probes.pings import from_csv, to_csv

FOLDER = Path(__file__).parents[1] / "tests" / "captures"
_HEADERS_BYTES = 34
_AROUND_S = 0.01


def main(trial: Path, name: str, first: int = 0, last: int = 100_000) -> None:
    """Cut one trial."""
    pings = [one for one in from_csv((trial / "overlay-a-b-pings.csv").read_text()) if first <= one.seq <= last]
    start = 1e9 * (min(one.sent_s for one in pings) - _AROUND_S)
    end = 1e9 * (max(one.answered_s or one.sent_s for one in pings) + _AROUND_S)
    with (trial / "members.pcapng").open("rb") as file:
        frames = [one for one in read_capture(file) if start <= one[1] <= end]
    interfaces = sorted({interface for interface, _, _ in frames})
    with tempfile.NamedTemporaryFile() as bare:
        writer = CaptureWriter(Path(bare.name), interfaces, _HEADERS_BYTES)
        for interface, stamp_ns, frame in frames:
            writer.frame(interfaces.index(interface), stamp_ns, frame[:_HEADERS_BYTES], len(frame))
        writer.close()
        (FOLDER / f"{name}.pcapng.gz").write_bytes(gzip.compress(Path(bare.name).read_bytes(), mtime=0))
    (FOLDER / f"{name}.csv").write_text(to_csv(pings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *(int(one) for one in sys.argv[3:5]))
