"""Imports a Mininet user's class, for the processes in which that may be done: a lab's and `mininet_child`'s."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback

from mininet.topo import Topo

from harness.errors import Problem, ScenarioError
from harness.model.document import did_you_mean


def import_topo(path: str, search: str) -> type[Topo]:
    """Import the class behind `package.module:Class`, with an empty command line; `search` is looked in first.

    What the module prints goes to stderr.

    Raises:
        ScenarioError: no such module or class, or it is no `Topo`.
    """
    module_name, _, class_name = path.partition(":")
    if search and search not in sys.path:
        sys.path.insert(0, search)
    argv, sys.argv = sys.argv, [module_name]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise _wrong(path, f"cannot import {module_name}: {type(error).__name__}: {error}{_line(error)}") from error
    finally:
        sys.argv = argv
    found = getattr(module, class_name, None)
    if found is None:
        raise _wrong(path, f"{module_name} has no {class_name}{did_you_mean(class_name, vars(module))}")
    if not (isinstance(found, type) and issubclass(found, Topo)):
        raise _wrong(path, f"{class_name} is no mininet.topo.Topo")
    return found


def _line(error: BaseException) -> str:
    """Where in a module that was found."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    last = frames[-1] if len(frames) > 1 else None
    return f" ({last.filename}:{last.lineno})" if last is not None else ""


def _wrong(path: str, text: str) -> ScenarioError:
    return ScenarioError([Problem(path, 0, "topology", text)])
