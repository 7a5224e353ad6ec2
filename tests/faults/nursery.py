"""Drivers to be killed: ``nursery.py STORE COUNTER SECONDS N``.

Each line that it reads makes it fork a driver, which labels N structures; it answers with the driver's number.
Importing is done once, so that many drivers cost little.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault_frames import frames

from ndsc.reference import CalculatorSpec, LabelStore, label_configurations


def main() -> None:
    store, counter, seconds, n = sys.argv[1:]
    spec = CalculatorSpec("calculators_that_fail:counting", {"counter": counter, "seconds": float(seconds), "how": ""})
    structures = frames(int(n))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the drivers
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            report = label_configurations(structures, spec, LabelStore(store), workers=2, retries=100)
            os._exit(0 if len(report.labels) == len(structures) else 1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
