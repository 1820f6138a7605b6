"""Energy of cores, estimated from how long they were busy, idle and parked."""

from __future__ import annotations

from typing import Any

import numpy as np


def core_energy(
    busy_s: Any, held_s: Any, parked_s: Any, busy_w: Any, idle_poll_w: Any, parked_w: Any
) -> Any:
    """Energy of an NF type's cores, joules: that of one core for each instance.

    The same expression for plain numbers, in compiled code too, and for numpy arrays. With shares
    of an interval in place of seconds it gives the mean power, watts.

    Args:
        busy_s: for how long packets were processed; more than the time awake counts as that.
        held_s: for how long instances held their cores.
        parked_s: of that, for how long they were parked; the rest they were awake.
        busy_w, idle_poll_w, parked_w: power of a core that is busy, polls idly, is parked.
    """
    awake_s = held_s - parked_s
    working_s = np.minimum(busy_s, awake_s)
    return working_s * busy_w + (awake_s - working_s) * idle_poll_w + parked_s * parked_w
