"""The `userlink` backends: our own helper process carries the frames, in C or (slowly) in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from harness.errors import LabError
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts
from harness.link.backend import Accountable, Cable
from harness.link.helper import HelperProcess, helper_argv, python_helper_argv, write_table
from harness.link.precedence import pin_helper
from harness.link.settings import Settings, settings_of, stream_seeds
from harness.link.traces import load_direction
from harness.model.link import Direction, LinkProfile

Way = Literal["up", "down"]
WAYS: Final[tuple[Way, Way]] = ("up", "down")


class UserlinkBackend:
    """Packet sockets on the middle interfaces of all links of a lab, served by one process.

    `traces_from` is the folder at which relative paths of trace files start.
    """

    def __init__(self, name: Literal["userlink", "userlink-python"], *, traces_from: Path | None = None) -> None:
        self.name: str = name
        self._traces_from = traces_from or Path()

    def refusals(self, profile: LinkProfile) -> list[str]:
        """Return nothing: both helpers do every profile; the Python one lacks speed, and its account says so."""
        del profile
        return []

    def start(self, cables: Sequence[Cable], *, netns_pid: int, seed: int, workdir: Path) -> UserlinkLinks:
        """See `LinkBackend.start`; tables and the helper's log go to `workdir`."""
        argv = helper_argv() if self.name == "userlink" else python_helper_argv()
        if argv is None:
            raise LabError("the link helper was not built; choose_backend would have said so")
        names = [cable.name for cable in cables]
        if len(set(names)) != len(names):
            raise LabError(f"two links of one lab have the same name: {sorted(names)}")
        workdir.mkdir(parents=True, exist_ok=True)
        process = HelperProcess(argv, netns_pid=netns_pid, log=workdir / "userlink.log")
        pin_helper(process.pid)
        try:
            return UserlinkLinks(self.name, process, cables, seed=seed, workdir=workdir, load=self._load)
        except BaseException:
            process.close()
            raise

    def _load(self, direction: Direction) -> Settings:
        return settings_of(direction, load_direction(direction, self._traces_from))


class UserlinkLinks:
    """Links carried by a helper; see `RunningLinks`."""

    accounts_for: tuple[Accountable, ...] = ("lateness", "ingress drops", "losses by seed")

    def __init__(
        self,
        backend: str,
        process: HelperProcess,
        cables: Sequence[Cable],
        *,
        seed: int,
        workdir: Path,
        load: Callable[[Direction], Settings],
    ) -> None:
        self._backend = backend
        self._process = process
        self._workdir = workdir
        self._load = load
        self._cables = {cable.name: cable for cable in cables}
        self._index = {cable.name: index for index, cable in enumerate(cables)}
        self._profiles = {cable.name: cable.profile for cable in cables}
        self._tables: dict[tuple[int, ...], int] = {}
        self.applied: Mapping[str, Mapping[str, Any]] = {}
        for index, cable in enumerate(cables):
            process.ask(f"link {cable.near} {cable.far}")
            for way in WAYS:
                seeds = " ".join(map(str, stream_seeds(seed, cable.name, way)))
                process.ask(f"seeds {index} {way} {seeds}")
            self._set(cable.name, cable.profile)
        process.ask("go")

    @property
    def helper_pid(self) -> int:
        """Process id of the helper."""
        return self._process.pid

    def change(self, cable: str, profile: LinkProfile) -> None:
        """See `RunningLinks.change`."""
        if cable not in self._cables:
            raise ValueError(f"no link {cable!r}; there are {', '.join(self._cables)}")
        self._set(cable, profile)

    def accounting(self) -> Accounting:
        """See `RunningLinks.accounting`."""
        counts: dict[str, dict[str, DirectionCounts]] = {}
        for name, index in self._index.items():
            _, *parts = self._process.ask(f"account {index}").split("| ")
            counts[name] = {way: _counts(part) for way, part in zip(WAYS, parts, strict=True)}
        usage = self.usage()
        return Accounting(
            backend=self._backend,
            counts=counts,
            delay_ms={
                name: {way: getattr(profile, way).delay_ms for way in WAYS} for name, profile in self._profiles.items()
            },
            cpu_s=usage["cpu_ns"] / 1e9,
            wall_s=usage["wall_ns"] / 1e9,
            realtime=bool(usage["realtime"]),
            kickers=self._process.ask("kickers").strip(),
        )

    def usage(self) -> dict[str, int]:
        """Return what the helper uses of the machine: cpu_ns, wall_ns, resident_kb, pool_bytes, realtime (0 or 1)."""
        return {key: int(value) for key, value in (word.split("=") for word in self._process.ask("usage").split())}

    def close(self) -> None:
        """See `RunningLinks.close`."""
        self._process.close()

    def _set(self, cable: str, profile: LinkProfile) -> None:
        # Both directions are made ready before either changes, so that a bad trace file changes nothing.
        settings = {way: self._load(getattr(profile, way)) for way in WAYS}
        for way, wanted in settings.items():
            numbers = {name: self._table(values) for name, values in wanted.tables.items()}
            self._process.ask(f"set {self._index[cable]} {way} {wanted.words(numbers)}")
        self._profiles[cable] = profile
        said: dict[str, Any] = {way: getattr(profile, way).model_dump(exclude_defaults=True) for way in WAYS}
        self.applied = {**self.applied, cable: said}

    def _table(self, values: tuple[int, ...]) -> int:
        if values not in self._tables:
            number = len(self._tables)
            path = self._workdir / f"table-{number}.int64"
            write_table(path, values)
            self._process.ask(f"table {number} {path.resolve()}")
            self._tables[values] = number
        return self._tables[values]


def _counts(words: str) -> DirectionCounts:
    numbers: dict[str, int] = {}
    lateness = [0] * BUCKETS
    for word in words.split():
        key, _, value = word.partition("=")
        if key.isdigit():
            lateness[int(key)] = int(value)
        else:
            numbers[key] = int(value)
    return DirectionCounts(**numbers, lateness=tuple(lateness))
