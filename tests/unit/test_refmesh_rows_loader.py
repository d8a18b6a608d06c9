"""numpy comes with the first large transfer, and never inside the loop."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from overlays.refmesh.core import rows_loader
import overlays.refmesh.driver.node
assert "numpy" not in sys.modules
threads = []
rows_loader.importlib.import_module = lambda name, real=rows_loader.importlib.import_module: (
    threads.append(threading.current_thread()), real(name))[1]
assert rows_loader.large() is None
loader = rows_loader._threads[0]
assert loader.name == "load-large"
rows_loader.large()
assert rows_loader._threads == [loader]
loader.join()
assert threads == [loader]
assert rows_loader.large() is sys.modules["overlays.refmesh.core.large"]
assert "numpy" in sys.modules
"""


def test_large_is_loaded_once_and_in_a_thread() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
