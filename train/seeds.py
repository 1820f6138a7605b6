"""Several training seeds side by side, through Ray Tune: one core and one torch thread each."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flexnfv.errors import BackendError
from flexnfv.evaluation.progress import bar, from_totals

Train = Callable[[int, Callable[[int], None]], Path]


def train_on_ray(train: Train, seeds: list[int], rows: int) -> list[Path]:
    """Train every seed in a Ray process of its own.

    Args:
        train: trains one seed, reporting the rows it has done; returns its bundle.
        seeds: the training seeds.
        rows: rows of each seed.

    Returns:
        The bundles, in the order of `seeds`.

    Raises:
        BackendError: a seed failed; the others' results stay.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
    import ray
    from ray import tune

    home = Path.cwd()

    def trainable(config: dict[str, Any]) -> None:
        os.chdir(home)
        bundle = train(config["seed"], lambda done: tune.report({"rows": done}))
        tune.report({"rows": rows, "bundle": str(bundle.resolve())})

    class Watch(tune.Callback):  # type: ignore[misc]
        """Moves the bar by the rows of all seeds; Tune pickles it, the bar stays here."""

        def __init__(self, report: Callable[[int], None]) -> None:
            self.report = report
            self.rows: dict[str, int] = {}

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            self.rows[trial.trial_id] = result["rows"]
            self.report(sum(self.rows.values()))

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="flexnfv-tune-") as scratch,
            bar(f"training {len(seeds)} seeds", rows * len(seeds), unit="rows") as tick,
        ):
            results = tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                param_space={"seed": tune.grid_search(seeds)},
                run_config=tune.RunConfig(
                    storage_path=scratch, verbose=0, callbacks=[Watch(from_totals(tick))]
                ),
            ).fit()
    finally:
        if started:
            ray.shutdown()
    bundles: dict[int, Path] = {}
    for result in results:
        if result.error is not None:
            raise BackendError(f"training seed failed: {str(result.error).splitlines()[-1]}")
        assert result.metrics is not None
        assert result.config is not None
        bundles[result.config["seed"]] = Path(result.metrics["bundle"])
    return [bundles[seed] for seed in seeds]
