"""What the fork server of policies imports: a new policy's process is then ready in milliseconds.

Importing numba and reading the machine code of the law and of observations takes most of a second,
in which a policy that was started anew would be taken for one that hangs.
"""

from __future__ import annotations

from flexnfv.chain import load_chain
from flexnfv.observation import prepare
from flexnfv.policies.watermark import Watermark

Watermark().reset(load_chain("single"))
prepare()
