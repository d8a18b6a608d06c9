"""A process of its own for a user's module: `python -m harness.topology.mininet_child PATH SEARCH`.

A module may do anything when it is imported: parse sys.argv, print, end the process. Here it finds an empty command
line, what it prints goes to stderr, and what it raises is told with file and line. Requests and answers are lines of
JSON on stdin and on the stdout that we were given.

As the first process of a sandbox it finds what a lab's process does: a file system that is read-only, no network.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import Any

from harness.errors import ScenarioError
from harness.sandbox.mounts import make_private
from harness.topology.mininet_graph import examine
from harness.topology.mininet_import import construct, import_topo, where


def _answer(path: str, search: str, request: dict[str, Any]) -> dict[str, Any]:
    found = import_topo(path, search)
    if request["ask"] == "describe":
        arguments = list(inspect.signature(found.build).parameters.values())[1:]
        return {
            "source": inspect.getsource(sys.modules[found.__module__]),
            "arguments": [
                {"name": one.name, "required": one.default is one.empty, "default": _shown(one)}
                for one in arguments
                if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
            ],
            "takes_any": any(one.kind is one.VAR_KEYWORD for one in arguments),
        }
    return examine(construct(path, search, request["params"])).as_dict()


def _shown(argument: inspect.Parameter) -> str | int | float | bool | None:
    default = argument.default
    if default is argument.empty:
        return None
    return default if isinstance(default, str | int | float | bool) else "(none)" if default is None else repr(default)


def main() -> None:
    """Answer until stdin ends."""
    path, search = sys.argv[1:]
    sys.argv = [path]
    if os.getpid() == 1:
        make_private(None)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    requests, sys.stdin = sys.stdin, open(os.devnull)  # noqa: PTH123, SIM115  # as long as we live
    for line in requests:
        try:
            answer = _answer(path, search, json.loads(line))
        except ScenarioError as error:
            answer = {"error": "; ".join(problem.text for problem in error.problems)}
        except (Exception, SystemExit) as error:  # the user's module may raise anything
            answer = {"error": where(error)}
        sys.stdout.flush()
        answers.write(json.dumps(answer, default=repr) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
