"""What an idle chain on a memif port costs: processor time of manager and NFs.

Run: python -m tests.benchmarks.dataplane_idle [--trials N] [--trial-s S]
The manager sleeps at most 500 us at a time. Floor: at most 5 % CPU in all processes together.
"""

from __future__ import annotations

from tests.benchmarks._dataplane import main

if __name__ == "__main__":
    main(__doc__, "idle")
