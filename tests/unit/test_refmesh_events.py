"""What a daemon writes to its log, however much its members make it say."""

from __future__ import annotations

import pytest

from overlays.refmesh.core.guard import Guard
from overlays.refmesh.driver.events import LEFT_OUT_EVERY_S, LINES_BURST, OF_ONE_BURST, OF_ONE_PER_S, EventLog


def test_who_makes_a_daemon_say_much_does_not_fill_its_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    events, said = [f"m{number % 10} sent nonsense" for number in range(3 * LINES_BURST)], EventLog()
    said.write(events, 0.0)
    assert events == []
    assert len(caplog.records) == LINES_BURST
    said.write(["more"], 1.0)
    assert f"{2 * LINES_BURST} lines were left out here" in caplog.text


def test_one_member_does_not_silence_the_log_for_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    said, seconds = EventLog(), 100
    for second in range(seconds):
        for _ in range(10):
            said.write(["mallory sent nonsense"] * 20, second)
        said.write([f"m{second} is here", f"m{second} is gone"], second)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("is here" in line or "is gone" in line for line in lines) == 2 * seconds
    assert lines.count("mallory sent nonsense") == OF_ONE_BURST + OF_ONE_PER_S * (seconds - 1)
    assert sum("were left out here" in line for line in lines) <= seconds / LEFT_OUT_EVERY_S


def test_a_fault_is_said_whatever_the_log_level_and_however_much_else_there_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING")
    events, said = [f"m{number} sent nonsense" for number in range(3 * LINES_BURST)], EventLog()
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("nobody knows")
    Guard(events).caught(caught.value, 1.0)
    said.write(events, 1.0)
    assert [record.getMessage() for record in caplog.records if "nobody knows" in record.getMessage()]
    assert events == []
