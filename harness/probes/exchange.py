"""Content over an overlay: a file goes in at one member and comes out at another, by the overlay's own commands."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import OverlayError
from harness.probes.measurement import Target

_POLL_S = 0.002


@dataclass(frozen=True)
class Exchange:
    """What it took, in seconds: publishing, and from the command to fetch to the first byte and to the last.

    `first_byte_s` is None where the file came into being whole.
    """

    publish_s: float
    first_byte_s: float | None
    last_byte_s: float
    intact: bool


def publish_and_fetch(target: Target, content: bytes, name: str, patience_s: float) -> Exchange:
    """Publish at `src`, fetch at `dst`.

    Args:
        name: of the files, and of what the commands say (evidence).
        patience_s: how long either command may take.

    Raises:
        OverlayError: a command failed, said nothing to fetch by, or took too long.
    """
    endpoint = target.content
    file = f"content-{target.src}-{target.dst}-{name}"
    source, copy = node_folder(target, target.src) / file, node_folder(target, target.dst) / f"{file}.fetched"
    source.write_bytes(content)
    copy.unlink(missing_ok=True)
    try:
        words = {"file": str(source)}
        publish = [_filled(word, words) for word in endpoint.publish]
        command = _Command(target, target.src, publish, f"content-publish-{name}.log", endpoint.env)
        publish_s, said = command.run(patience_s)
        identifier = re.search(endpoint.identifier, said)
        if identifier is None:
            raise OverlayError(f"`{publish[0]}` on {target.src} said nothing to fetch by: {said.strip()[-500:]}")
        words = {"file": str(copy), "id": identifier.group(1)}
        fetch = [_filled(word, words) for word in endpoint.fetch]
        command = _Command(target, target.dst, fetch, f"content-fetch-{name}.log", endpoint.env)
        seen = _FirstByte(copy)
        last_byte_s, _ = command.run(patience_s, seen)
        intact = copy.is_file() and hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()
        return Exchange(publish_s, seen.first_s, last_byte_s, intact)
    finally:  # contents are no evidence, and large
        source.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)


class _FirstByte:
    """When a file began to grow, in seconds after the start; None where it was whole when it was first seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()
        self._sizes: list[tuple[float, int]] = []

    def look(self) -> None:
        """See how large the file is now."""
        if self._path.is_file():
            self._sizes.append((time.monotonic() - self._began, self._path.stat().st_size))

    @property
    def first_s(self) -> float | None:
        """The first moment at which there were some bytes, but not all."""
        last = self._path.stat().st_size if self._path.is_file() else 0
        return next((moment for moment, size in self._sizes if 0 < size < last), None)


@dataclass(frozen=True)
class _Command:
    """A command of the overlay on a node; what it says is evidence."""

    target: Target
    node: str
    argv: Sequence[str]
    evidence: str
    env: Mapping[str, str]

    def run(self, patience_s: float, seen: _FirstByte | None = None) -> tuple[float, str]:
        """Run it to its end: the seconds that it took, and what it said.

        Raises:
            OverlayError: it failed or took too long.
        """
        began = time.monotonic()
        folder = node_folder(self.target, self.node)
        process = self.target.start(self.node, self.argv, self.evidence, cwd=folder, env=self.env)
        try:
            status = process.wait(_POLL_S)
            while status is None and time.monotonic() < began + patience_s:
                if seen is not None:
                    seen.look()
                status = process.wait(_POLL_S)  # wakes at once when the command ends
            took_s = time.monotonic() - began
        finally:
            process.stop()
        if status != 0:
            how = f"took longer than {patience_s:.0f} s" if status is None else f"ended with status {status}"
            said = process.tail.strip() or "(it said nothing)"
            raise OverlayError(f"`{' '.join(self.argv)}` on {self.node} {how}: {said}")
        return took_s, process.text


def node_folder(target: Target, node: str) -> Path:
    """Return a node's own folder, where the overlay's commands run; make it first."""
    folder = target.folder / "nodes" / node
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _filled(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(f"{{{name}}}", value)
    return word
