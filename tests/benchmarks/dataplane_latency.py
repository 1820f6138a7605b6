"""How long a launch and a rerun take, from the command to the first packet processed.

Run: python -m tests.benchmarks.dataplane_latency [--samples N]
With and without spares, paced at half load and not paced under full load. Floors at half load:
launch p50 <= 25 ms and p99 <= 60 ms, with spares p50 <= 1 ms; rerun p50 <= 0.5 ms.
"""

from __future__ import annotations

from tests.benchmarks._dataplane import main

if __name__ == "__main__":
    main(__doc__, "latency")
