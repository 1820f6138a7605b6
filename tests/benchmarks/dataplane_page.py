"""How long Python takes to read the statistics page while packets pass.

Run: python -m tests.benchmarks.dataplane_page
Floor: at most 10 us.
"""

from __future__ import annotations

from tests.benchmarks._dataplane import main

if __name__ == "__main__":
    main(__doc__, "page")
