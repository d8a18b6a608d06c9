"""Any Mininet user's `Topo` class as a topology: its hosts and addresses, read without building anything."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from mininet.topo import Topo

from harness.errors import Problem, ScenarioError
from harness.model.document import did_you_mean
from harness.model.parameters import Parameter
from harness.model.topology import Host, MininetClass, Segment, Topology

# What Mininet itself uses when a Topo does not say: see `ipBase` of mininet.net.Mininet.
IP_BASE = IPv4Network("10.0.0.0/8")
SEGMENT = "mininet"


def import_topo(path: str, search: str) -> type[Topo]:
    """Import the class behind `package.module:Class`; `search` is a folder to look in first.

    Raises:
        ScenarioError: no such module or class, or it is no `Topo`.
    """
    module_name, _, class_name = path.partition(":")
    if search and search not in sys.path:
        sys.path.insert(0, search)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise _wrong(path, f"cannot import {module_name}: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise _wrong(path, f"{module_name} has no {class_name}{did_you_mean(class_name, vars(module))}")
    if not (isinstance(found, type) and issubclass(found, Topo)):
        raise _wrong(path, f"{class_name} is no mininet.topo.Topo")
    return found


def _wrong(path: str, text: str) -> ScenarioError:
    return ScenarioError([Problem(path, 0, "topology", text)])


@dataclass(frozen=True)
class MininetSource:
    """A `Topo` class as a source of topologies; its `build` arguments are the parameters."""

    name: str
    members: tuple[str, ...]
    server: str | None
    search: str

    @cached_property
    def _class(self) -> type[Topo]:
        return import_topo(self.name, self.search)

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._class.build)

    @property
    def source_text(self) -> str:
        """The text of the module that defines the class; what that module imports is not followed."""
        return inspect.getsource(sys.modules[self._class.__module__])

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The named arguments of `build`; their defaults are the class's own."""
        return {
            name: Parameter(type="str", required=argument.default is argument.empty, default=_shown(argument.default))
            for name, argument in list(self._signature.parameters.items())[1:]
            if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
        }

    def check(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Check the names only: which values a `Topo` accepts, it alone knows."""
        takes_any = any(a.kind is a.VAR_KEYWORD for a in self._signature.parameters.values())
        declared = self.parameters
        wrong = (
            {}
            if takes_any
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

    def resolve(self, given: Mapping[str, Any]) -> Topology:
        """Instantiate the class (it only draws a graph) and read off hosts and addresses.

        Raises:
            ScenarioError: the class raised, or has no hosts.
        """
        try:
            topo = self._class(**given)
        except Exception as error:
            raise _wrong(self.name, f"{type(error).__name__}: {error}") from error
        names = list(topo.hosts())
        if not names:
            raise _wrong(self.name, "the class has no hosts")
        hosts = {
            name: Host(on=SEGMENT, addresses=(_address(topo, name, place),)) for place, name in enumerate(names, 1)
        }
        server = self.server or ("s" if "s" in hosts else None)
        return Topology(
            name=self.name,
            segments={SEGMENT: Segment(subnets=(IPv4Network("0.0.0.0/0"),))},
            hosts=hosts,
            members=self.members or tuple(name for name in names if name != server),
            server=server,
            mininet=MininetClass(path=self.name, params=dict(given), search=self.search),
        )


def _address(topo: Topo, name: str, place: int) -> IPv4Address:
    """Return a host's address as Mininet gives it: its own `ip`, else the next one of `ipBase`."""
    own = topo.nodeInfo(name).get("ip")
    return IPv4Interface(own).ip if own else IP_BASE[place]


def _shown(default: Any) -> Any:
    return None if default is inspect.Parameter.empty else default if default is not None else "(none)"
