"""The content probe: a fresh file goes in at one member and comes out at another, by the overlay's own commands."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from pydantic import Field, field_validator

from harness.errors import OverlayError
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.exits import exits, sent_over
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

_POLL_S = 0.002
_SLOWEST_BYTES_PER_S = 50_000
_START_S = 60.0


class ContentSettings(ProbeSettings):
    """Publish at one member, fetch at the other: time to the first byte and to the last, goodput, cost, integrity.

    Each size in megabytes is fresh content: random bytes that no cache can hold.
    """

    sizes_mb: tuple[float, ...] = Field(default=(1.0, 10.0), min_length=1, max_length=8)

    @field_validator("sizes_mb")
    @classmethod
    def _some_bytes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.001 <= size <= 1000 for size in value):
            raise ValueError("each size is at least 0.001 and at most 1000 megabytes")
        return value

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return sum(_patience_s(round(size * 1e6)) for size in self.sizes_mb)


@dataclass(frozen=True)
class Fetched:
    """One fetched content: its size, seconds, bytes that the members' sites sent meanwhile (None: not counted)."""

    size: int
    publish_s: float
    first_byte_s: float | None
    last_byte_s: float
    intact: bool
    underlay_bytes: int | None


class ContentProbe(Probe[ContentSettings, tuple[Fetched, ...]]):
    """Content of several sizes, one after the other; figures are those of the largest, unless they say otherwise."""

    name = "content"
    order = 25
    settings = ContentSettings
    needs = frozenset({"content"})
    turn = "exclusive"
    doing = "fetching content"
    metrics = (
        Metric(
            "content_goodput_mbit",
            "Mbit/s",
            "Size of the largest content over the time from the command to fetch it to its last byte.",
            "this project",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "content_last_byte_s",
            "s",
            "From the command to fetch the smallest content to its last byte: what a small file costs.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_first_byte_s",
            "s",
            "From the command to fetch the largest content to its first byte in the file; none where the file comes "
            "into being whole.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_publish_s",
            "s",
            "From the command to publish the largest content to the end of that command.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_underlay_bytes_per_byte",
            "B/B",
            "IP bytes that the members' sites sent over the outermost segment per byte of the largest content, from "
            "its publishing to its last byte.",
            "this project",
            better="lower",
            min_effect=0.05,
            in_tables=True,
        ),
        Metric(
            "content_intact",
            "1",
            "Whether every content arrived as it was published, compared by SHA-256.",
            "this project",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("content", "Content", place=35),),
        tables=(Table("content", "Content", "content"),),
        columns=(
            Column("content", "publish s", "content_publish_s"),
            Column("content", "first byte s", "content_first_byte_s"),
            Column("content", "small file s", "content_last_byte_s"),
            Column("content", "Mbit/s", "content_goodput_mbit", digits=1),
            Column("content", "underlay B/B", "content_underlay_bytes_per_byte"),
            Column("content", "intact", "content_intact", "count"),
        ),
        plots=(Plot("strip", "content", "content_goodput_mbit", "Goodput of content", label="Mbit/s"),),
    )

    def measure(self, target: Target, settings: ContentSettings, trial: Surroundings) -> tuple[Fetched, ...]:
        """Publish at `src`, fetch at `dst`, each size once.

        Raises:
            OverlayError: a command failed, said nothing to fetch by, or took too long.
        """
        rng = Random(f"{target.folder.name}/{target.src}/{target.dst}")
        found = tuple(
            _published_and_fetched(target, rng.randbytes(round(size * 1e6)), trial)
            for size in sorted(settings.sizes_mb)
        )
        evidence = target.evidence("content.json")
        evidence.write_text(json.dumps([asdict(one) for one in found], indent=1))
        return found

    def summarise(self, found: Found[tuple[Fetched, ...]], settings: ContentSettings) -> list[Measurement]:
        """Summarise by `summarise_content`."""
        del settings
        return list(summarise_content(found.target, found.overlay))


def summarise_content(target: Target, fetched: Sequence[Fetched]) -> Iterator[Measurement]:
    """Yield the figures of a pair, its contents in the order of their sizes."""
    small, large = fetched[0], fetched[-1]

    figure = figure_of(target, "content", target.evidence("content.json"))
    whole = all(one.intact for one in fetched)
    yield figure("content_intact", float(whole))
    if not whole:
        return  # the time in which something else arrived is no figure
    yield figure("content_goodput_mbit", large.size * 8 / 1e6 / large.last_byte_s)
    yield figure("content_last_byte_s", small.last_byte_s)
    if large.first_byte_s is not None:
        yield figure("content_first_byte_s", large.first_byte_s)
    yield figure("content_publish_s", large.publish_s)
    if large.underlay_bytes is not None:
        yield figure("content_underlay_bytes_per_byte", large.underlay_bytes / large.size)


def _published_and_fetched(target: Target, content: bytes, trial: Surroundings) -> Fetched:
    endpoint, size = target.content, len(content)
    name = f"content-{target.src}-{target.dst}-{size}"
    source, copy = _node_folder(target, target.src) / name, _node_folder(target, target.dst) / f"{name}.fetched"
    source.write_bytes(content)
    before = trial.carried()
    try:
        words = {"file": str(source)}
        publish = [_filled(word, words) for word in endpoint.publish]
        publish_s, said = _run(target, target.src, publish, env=endpoint.env, size=size)
        identifier = re.search(endpoint.identifier, said)
        if identifier is None:
            raise OverlayError(f"`{publish[0]}` on {target.src} said nothing to fetch by: {said.strip()[-500:]}")
        words = {"file": str(copy), "id": identifier.group(1)}
        fetch = [_filled(word, words) for word in endpoint.fetch]
        seen = _FirstByte(copy)
        last_byte_s, _ = _run(target, target.dst, fetch, env=endpoint.env, size=size, seen=seen)
        sent = sent_over(trial.carried().since(before).counts, exits(target.lab.topology)["members"])
        intact = copy.is_file() and hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()
        return Fetched(size, publish_s, seen.first_s, last_byte_s, intact, None if sent is None else sent[0])
    finally:  # contents are no evidence, and large
        source.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)


class _FirstByte:
    """The moment at which a file began to grow, in seconds after the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.unlink(missing_ok=True)
        self._began = time.monotonic()
        self._sizes: list[tuple[float, int]] = []

    def look(self) -> None:
        """Note how large the file is now."""
        if self._path.is_file():
            self._sizes.append((time.monotonic() - self._began, self._path.stat().st_size))

    @property
    def first_s(self) -> float | None:
        """The first moment at which there were some bytes, but not all."""
        last = self._path.stat().st_size if self._path.is_file() else 0
        return next((moment for moment, size in self._sizes if 0 < size < last), None)


def _run(
    target: Target,
    node: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    size: int,
    seen: _FirstByte | None = None,
) -> tuple[float, str]:
    """Run a command of the overlay to its end; return the seconds it took and what it printed."""
    kind = "publish" if seen is None else "fetch"
    began = time.monotonic()
    process = target.start(node, argv, f"content-{kind}-{size}.log", cwd=_node_folder(target, node), env=env)
    try:
        deadline = began + _patience_s(size)
        status = process.wait(_POLL_S)
        while status is None and time.monotonic() < deadline:
            if seen is not None:
                seen.look()
            status = process.wait(_POLL_S)  # wakes at once when the command ends
        took_s = time.monotonic() - began
    finally:
        process.stop()
    if status != 0:
        how = "took too long" if status is None else f"ended with status {status}"
        raise OverlayError(f"`{' '.join(argv)}` on {node} {how}: {process.tail.strip() or '(it said nothing)'}")
    return took_s, process.text


def _filled(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _node_folder(target: Target, node: str) -> Path:
    folder = target.folder / "nodes" / node
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _patience_s(size: int) -> float:
    return _START_S + size / _SLOWEST_BYTES_PER_S
