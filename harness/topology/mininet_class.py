"""Any Mininet user's `Topo` class as a topology, looked at in a process of its own without building anything."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from harness.errors import MissingPrerequisite, Problem, ScenarioError
from harness.model.document import did_you_mean
from harness.model.parameters import Parameter
from harness.model.topology import MininetClass, Topology
from harness.sandbox.unshare import sandbox_argv
from harness.topology.mininet_topology import topology_of

# A module that waits for somebody to type, say, would keep us for ever.
PATIENCE_S = 60.0


def _wrong(path: str, *texts: str) -> ScenarioError:
    return ScenarioError([Problem(path, 0, "topology", text) for text in texts])


@functools.cache
def _can_make_sandboxes() -> bool:
    """Tell whether a sandbox can be made here: `check` is for machines without, too."""
    try:
        tried = subprocess.run(sandbox_argv(["true"]), capture_output=True, check=False)
    except (MissingPrerequisite, OSError):
        return False
    return tried.returncode == 0


@dataclass(frozen=True)
class MininetSource:
    """A `Topo` class as a source of topologies; its `build` arguments are the parameters."""

    name: str
    members: tuple[str, ...]
    server: str | None
    search: str

    @cached_property
    def _child(self) -> subprocess.Popen[str]:
        """The process in which the class is; it ends with our end of its stdin.

        In a sandbox, as a lab's, where this machine has any.
        """
        argv = [sys.executable, "-m", "harness.topology.mininet_child", self.name, self.search]
        if _can_make_sandboxes():
            argv = sandbox_argv(argv)
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _ask(self, **request: Any) -> Any:
        """Ask the child.

        Raises:
            ScenarioError: the module or the class raised something, ended its process, or is silent.
        """
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        waiting = threading.Timer(PATIENCE_S, child.kill)
        waiting.start()
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            line = ""
        finally:
            waiting.cancel()
        if not line:
            raise _wrong(self.name, f"loading the class ended its process with status {child.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise _wrong(self.name, answer["error"])
        return answer

    @cached_property
    def _described(self) -> dict[str, Any]:
        described: dict[str, Any] = self._ask(ask="describe")
        return described

    @property
    def source_text(self) -> str:
        """The text of the module that defines the class; what that module imports is not followed."""
        return str(self._described["source"])

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The named arguments of `build`; their defaults are the class's own."""
        return {
            one["name"]: Parameter(type="str", required=one["required"], default=one["default"])
            for one in self._described["arguments"]
        }

    def check(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Check the names only: which values a `Topo` accepts, it alone knows."""
        declared = self.parameters
        wrong = (
            {}
            if self._described["takes_any"]
            else {
                name: f"{self.name} has no argument {name}{did_you_mean(name, declared)}"
                for name in given
                if name not in declared
            }
        )
        return wrong | {
            name: f"{self.name} needs the argument {name}"
            for name, parameter in declared.items()
            if parameter.required and name not in given
        }

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as given: the class fills in its own defaults."""
        return dict(given)

    def notes(self, given: Mapping[str, Any]) -> list[str]:
        """Return what a lab does in its own way, for these parameters."""
        return list(self._ask(ask="examine", params=dict(given))["notes"])

    def own_classes(self, given: Mapping[str, Any]) -> list[str]:
        """Return the hosts that are of a class of the author's own, for these parameters."""
        return list(self._ask(ask="examine", params=dict(given))["own"])

    def resolve(self, given: Mapping[str, Any]) -> Topology:
        """Let the class draw its graph and make a topology of it.

        Raises:
            ScenarioError: the class raised, has no hosts, or asks for what no lab can do.
        """
        graph = self._ask(ask="examine", params=dict(given))
        if graph["problems"]:
            raise _wrong(self.name, *graph["problems"])
        if not graph["hosts"]:
            raise _wrong(self.name, "the class has no hosts")
        use = MininetClass(path=self.name, params=dict(given), search=self.search)
        try:
            return topology_of(graph, use, self.members, self.server)
        except ValidationError as error:
            raise _wrong(self.name, *_texts(error)) from error
        except ValueError as error:
            raise _wrong(self.name, str(error)) from error


def _texts(error: ValidationError) -> Iterator[str]:
    for one in error.errors():
        yield f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
