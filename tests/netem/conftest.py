"""What lies in `guest` runs only in the guest that tests/netem/boot.sh boots (`make netem-test`)."""

import os

collect_ignore = [] if os.environ.get("OVERLAYBENCH_NETEM_GUEST") else ["guest"]
