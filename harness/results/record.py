"""The record: one measurement, one line of records.jsonl.

The class below is the one table of the record's fields: writing, reading, the frame, parquet and the documentation
(results/README.md) derive from it. Fields and their order are fixed; a new one goes to the end with the schema version
that brings it, and with what it is taken to be in records from before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

from harness.model.words import OUTCOMES, VERDICTS, Outcome, Verdict

SCHEMA_VERSION = 3

# The others never count in any statistic: what they are about did not take place, or not in the lab that was asked for.
COUNTED: frozenset[str] = frozenset({"ok", "failed"})
INSTEAD: tuple[Outcome, ...] = tuple(word for word in OUTCOMES if word != "ok")

# How a field is stored: a label has few distinct values, a text many; an object is canonical JSON text in tables.
Kind = Literal["version", "count", "seed", "number", "label", "text", "object"]


def _about(
    kind: Kind,
    meaning: str,
    *,
    null: bool = False,
    words: tuple[str, ...] = (),
    since: int = 1,
    before: Any = None,
) -> dict[str, Any]:
    return {"kind": kind, "meaning": meaning, "null": null, "words": words, "since": since, "before": before}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement."""

    schema: int = field(default=SCHEMA_VERSION, metadata=_about("version", "version of this format"))
    run: str = field(metadata=_about("label", "which run"))
    scenario: str = field(metadata=_about("label", "which scenario"))
    trial: str = field(metadata=_about("label", "which trial"))
    repeat: int = field(metadata=_about("count", "which repeat"))
    seed: int = field(
        metadata=_about("seed", "the same for all overlays of one cell and repeat, so that they can be paired")
    )
    overlay: str = field(metadata=_about("label", "what was measured"))
    overlay_version: str | None = field(
        default=None, metadata=_about("label", "its version, as its program says", null=True)
    )
    mode: str = field(metadata=_about("label", "`mesh`, `direct`, `relay`, `hub` or `underlay`"))
    topology: str = field(metadata=_about("label", "where"))
    nat_a: str | None = field(
        default=None,
        metadata=_about(
            "label",
            "label of the NATs in front of the first member; null: none, or more than two members differ",
            null=True,
        ),
    )
    nat_b: str | None = field(default=None, metadata=_about("label", "the same of the second member", null=True))
    link: str | None = field(default=None, metadata=_about("label", "label of the links", null=True))
    params: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about("object", "all parameters of the topology; `deadline_s`, where a time was given up"),
    )
    src: str | None = field(default=None, metadata=_about("label", "node, for what has a direction", null=True))
    dst: str | None = field(default=None, metadata=_about("label", "the node at the other end", null=True))
    probe: str = field(metadata=_about("label", "what measured"))
    metric: str = field(metadata=_about("label", "what was measured, see the table below"))
    unit: str = field(metadata=_about("label", "unit of `value`"))
    value: float | None = field(
        default=None, metadata=_about("number", "`null`: not measured, or censored (see below)", null=True)
    )
    outcome: Outcome = field(
        default="ok",
        metadata=_about(
            "label",
            "`ok` · `failed`: the overlay's fault · `unsupported`: it has no such mode · `invalid`: the lab was not "
            "what it said · `error`: ours. What a trial measured before it became `invalid` or `error` has that "
            "outcome, too, and its value does not count",
            words=OUTCOMES,
        ),
    )
    path: Verdict | None = field(
        default=None,
        metadata=_about(
            "label",
            "the verdict on this pair: what the lab's counters saw; simulated, over which hosts a probe came",
            null=True,
            words=VERDICTS,
        ),
    )
    path_claimed: Verdict | None = field(
        default=None, metadata=_about("label", "what the overlay says of itself", null=True, words=VERDICTS)
    )
    nat_a_observed: str | None = field(
        default=None,
        metadata=_about(
            "label", "what probes found in front of the first member before the overlay started", null=True
        ),
    )
    nat_b_observed: str | None = field(default=None, metadata=_about("label", "the same of the second", null=True))
    link_backend: str | None = field(default=None, metadata=_about("label", "what emulated the links", null=True))
    started_at: str = field(metadata=_about("text", "ISO 8601, UTC"))
    evidence: str | None = field(default=None, metadata=_about("text", "a path relative to the folder", null=True))
    error: str | None = field(default=None, metadata=_about("text", "what went wrong", null=True))
    host: str | None = field(
        default=None,
        metadata=_about("label", "the machine that ran the trial, as the manifest describes it", null=True, since=2),
    )
    engine: str = field(
        default="emulated",
        metadata=_about("label", "`emulated` or `simulated`", since=2, before="emulated"),
    )
    phase: str | None = field(
        default=None,
        metadata=_about(
            "label",
            "where there is a timeline: `before kill s` (its first event), `after kill s`, `after the end of kill s`",
            null=True,
            since=2,
        ),
    )
    pair: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about(
            "object",
            "by member (`src` and `dst`, or all of the trial's where the record has no direction) an object: `nat` and "
            "`link` as declared, `nat_observed` as probes found it",
            since=2,
            before={},
        ),
    )

    link_accounts: str | None = field(
        default=None,
        metadata=_about(
            "label",
            "what of the emulated links' work the trial was held to: `lateness`, `ingress drops`, `losses by seed`, or "
            "`nothing` (netem); null without emulated links",
            null=True,
            since=2,
        ),
    )

    layer: str | None = field(
        default=None,
        metadata=_about("label", "`L2`, `L3` or `L7`: at which layer the overlay carries", null=True, since=3),
    )

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data, in the fixed order of its fields."""
        return {item.name: getattr(self, item.name) for item in FIELDS}


@dataclass(frozen=True)
class RecordField:
    """One field as the table above declares it.

    `null`: it may be null; `words`: all that it may say, empty where that is open; `since`: the schema version that
    brought it; `before`: what it is in records of earlier versions.
    """

    name: str
    kind: Kind
    meaning: str
    null: bool
    words: tuple[str, ...]
    since: int
    before: Any


FIELDS: tuple[RecordField, ...] = tuple(RecordField(item.name, **cast(Any, item.metadata)) for item in fields(Record))


def fields_of(version: int) -> tuple[RecordField, ...]:
    """Return the fields that records of this schema version have, in order."""
    return tuple(item for item in FIELDS if item.since <= version)


def reference_table() -> str:
    """Return all fields as the Markdown table of results/README.md."""
    types = {"version": "int", "count": "int", "seed": "int", "label": "text"}
    rows = ["| Field | Type | Since | Meaning |", "|---|---|---|---|"]
    for item in FIELDS:
        kind = types.get(item.kind, item.kind) + (", null" if item.null else "")
        said = {word for word in item.words if f"`{word}`" not in item.meaning}
        words = f": {', '.join(f'`{word}`' for word in item.words)}" if said else ""
        rows.append(f"| `{item.name}` | {kind} | {item.since} | {item.meaning}{words} |")
    return "\n".join(rows) + "\n"
