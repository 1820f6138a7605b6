"""Actions: what an agent chooses per NF type, and the decision that it stands for.

An offset action adds -2 .. +6 to the need, ceil(demand / loss-free rate of one instance): the same
nine choices mean the same on small and on large NF types, so one network serves all of them. The
choices of a lever follow from its description: the first keeps the type as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.decision import KEEP, Decision, choices, shown
from flexnfv.mapping import RENDEZVOUS, MappingKind
from flexnfv.reading import Reading

OFFSETS = np.arange(-2, 7, dtype=np.int64)
"""Instances beside the need that an offset action stands for; our choice (docs/training.md):
-2 lets an agent ride out a dip, +6 covers the largest jumps of the traces."""


def need(reading: Reading, chain: ServiceChain) -> npt.NDArray[np.int64]:
    """Instances that would carry the last interval's demand at 100 % utilisation, [..., T]."""
    return np.asarray(np.ceil(reading.demand_pps(chain) / chain.capacity_pps), dtype=np.int64)


def decode_offsets(
    action: npt.NDArray[np.int64], need: npt.NDArray[np.int64], chain: ServiceChain
) -> npt.NDArray[np.int64]:
    """Targets of offset actions (indices into `OFFSETS`), within the types' limits, [..., T].

    Raises:
        IndexError: an action outside 0 .. len(OFFSETS) - 1.
    """
    targets = np.empty(need.shape, np.int64)
    rows = -1, chain.types
    inside = compiled(fill_offsets)(
        plain(action).reshape(rows), plain(need).reshape(rows), *chain.limits, targets.reshape(rows)
    )
    if not inside:
        raise IndexError(f"actions must lie within 0 .. {len(OFFSETS) - 1}")
    return targets


def fill_offsets(
    action: npt.NDArray[np.int64],
    need: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
) -> bool:
    """Fill in targets [N, T]; whether all actions are offsets. To be compiled."""
    for n in range(action.shape[0]):
        for t in range(action.shape[1]):
            if action[n, t] < 0 or action[n, t] >= len(OFFSETS):
                return False
            targets[n, t] = min(max(need[n, t] + OFFSETS[action[n, t]], low[t]), high[t])
    return True


def choose(
    logits: npt.NDArray[np.float32],
    demand: npt.NDArray[np.float64],
    capacity: npt.NDArray[np.float64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
) -> bool:
    """Targets of the likeliest offset actions, as `decode_offsets` of the need; to be compiled.

    Args:
        logits: of every offset, [N, T, len(OFFSETS)].
        demand: packets/s, [N, T].
        capacity: of one instance, packets/s, [T].
        low, high: the types' limits, [T].
        targets: filled, [N, T].

    Returns:
        Whether all logits are finite.
    """
    for n in range(demand.shape[0]):
        for t in range(demand.shape[1]):
            best = 0
            for k in range(logits.shape[2]):
                if not np.isfinite(logits[n, t, k]):
                    return False
                if logits[n, t, k] > logits[n, t, best]:
                    best = k
            wanted = np.int64(np.ceil(demand[n, t] / capacity[t])) + OFFSETS[best]
            targets[n, t] = min(max(wanted, low[t]), high[t])
    return True


def decode_targets(action: npt.NDArray[np.int64], chain: ServiceChain) -> npt.NDArray[np.int64]:
    """Targets of absolute actions (0 stands for one instance), within the limits, [..., T]."""
    return np.clip(action + 1, chain.min_instances, chain.max_instances)


def offset_mask(need: npt.NDArray[np.int64], chain: ServiceChain) -> npt.NDArray[np.bool_]:
    """Offset actions that lie within the type's own limits, [..., T, len(OFFSETS)].

    Where none does, the one nearest to the limits is allowed: every row has a True.
    """
    mask = np.empty((*need.shape, len(OFFSETS)), np.bool_)
    rows = mask.reshape(-1, chain.types, len(OFFSETS))
    compiled(fill_offset_mask)(plain(need).reshape(rows.shape[:2]), *chain.limits, rows)
    return mask


def fill_offset_mask(
    need: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    mask: npt.NDArray[np.bool_],
) -> None:
    """Fill in the mask of offsets, [N, T, len(OFFSETS)]. To be compiled."""
    for n in range(need.shape[0]):
        for t in range(need.shape[1]):
            first, last = low[t] - need[n, t], high[t] - need[n, t]
            # Where no offset is within the limits: the lowest, or the highest, is nearest.
            first = min(first, OFFSETS[-1])
            last = max(last, OFFSETS[0])
            for k in range(len(OFFSETS)):
                mask[n, t, k] = first <= OFFSETS[k] <= last


def target_mask(chain: ServiceChain) -> npt.NDArray[np.bool_]:
    """Absolute actions within the type's own limits, [T, I]."""
    counts = np.arange(1, chain.slots + 1)
    return np.asarray(
        (counts >= chain.min_instances[:, None]) & (counts <= chain.max_instances[:, None])
    )


# --- levers -----------------------------------------------------------------------------------


def lever_mask(lever: str, chain: ServiceChain) -> npt.NDArray[np.bool_]:
    """Which of a lever's `choices` each NF type allows, [T, choices].

    No more spares than a type may have instances; no mapping that would take flows from the
    instance that keeps their state.
    """
    values = np.array(choices(lever, chain.slots))
    if lever == "mapping":
        return np.asarray((values == KEEP) | _mappings(chain)[:, np.maximum(values, 0)])
    return np.asarray(values <= chain.max_instances[:, None])


def decode_lever(
    action: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """A lever's values, [..., T], of choices among those that `mask` [T, choices] allows.

    One that it does not allow keeps the type as it is.

    Raises:
        IndexError: an action outside 0 .. choices - 1.
    """
    if (np.asarray(action).astype(np.uint64) >= mask.shape[1]).any():
        raise IndexError(f"actions must lie within 0 .. {mask.shape[1] - 1}")
    return np.where(mask[np.arange(len(mask)), action], action + KEEP, KEEP)


def refuse_forbidden(decision: Decision, chain: ServiceChain) -> None:
    """Refuse a mapping that an NF type does not allow.

    Raises:
        ValueError: which type, and why.
    """
    if decision.mapping is None:
        return
    allowed = _mappings(chain)
    for t, kind in enumerate(decision.mapping.tolist()):
        if kind != KEEP and not allowed[t, kind]:
            name, wanted = chain.nf_names[t], shown("mapping", kind)
            raise ValueError(f"{name} keeps state per flow: its mapping may not be {wanted}")


def _mappings(chain: ServiceChain) -> npt.NDArray[np.bool_]:
    """Which `MappingKind`s each NF type allows, [T, kinds]: rendezvous alone where it keeps state
    per flow."""
    allowed = np.ones((chain.types, len(MappingKind)), np.bool_)
    for t, stateful in enumerate(chain.stateful):
        process = 0 if chain.mode == "run_to_completion" else t
        if stateful and chain.max_instances[process] > 1:
            allowed[process] = np.arange(len(MappingKind)) == RENDEZVOUS
    return allowed
