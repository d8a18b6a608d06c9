"""The content probe: a fresh file goes in at one member and comes out at another, by the overlay's own commands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from random import Random

from pydantic import Field, field_validator

from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.exchange import publish_and_fetch
from harness.probes.exits import exits, sent_over
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

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

    @property
    def goodput_mbit(self) -> float:
        """Its size over the time from the command to fetch it to its last byte, in Mbit/s."""
        return self.size * 8 / 1e6 / self.last_byte_s


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
            "Size of the largest content, divided by the time from the command that fetches it to its last byte.",
            "this project",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "content_last_byte_s",
            "s",
            "From the command that fetches the largest content to its last byte.",
            "this project",
            better="lower",
            min_absolute=0.02,
        ),
        Metric(
            "content_small_last_byte_s",
            "s",
            "From the command that fetches the smallest content to its last byte: the cost of a small file.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_first_byte_s",
            "s",
            "From the command that fetches the largest content to its first byte in the file. Missing if the file "
            "appears all at once.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_publish_s",
            "s",
            "Duration of the command that publishes the largest content.",
            "this project",
            better="lower",
            min_absolute=0.02,
            in_tables=True,
        ),
        Metric(
            "content_underlay_bytes_per_byte",
            "B/B",
            "IP bytes that the members' sites sent over the outermost segment, per byte of the largest content, "
            "from its publication to its last byte.",
            "this project",
            better="lower",
            min_effect=0.05,
            in_tables=True,
        ),
        Metric(
            "underlay_content_goodput_mbit",
            "Mbit/s",
            "The same goodput without overlay: by HTTP between the members' own addresses, in the same lab.",
            "this project",
        ),
        Metric(
            "underlay_content_small_last_byte_s",
            "s",
            "From the command that fetches the smallest content to its last byte without overlay: by HTTP, in the "
            "same lab.",
            "this project",
        ),
        Metric(
            "content_goodput_ratio",
            "1",
            "Goodput of the largest content as a share of that by HTTP without overlay in the same lab.",
            "this project",
            better="higher",
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
            Column("content", "publish (s)", "content_publish_s"),
            Column("content", "first byte (s)", "content_first_byte_s"),
            Column("content", "small file (s)", "content_small_last_byte_s"),
            Column("content", "Mbit/s", "content_goodput_mbit", digits=1),
            Column("content", "share of HTTP", "content_goodput_ratio", "percent", of_underlay=False),
            Column("content", "underlay bytes/byte", "content_underlay_bytes_per_byte"),
            Column("content", "intact", "content_intact", "count"),
        ),
        plots=(Plot("strip", "content", "content_goodput_mbit", "Goodput of content", label="Mbit/s"),),
    )

    def measure(self, target: Target, settings: ContentSettings, trial: Surroundings) -> tuple[Fetched, ...]:
        """Publish at `src`, fetch at `dst`, each size once.

        Raises:
            OverlayError: a command failed, said nothing to fetch by, or took too long.
        """
        found = tuple(_published_and_fetched(target, round(size * 1e6), trial) for size in sorted(settings.sizes_mb))
        evidence = target.evidence("content.json")
        evidence.write_text(json.dumps([asdict(one) for one in found], indent=1))
        return found

    def over_underlay(self, settings: ContentSettings) -> bool:
        """Say yes: HTTP over the underlay of the same lab is what it is compared to."""
        del settings
        return True

    def why_no_baseline(self, target: Target, found: tuple[Fetched, ...], settings: ContentSettings) -> str | None:
        """Say what arrived otherwise than it was published; a command that fails says so itself."""
        del settings
        broken = next((one for one in found if not one.intact), None)
        return None if broken is None else f"carried {broken.size} bytes not whole from {target.src} to {target.dst}"

    def summarise(self, found: Found[tuple[Fetched, ...]], settings: ContentSettings) -> list[Measurement]:
        """Summarise by `summarise_content`."""
        del settings
        return list(summarise_content(found.target, found.overlay, found.underlay))


def summarise_content(
    target: Target, fetched: Sequence[Fetched], underlay: Sequence[Fetched] | None = None
) -> Iterator[Measurement]:
    """Yield the figures of a pair, its contents in the order of their sizes, the underlay's next to the overlay's."""
    figure = figure_of(target, "content", target.evidence("content.json"))
    bare = figure_of(target, "content", target.evidence("content.json", "underlay"))
    whole = all(one.intact for one in fetched)
    yield figure("content_intact", float(whole))
    if not whole:
        return  # the time in which something else arrived is no figure
    small, large = fetched[0], fetched[-1]
    yield figure("content_goodput_mbit", large.goodput_mbit)
    yield figure("content_last_byte_s", large.last_byte_s)
    yield figure("content_small_last_byte_s", small.last_byte_s)
    if large.first_byte_s is not None:
        yield figure("content_first_byte_s", large.first_byte_s)
    yield figure("content_publish_s", large.publish_s)
    if large.underlay_bytes is not None:
        yield figure("content_underlay_bytes_per_byte", large.underlay_bytes / large.size)
    if underlay is None or not all(one.intact for one in underlay):
        return
    below = underlay[-1].goodput_mbit
    yield bare("underlay_content_goodput_mbit", below)
    yield bare("underlay_content_small_last_byte_s", underlay[0].last_byte_s)
    yield figure("content_goodput_ratio", large.goodput_mbit / below)


def _published_and_fetched(target: Target, size: int, trial: Surroundings) -> Fetched:
    """Publish and fetch fresh content each time, also where it is measured again: an overlay knows what it has seen."""
    attempt = next(n for n in count(1) if not target.evidence(f"content-publish-{size}-{n}.log").exists())
    rng = Random(f"{target.trial}/{target.label}/{target.src}/{target.dst}/{size}/{attempt}")
    before = trial.carried()
    done = publish_and_fetch(target, rng.randbytes(size), f"{size}-{attempt}", _patience_s(size))
    sent = sent_over(trial.carried().since(before).counts, exits(target.lab.topology)["members"])
    return Fetched(
        size,
        done.publish_s,
        done.first_byte_s,
        done.last_byte_s,
        done.intact,
        None if sent is None else sent[0],
    )


def _patience_s(size: int) -> float:
    return _START_S + size / _SLOWEST_BYTES_PER_S
