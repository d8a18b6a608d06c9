"""YAML files: what is wrong with one is said in one line, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from overlays.refmesh.errors import ConfigError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(path: Path) -> yaml.Node | None:
    """Return the nodes of a file, with their places; None when it is empty. ConfigError when it is none."""
    try:
        node: yaml.Node | None = yaml.compose(path.read_text(), Loader=LOADER)
    except OSError as error:
        raise ConfigError([f"{path}:0: file: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}:0: file: is not UTF-8 text"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError([f"{path}:{line}: file: not YAML: {error.problem}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}:0: file: not YAML: {error}"]) from None
    return node


def load(path: Path) -> Any:
    """Return what a file says; None when it is empty. ConfigError when it is none."""
    node = compose(path)
    if node is None:
        return None
    try:
        return LOADER("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError([f"{path}:{line}: file: {error.problem}"]) from None
    except ValueError as error:
        raise ConfigError([f"{path}:0: file: {error}"]) from None
