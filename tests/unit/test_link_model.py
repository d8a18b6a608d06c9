"""What a user may write for a link, and what they hear where it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.link import PRESETS, LinkSpecError, parse_link


def test_every_preset_names_itself_and_its_source() -> None:
    assert {"ideal", "lan", "fibre", "dsl", "cable", "wifi", "lte", "5g", "geo-satellite", "leo-satellite"} < set(
        PRESETS
    )
    for name, preset in PRESETS.items():
        assert parse_link(name) is preset.profile
        assert preset.profile.label == name == preset.name
        assert len(preset.source) > 20, "a figure without a source is a guess"
        assert preset.profile.impaired == (name != "ideal")


def test_what_stands_outside_goes_for_both_directions_and_inside_wins() -> None:
    link = parse_link({"delay_ms": 10, "up": {"loss_percent": 1}, "down": {"delay_ms": 3}})
    assert (link.up.delay_ms, link.down.delay_ms) == (10, 3)
    assert link.up.loss is not None
    assert link.down.loss is None
    assert link.base_rtt_ms == 13


def test_short_forms_are_the_long_ones() -> None:
    short = parse_link({"loss_percent": 2, "jitter_ms": 3, "rate_mbit": 8, "queue_ms": 50})
    long = parse_link(
        {
            "loss": {"kind": "bernoulli", "percent": 2},
            "jitter": {"kind": "normal", "jitter_ms": 3},
            "rate_mbit": 8,
            "queue": {"limit_bytes": 50_000},
        }
    )
    assert short == long


def test_a_preset_with_something_changed() -> None:
    link = parse_link({"preset": "fibre", "delay_ms": 20, "up": {"rate_mbit": 5, "queue_ms": 100}})
    fibre = PRESETS["fibre"].profile
    assert link.down.rate_mbit == fibre.down.rate_mbit
    assert (link.up.rate_mbit, link.up.delay_ms, link.down.delay_ms) == (5, 20, 20)
    assert link.name is None, "it is no fibre any more"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"delay_ms": -1}, "delay_ms: input should be greater than or equal to 0 (got -1)"),
        ({"up": {"loss_percent": 101}}, "up.loss.percent: input should be less than or equal to 100 (got 101)"),
        ({"delay_ms": float("nan")}, "delay_ms: input should be a finite number (got nan)"),
        ({"down": {"rate_mbit": 5}}, "down: a rate needs its queue: add queue_ms"),
        ({"rate_mbit": 0, "queue_packets": 1}, "rate_mbit: input should be greater than 0"),
        ({"queue_packets": 5}, "a queue needs its rate"),
        ({"delay": 5}, "unknown key 'delay' (did you mean delay_ms?)"),
        ({"up": {"jiter_ms": 5}}, "up: unknown key 'jiter_ms' (did you mean jitter_ms?)"),
        ({"up": {"jitter": {"jitter": 5}}}, "up.jitter: unknown key 'jitter' (did you mean jitter_ms?)"),
        ({"loss_percent": 1, "loss": {"percent": 1}}, "either loss_percent or loss, not both"),
        ({"queue_ms": 5, "queue_packets": 5, "rate_mbit": 1}, "one queue at most"),
        ({"jitter": {"kind": "trace"}}, "trace jitter needs `file`"),
        ({"jitter": {"kind": "normal", "file": "x", "jitter_ms": 1}}, "`file` belongs to kind trace"),
        ({"loss": {"kind": "gilbert-elliott", "good_to_bad_percent": 0, "bad_to_good_percent": 0}}, "never moves"),
        ({"reorder_percent": 5}, "reorder_percent needs a delay_ms"),
        ({"rate_mbit": 1, "rate_file": "x", "queue_packets": 1}, "either rate_mbit or rate_file"),
        ({"mtu_bytes": 100}, "mtu_bytes: input should be greater than or equal to 576"),
        ({"queue": {"limit_bytes": 1, "limit_packets": 1}, "rate_mbit": 1}, "a queue has one limit"),
        ({"queue": {"limit_bytes": 1, "target_ms": 1}, "rate_mbit": 1}, "belong to discipline codel"),
        ("fiber", "no link preset 'fiber' (did you mean fibre?)"),
        (7, "a link is a preset's name or a mapping, not int"),
        ({"preset": "fibre", "up": 3}, "up: a mapping, not 3"),
    ],
)
def test_bad_input_is_named_by_field_in_one_line(spec: Any, text: str) -> None:
    with pytest.raises(LinkSpecError) as caught:
        parse_link(spec)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_are_short_stable_and_tell_links_apart() -> None:
    labels = {
        parse_link(spec).label
        for spec in (
            {"delay_ms": 10},
            {"delay_ms": 10, "loss_percent": 1},
            {"up": {"delay_ms": 10}},
            {"delay_ms": 10, "rate_mbit": 5, "queue_ms": 100},
            "ideal",
        )
    }
    assert labels == {"10ms", "10ms-loss1%", "up:10ms,down:ideal", "10ms-5mbit", "ideal"}
