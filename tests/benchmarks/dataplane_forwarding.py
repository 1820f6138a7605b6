"""How fast packets pass the dataplane: net_null and memif through monitor, forwarder, encryptor.

Run: python -m tests.benchmarks.dataplane_forwarding [--trials N] [--trial-s S]
Rings of 16,384, 64-byte packets, not paced, nothing lost for want of room (entry mode `hold`).
Floors on 2 cores: 8 Mpps through net_null, 3 Mpps through memif at a loss of at most 1e-5.
"""

from __future__ import annotations

from tests.benchmarks._dataplane import main

if __name__ == "__main__":
    main(__doc__, "forwarding", "memif")
