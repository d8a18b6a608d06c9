"""The fork server's end when its orchestrator is gone first: it says nothing, as nobody is there to be told."""

from __future__ import annotations

import subprocess
import sys

# A worker has ended, its orchestrator too: the server looks after the worker first, and has nobody to tell.
SCRIPT = """
import os, socket, time
from harness.trial.fork_server import ForkServer
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server = ForkServer(theirs)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(reading, 1)
    os._exit(0)
server._workers[pid] = "refmesh_mesh_r1"
ours.close()
os.write(writing, b"x")
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
server.run()
print("ended")
"""


def test_a_worker_that_ends_after_the_orchestrator_ends_in_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("ended\n", "")
