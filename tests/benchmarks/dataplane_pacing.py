"""How exactly instances are paced: 4 instances of each of 3 types at 200 kpps each.

Run: python -m tests.benchmarks.dataplane_pacing [--trials N] [--trial-s S]
Floors: within 1 % of nominal at 1.3 x overload, no loss at 97 % load.
"""

from __future__ import annotations

from tests.benchmarks._dataplane import main

if __name__ == "__main__":
    main(__doc__, "pacing")
