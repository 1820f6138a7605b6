"""What is fixed about an NF function by its code, whatever machine it runs on.

FlexNFV's own NFs stand in `OWN`, which a test compares with their C sources. Somebody else's NF
states the same two facts in its entry of the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class NFFacts:
    """Facts about one NF function.

    Attributes:
        stateful: whether a flow must stay with its instance, since its state cannot move.
        files: arguments that name files.
    """

    stateful: bool = False
    files: tuple[str, ...] = ("rules", "routes")


OWN: Final = {
    "burn": NFFacts(files=()),
    "encryptor": NFFacts(files=()),
    "firewall": NFFacts(files=("rules",)),
    "forwarder": NFFacts(files=()),
    "monitor": NFFacts(files=()),
    "nat": NFFacts(stateful=True, files=()),
    "router": NFFacts(files=("routes",)),
}
"""FlexNFV's own NFs by function (`hw_backend/dataplane/nfs/`)."""


def facts(
    function: str, stateful: bool | None = None, files: tuple[str, ...] | None = None
) -> NFFacts:
    """Facts about `function`: what its calibration states goes before what is known of it."""
    own = OWN.get(function, NFFacts())
    return NFFacts(
        own.stateful if stateful is None else stateful, own.files if files is None else files
    )
