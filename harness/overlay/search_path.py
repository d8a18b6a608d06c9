"""Where overlays' programs are looked for; built ones are in the user's cache folder, outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

# Daemons are administrators' programs: Debian puts them where an ordinary user's PATH does not look.
_ADMIN_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/overlaybench`, by default ~/.cache/overlaybench (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "overlaybench"


def programs_folder() -> Path:
    """Return the folder of built programs."""
    return cache_folder() / "programs"


def search_path() -> str:
    """Return PATH as overlays see it: the user's, built programs, the administrator's folders."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), str(programs_folder()), *_ADMIN_PATHS]
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
