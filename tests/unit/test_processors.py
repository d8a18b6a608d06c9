"""Keeping a virtual machine's processors from halting: asked for by who may, and taken back."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from harness.machine import processors as awake


def test_who_may_asks_the_kernel_and_takes_the_request_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    monkeypatch.setattr(awake, "is_virtual", lambda: True)
    monkeypatch.setattr(awake, "LATENCY_DEVICE", device)
    monkeypatch.setattr(awake, "_cpuidle_driver", lambda: "haltpoll")
    gc.collect()  # what others have left open would be closed at any time
    open_before = set(Path("/proc/self/fd").iterdir())
    with awake.processors_awake() as way:
        assert way == "latency request"
        assert device.read_bytes() == bytes(4), "0 us, as a 32-bit number"
        assert device in {fd.resolve() for fd in Path("/proc/self/fd").iterdir()}, "held open"
    open_after = set(Path("/proc/self/fd").iterdir())
    assert open_after <= open_before and device not in {fd.resolve() for fd in open_after}


@pytest.mark.parametrize("why", ["bare metal", "no privilege", "no driver"])
def test_elsewhere_nothing_is_held_and_the_record_says_so(
    why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "cpu_dma_latency"
    if why != "no privilege":  # the device is there, but for root alone: to open it fails either way
        device.touch()
    monkeypatch.setattr(awake, "is_virtual", lambda: why != "bare metal")
    monkeypatch.setattr(awake, "LATENCY_DEVICE", device)
    monkeypatch.setattr(awake, "_cpuidle_driver", lambda: "none" if why == "no driver" else "haltpoll")
    with awake.processors_awake() as way:
        assert way is None
        assert device not in {fd.resolve() for fd in Path("/proc/self/fd").iterdir()}


def test_stolen_time_is_read_in_seconds() -> None:
    assert 0 <= awake.stolen_s() < 1e9
