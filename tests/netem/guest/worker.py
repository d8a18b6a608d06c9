"""Streams through links in this sandbox; prints what was seen of each as a line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig
from harness.calibration.link_traffic import Stream, run_stream
from harness.link.choose import choose_backend
from harness.model.link import parse_link


def main(words: str) -> None:
    """Run them: `words` is a JSON list of [backend, link, stream]."""
    for backend, spec, stream in json.loads(words):
        profile = parse_link(spec)
        with (
            tempfile.TemporaryDirectory() as folder,
            Rig(choose_backend(backend), profile, seed=1, workdir=Path(folder)) as rig,
        ):
            ends = rig.udp_socket(rig.a, A_ADDRESS), rig.udp_socket(rig.b, B_ADDRESS, 7)
            seen = run_stream(Stream(**stream), *ends, patience_s=profile.up.delay_ms / 1000 + 0.5)
        print(json.dumps({"sent_ns": seen.sent_ns, "arrived": seen.arrived}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
