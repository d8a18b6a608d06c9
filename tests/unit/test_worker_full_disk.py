"""A worker on a full disk says how its trial ended, though its log takes no word more."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Never

import pytest

from harness.trial import worker
from harness.trial.messages import Done

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/trials/one/captures")


class Said:
    messages: list[Any]

    def __init__(self) -> None:
        Said.messages = []

    def say(self, message: Any) -> None:
        Said.messages.append(message)


class FailingRun:
    measurements: tuple[()] = ()
    nat_observed: dict[str, str] = {}  # noqa: RUF012
    claims: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def run(self) -> Never:
        raise self.failure


class IdealGround:
    link_backend, links = "none", None
    sysctls: dict[str, str] = {}  # noqa: RUF012


class NoPauses:
    def after(self, outcome: str, error: str | None) -> None:
        """Pause at nothing."""


def ended(monkeypatch: pytest.MonkeyPatch, folder: Path, prepared: Any) -> Done:
    """Run `work` where nothing can be printed any more, and return what it says."""

    def full_log() -> Never:
        raise FULL

    monkeypatch.chdir(folder)
    (folder / "job.json").write_text("{}")
    monkeypatch.setattr(worker.Job, "model_validate_json", lambda _text: None)
    monkeypatch.setattr(worker, "run_as_init_check", lambda: None)
    monkeypatch.setattr(worker, "Channel", Said)
    monkeypatch.setattr(worker, "_prepared", prepared)
    monkeypatch.setattr(worker.traceback, "print_exc", full_log)
    worker.work(folder, 0.0)
    (done,) = Said.messages
    assert isinstance(done, Done)
    return done


@pytest.mark.parametrize("failure", [FULL, RuntimeError("a library's own word for it")])
def test_a_trial_that_fills_the_disk_says_so(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "exhausted", lambda _folder, _error=None: "no space left on device; make room there")
    done = ended(monkeypatch, tmp_path, lambda *_: (IdealGround(), FailingRun(failure), NoPauses()))
    assert done.outcome == "error" and str(failure) in str(done.error)
    assert done.cannot_write == "no space left on device; make room there"


def test_so_does_one_that_could_not_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unprepared(*_: object) -> Never:
        raise FULL

    done = ended(monkeypatch, tmp_path, unprepared)
    assert done.outcome == "error" and done.cannot_write is not None
    assert "no space left on device" in done.cannot_write
