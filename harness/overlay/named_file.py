"""Overlays named by their file: `./myvpn.py:MyVpn`, a class in a file of Python, or `./myvpn.yaml`.

Nothing is installed and nothing registered; wherever a registered overlay can be named, such a file can be.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

from harness.errors import Problem, ScenarioError
from harness.model.document import did_you_mean, parse, validate
from harness.model.words import MODES
from harness.overlay.contract import Layer, Overlay
from harness.overlay.written import WrittenOverlay
from harness.overlay.written_adapter import WrittenAdapter
from harness.overlay.written_templates import REPEATED, template_problems

_PYTHON: Final = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)$")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}$")
_CONTRACT: Final = ("name", "modes", "layer", "needs_server", "requirements", "render")


@dataclass(frozen=True)
class NamedFile:
    """An overlay from a file, the file, and its text when it was read."""

    overlay: Overlay
    path: Path
    text: str

    @property
    def sha256(self) -> str:
        """Of the text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def names_a_file(name: str) -> bool:
    """Tell whether an overlay's name is that of a file: no registered one has such a name."""
    return name.endswith((".yaml", ".yml", ".py")) or _PYTHON.match(name) is not None


def load_named_file(name: str, also_in: Path | None = None) -> NamedFile:
    """Load an overlay by its file, as given or relative to `also_in`.

    Raises:
        ScenarioError: there is no such file or class, it cannot be loaded, or does not offer the contract; with the
            line in that file.
    """
    found = _PYTHON.match(name)
    if found is None and name.endswith(".py"):
        raise ScenarioError([Problem(name, 0, "overlay", f"name the class as well: {name}:MyOverlay")])
    path = _path(found["file"] if found else name, also_in)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([Problem(str(path), 0, "(file)", f"cannot be read: {error}")]) from error
    overlay = _of_class(path, text, found["name"]) if found else written_adapter(text, path)
    return NamedFile(overlay, path, text)


def written_adapter(text: str, path: Path) -> WrittenAdapter:
    """Return an adapter written as YAML.

    Raises:
        ScenarioError: everything that is wrong with it, with lines and fields.
    """
    document = parse(text, str(path))
    written = validate(WrittenOverlay, document)
    problems = list(template_problems(document))
    for section in REPEATED:
        for number, entry in enumerate(getattr(written, section)):
            if entry.on == "server" and not written.needs_server:
                problems.append(document.problem((section, number, "on"), "there is no server without `needs_server`"))
            if entry.on == "helpers" and not written.helpers:
                text = "there are none without `helpers: 1` or more"
                problems.append(document.problem((section, number, "on"), text))
    if problems:
        raise ScenarioError(problems)
    return WrittenAdapter(written, document, path.parent.resolve())


def _path(file: str, also_in: Path | None) -> Path:
    for place in (Path(file), *([also_in / file] if also_in else [])):
        if place.is_file():
            return place
    raise ScenarioError([Problem(file, 0, "overlay", "no such file")])


def _of_class(path: Path, text: str, name: str) -> Overlay:
    module = _imported(path, text)
    made: Any = getattr(module, name, None)
    if not isinstance(made, type):
        there = [one for one, value in vars(module).items() if isinstance(value, type) and hasattr(value, "render")]
        hint = did_you_mean(name, there) or (f"; there is {', '.join(there)}" if there else "")
        raise ScenarioError([Problem(str(path), 0, name, f"no such class{hint}")])
    try:
        overlay = made()
    except Exception as error:  # somebody else's code
        raise ScenarioError([raised(path, name, error)]) from error
    if problems := list(_lacking(path, text, name, overlay)):
        raise ScenarioError(problems)
    assert isinstance(overlay, Overlay)
    return overlay


def _imported(path: Path, text: str) -> ModuleType:
    """Import a file under a name of its own, so that two files of one name are two modules."""
    digest = hashlib.sha256(f"{path.resolve()}\n{text}".encode()).hexdigest()
    name = f"overlaybench_{path.stem}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)  # what stands beside it can be imported, and hides nothing
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ScenarioError([raised(path, "(import)", error)]) from error
    return module


def raised(path: Path, field: str, error: BaseException) -> Problem:
    """Return somebody else's exception with the last line of the file that it came through."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path.resolve():
        return Problem(str(path), error.lineno or 0, "(syntax)", f"this is not Python: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    rows = [frame.lineno or 0 for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    said = " ".join(str(error).split())
    return Problem(str(path), rows[-1] if rows else 0, field, f"{type(error).__name__}: {said}")


def _lacking(path: Path, text: str, name: str, overlay: Any) -> list[Problem]:
    """Return what of the contract a class does not offer, or offers in another form."""
    rows = [number for number, line in enumerate(text.split("\n"), 1) if re.match(rf"class {name}\b", line)]
    file, row = str(path), rows[0] if rows else 0
    missing = [one for one in _CONTRACT if not hasattr(overlay, one)]
    if missing:
        return [Problem(file, row, f"{name}.{one}", "missing: see `overlaybench new overlay`") for one in missing]
    found = []
    if not isinstance(overlay.name, str) or not _NAME.match(overlay.name):
        found.append(("name", f"expected a short name of letters, digits and . _ -, got {overlay.name!r}"))
    elif overlay.name == "underlay":
        found.append(("name", "an overlay cannot be called underlay: that is the baseline without one"))
    if not isinstance(overlay.modes, frozenset | set) or not overlay.modes or not overlay.modes <= set(MODES[1:]):
        found.append(("modes", f"expected a set of {', '.join(MODES[1:])}, got {overlay.modes!r}"))
    if overlay.layer not in get_args(Layer):
        found.append(("layer", f"expected one of {', '.join(get_args(Layer))}, got {overlay.layer!r}"))
    return [Problem(file, row, f"{name}.{field}", said) for field, said in found]
