"""Imports a Mininet user's class, for the processes in which that may be done: a lab's and `mininet_child`'s."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

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


def construct(path: str, search: str, params: Mapping[str, Any]) -> Topo:
    """Let the class behind `path` draw its graph, with an empty command line, in the folder `search`.

    What it prints goes to stderr. Raises what the class raises, and as `import_topo`.
    """
    found = import_topo(path, search)
    argv, sys.argv = sys.argv, [path.partition(":")[0]]
    before = os.open(".", os.O_PATH)
    try:
        os.chdir(search or ".")
        with contextlib.redirect_stdout(sys.stderr):
            return found(**params)
    finally:
        os.fchdir(before)
        os.close(before)
        sys.argv = argv


def where(error: BaseException) -> str:
    """Return what an exception says, and the last place of it that is in the user's own code."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if _is_users(one.filename)]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _is_users(file: str) -> bool:
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # texts, as in frames
    return not (file.startswith(("<", sys.prefix, sys.base_prefix, ours)) or "/mininet/" in file)


def _line(error: BaseException) -> str:
    """Where in a module that was found."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    last = frames[-1] if len(frames) > 1 else None
    return f" ({last.filename}:{last.lineno})" if last is not None else ""


def _wrong(path: str, text: str) -> ScenarioError:
    return ScenarioError([Problem(path, 0, "topology", text)])
