"""What the daemons of a mesh have written so far: who is up, who knows whom, who reaches whom directly. Files in."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

_KNOWS = re.compile(r"^(?P<at>\S+ \S+) INFO knows (?P<peer>\S+) \(")
_DIRECT = re.compile(r"^(?P<at>\S+ \S+) INFO (?P<peer>\S+) is reached directly at ")
_ANSWERS = re.compile(r"^(?P<at>\S+ \S+) INFO server \S+ answers")
_TAIL = 500


class Logs:
    """Follows the logs `NAME.log` of a folder."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        """`names`: the nodes, each of which is to reach all others."""
        self._folder, self._names = folder, names
        self._read = dict.fromkeys(names, 0)
        self._up: dict[str, float] = {}
        self._known: dict[tuple[str, str], float] = {}
        self._direct: dict[tuple[str, str], float] = {}

    @property
    def complete(self) -> bool:
        """Whether each node has had a direct path to each other one."""
        return len(self._direct) == len(self._names) * (len(self._names) - 1)

    def read(self) -> None:
        """Take what has been written since."""
        for name in self._names:
            path = self._folder / f"{name}.log"
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(self._read[name])
                data = log.read()
            data = data[: data.rfind(b"\n") + 1]  # the rest of a line comes with the next look
            self._read[name] += len(data)
            for line in data.decode(errors="replace").splitlines():
                self._take(name, line)

    def progress(self) -> str:
        """Return a line for who waits."""
        count = len(self._names)
        pairs = count * (count - 1)
        return f"up {len(self._up)}/{count}, known {len(self._known)}/{pairs}, direct {len(self._direct)}/{pairs}"

    def took_s(self, since_unix_s: float) -> dict[str, float | None]:
        """Return how long it was until all were `up`, `known` and `direct`, in seconds; None: they never all were."""
        count = len(self._names)
        found = {
            "up": (self._up.values(), count),
            "known": (self._known.values(), count * (count - 1)),
            "direct": (self._direct.values(), count * (count - 1)),
        }
        return {
            what: round(max(times) - since_unix_s, 2) if len(times) == wanted else None
            for what, (times, wanted) in found.items()
        }

    def tail(self, name: str) -> str:
        """Return the end of a log."""
        return (self._folder / f"{name}.log").read_text(errors="replace")[-_TAIL:] or "it is empty"

    def _take(self, name: str, line: str) -> None:
        if found := _KNOWS.match(line):
            self._known.setdefault((name, found["peer"]), _unix_s(found["at"]))
        elif found := _DIRECT.match(line):
            self._direct.setdefault((name, found["peer"]), _unix_s(found["at"]))
        elif found := _ANSWERS.match(line):
            self._up.setdefault(name, _unix_s(found["at"]))


def _unix_s(at: str) -> float:
    """Return the time of a line of `logging`: local, with milliseconds behind a comma."""
    return datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp()
