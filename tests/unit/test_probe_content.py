"""The content probe with commands that run here: time, integrity, and every way in which they can fail."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.link.accounting import Accounting
from harness.overlay.contract import ContentEndpoint
from harness.probes import exchange
from harness.probes.content import ContentProbe, ContentSettings, Fetched, summarise_content
from harness.probes.contract import Found
from harness.probes.measurement import Target

# A store that two commands share: content by its number.
PUBLISH = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2]); print('put it', 'id-7')"
FETCH = "import shutil, sys; assert sys.argv[3] == 'id-7'; shutil.copy(sys.argv[2], sys.argv[1])"


class Here(Target):
    """A pair whose programs run on this machine, in no namespace."""

    def start(
        self,
        node: str,
        argv: Sequence[str],
        evidence: str,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Daemon:
        plain: Any = SimpleNamespace(name=node, enter=list)
        return Daemon(plain, argv, log=self.evidence(evidence), cwd=cwd or self.folder, env=env or {})


def measured(tmp_path: Path, fetch: str = FETCH, publish: str = PUBLISH) -> dict[str, float | None]:
    store = str(tmp_path / "store")
    endpoint = ContentEndpoint(
        src="a",
        dst="b",
        publish=(sys.executable, "-c", publish, "{file}", store),
        identifier=r"put it (\S+)",
        fetch=(sys.executable, "-c", fetch, "{file}", store, "{id}"),
    )
    lab: Any = SimpleNamespace(topology=SimpleNamespace(mininet="none counted"))
    ways = {("a", "b"): endpoint}
    target = Here(lab=lab, src="a", dst="b", mode="mesh", folder=tmp_path, contents=ways, trial="t1")
    trial: Any = SimpleNamespace(carried=lambda: Accounting(backend="none"))
    probe, settings = ContentProbe(), ContentSettings(sizes_mb=(0.2, 0.001))
    found = probe.measure(target, settings, trial)
    assert [one.size for one in found] == [1000, 200_000], "the smallest first"
    assert not list((tmp_path / "nodes").rglob("content-*")), "contents are not kept"
    return {m.metric: m.value for m in probe.summarise(Found(target, found), settings)}


def test_what_is_published_is_fetched(tmp_path: Path) -> None:
    values = measured(tmp_path)
    assert values["content_intact"] == 1.0
    assert (values["content_goodput_mbit"] or 0) > 0 and (values["content_small_last_byte_s"] or 0) > 0
    assert "content_underlay_bytes_per_byte" not in values, "nothing counted, nothing said"


def test_a_first_byte_is_seen_where_the_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest comes when the first bytes have been seen."""
    look = exchange._FirstByte.look

    def look_and_tell(seen: exchange._FirstByte) -> None:
        look(seen)
        if any(size for _, size in seen._sizes):
            (tmp_path / f"{seen._path.name}-seen").touch()

    monkeypatch.setattr(exchange._FirstByte, "look", look_and_tell)
    slow = (
        "import sys, time; from pathlib import Path\n"
        "data = open(sys.argv[2], 'rb').read(); out = open(sys.argv[1], 'wb', buffering=0); out.write(data[:100])\n"
        "mark = Path(sys.argv[2]).with_name(Path(sys.argv[1]).name + '-seen'); end = time.monotonic() + 60\n"
        "while not mark.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "out.write(data[100:])"
    )
    values = measured(tmp_path, fetch=slow)
    first, last = values["content_first_byte_s"], values["content_last_byte_s"]
    assert first is not None and last is not None and 0 < first < last


def test_content_measured_anew_is_fresh_and_the_same_in_every_run_of_a_trial(tmp_path: Path) -> None:
    keep = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2] + '-' + sys.argv[1].rpartition('-')[2]); "
    digests = []
    for run in ("one", "other"):
        folder = tmp_path / run
        folder.mkdir()
        for _ in range(2):  # the second time over, after late links
            measured(folder, publish=keep + PUBLISH)
        digests.append([(folder / f"store-{attempt}").read_bytes() for attempt in (1, 2)])
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[0][1]


def test_the_underlays_http_stands_beside_what_an_overlay_took(tmp_path: Path) -> None:
    made: Any = Target
    target = made(lab=None, src="a", dst="b", mode="mesh", folder=tmp_path)
    small, large = Fetched(1000, 0.1, None, 0.5, True, None), Fetched(1_000_000, 0.2, 0.1, 2.0, True, 1_100_000)
    below = Fetched(1000, 0.1, None, 0.01, True, None), Fetched(1_000_000, 0.2, 0.1, 0.5, True, None)
    values = {one.metric: one.value for one in summarise_content(target, (small, large), below)}
    assert values == {
        "content_intact": 1.0,
        "content_goodput_mbit": 4.0,
        "content_first_byte_s": 0.1,
        "content_last_byte_s": 2.0,
        "content_small_last_byte_s": 0.5,
        "content_publish_s": 0.2,
        "content_underlay_bytes_per_byte": 1.1,
        "underlay_content_goodput_mbit": 16.0,
        "underlay_content_small_last_byte_s": 0.01,
        "content_goodput_ratio": 0.25,
    }


def test_a_content_that_arrives_changed_is_not_intact(tmp_path: Path) -> None:
    values = measured(tmp_path, fetch=FETCH + "; open(sys.argv[1], 'r+b').write(b'x')")
    assert values == {"content_intact": 0.0}, "and how fast it came is no figure"


@pytest.mark.parametrize(
    ("publish", "fetch", "said"),
    [
        ("import sys; sys.exit('store is closed')", FETCH, "on a ended with status 1: store is closed"),
        ("print('nothing')", FETCH, "said nothing to fetch by: nothing"),
        (PUBLISH, "import sys; sys.exit(3)", r"on b ended with status 3: \(it said nothing\)"),
    ],
)
def test_a_command_that_fails_is_the_overlays_fault(tmp_path: Path, publish: str, fetch: str, said: str) -> None:
    with pytest.raises(OverlayError, match=said):
        measured(tmp_path, fetch=fetch, publish=publish)


@pytest.mark.parametrize("sizes", [[], [0], [-1], [float("nan")], [float("inf")], [1] * 9])
def test_sizes_that_are_none_are_refused(sizes: list[float]) -> None:
    with pytest.raises(ValidationError):
        ContentSettings.model_validate({"sizes_mb": sizes})
