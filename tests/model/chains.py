"""Small chains with random figures, for the model's tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexnfv.chain import Calibration, NFCalibration, NFType, PathSpec, ServiceChain


def random_chain(rng: np.random.Generator, **changes: Any) -> ServiceChain:
    """A chain of 1 to 4 types with up to 5 instances each, loads and latencies drawn by `rng`."""
    types = int(rng.integers(1, 5))
    most = rng.integers(1, 6, types)
    initial = [int(rng.integers(1, m + 1)) for m in most]
    nf = tuple(
        NFType(
            name=f"n{t}",
            function=f"f{t}",
            max_instances=int(most[t]),
            initial_instances=initial[t],
            ring_size=int(rng.choice([64, 128, 1024])),
            cores_per_instance=int(rng.integers(1, 3)),
            mapping=str(rng.choice(["algorithm1", "rendezvous", "even"])),
        )
        for t in range(types)
    )
    needed = sum(n.initial_instances * n.cores_per_instance for n in nf)
    calibration = Calibration(
        name="random",
        launch_s=float(rng.choice([0.0, 0.02, 0.4, 0.998, 2.3])),
        launch_spread=float(rng.choice([0.0, 0.3])),
        rerun_s=float(rng.choice([0.0, 0.001, 0.2])),
        rerun_spread=float(rng.choice([0.0, 0.5])),
        nf={
            f"f{t}": NFCalibration(
                processing_ns=float(rng.uniform(50, 500)),
                loss_free_pps=float(rng.uniform(500, 2000)),
                overload_penalty=float(rng.choice([0.0, 0.1])),
                jitter=float(rng.choice([0.0, 0.05])),
            )
            for t in range(types)
        },
    )
    paths: tuple[PathSpec, ...] = ()
    if types > 1 and rng.random() < 0.5:
        names = [f"n{t}" for t in range(types)]
        paths = (
            PathSpec(name="there", nfs=tuple(names), share=0.6),
            PathSpec(name="some", nfs=tuple(names[1:]), share=0.1),
            # The opposite order: some packets go back to a type that was served before.
            PathSpec(name="back", nfs=tuple(reversed(names)), share=0.3),
        )
    settings: dict[str, Any] = {
        "name": "random",
        "calibration": "random",
        "interval_s": 1.0,
        "core_budget": needed + int(rng.integers(0, 8)),
        "park_timeout_s": None if rng.random() < 0.5 else 2.0,
        "flows": {"count": 200, "zipf": 1.0, "seed": 3},
        "mode": str(rng.choice(["pipeline", "backpressure", "run_to_completion"])),
        "nf": nf,
        "path": paths,
    } | changes
    return ServiceChain.model_validate(settings).with_calibration(calibration)
