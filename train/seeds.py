"""Several training seeds side by side, through Ray Tune: one core and one torch thread each."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flexnfv.errors import BackendError
from flexnfv.evaluation.episodes import Tick
from flexnfv.evaluation.progress import Begin, phases

Train = Callable[[int, Begin], Path]

REPORT_S = 1.0
"""Seconds between two reports of a seed: each takes Ray some milliseconds."""


def train_on_ray(train: Train, seeds: list[int]) -> list[Path]:
    """Train every seed in a Ray process of its own.

    Args:
        train: trains one seed, which begins its phases with what it is given; returns its bundle.
        seeds: the training seeds.

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
        bundle = train(config["seed"], reporting(tune.report))
        tune.report({"bundle": str(bundle.resolve())})

    class Watch(tune.Callback):  # type: ignore[misc]
        """Shows the phases that the seeds report; Tune pickles it, what is shown stays here."""

        def __init__(self, shown: Shown) -> None:
            self.shown = shown

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            self.shown.report(trial.config["seed"], result)

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="flexnfv-tune-") as scratch,
            phases() as begin,
            begin("training", len(seeds), "seeds") as tick,
            ExitStack() as stack,
        ):
            results = tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                param_space={"seed": tune.grid_search(seeds)},
                run_config=tune.RunConfig(
                    storage_path=scratch, verbose=0, callbacks=[Watch(Shown(begin, tick, stack))]
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


def reporting(report: Callable[[dict[str, Any]], None]) -> Begin:
    """Begins phases that are reported, as `Shown` takes them, from another process.

    Args:
        report: sends a report.
    """
    running: list[dict[str, Any]] = []
    last = 0.0

    def send() -> None:
        nonlocal last
        last = time.monotonic()
        report(dict(running[-1]))

    @contextmanager
    def begin(
        label: str, total: int, unit: str = "intervals", *, stays: bool = True
    ) -> Iterator[Tick]:
        # Tune takes a key "done" for the end of a trial.
        phase: dict[str, Any] = {"phase": label, "total": total, "unit": unit, "reached": 0}
        running.append(phase)

        def tick(count: int) -> None:
            phase["reached"] += count
            if time.monotonic() - last >= REPORT_S:
                send()

        try:
            yield tick
        finally:
            running.remove(phase)

    return begin


class Shown:
    """The running phase of every seed, as reported.

    Args:
        begin: begins a phase that is shown.
        tick: told of every seed that is done.
        stack: ends the phases that still run when all is over.
    """

    def __init__(self, begin: Begin, tick: Tick, stack: ExitStack) -> None:
        self.begin = begin
        self.tick = tick
        self.stack = stack
        self.running: dict[int, tuple[str, ExitStack, Tick]] = {}
        self.reached: dict[int, int] = {}

    def report(self, seed: int, result: dict[str, Any]) -> None:
        """Show what a seed reports: where its phase stands, or its bundle."""
        label, over, tick = self.running.get(seed, ("", ExitStack(), self.tick))
        if label and label != result.get("phase"):
            over.close()
            del self.running[seed]
        if "bundle" in result:
            self.tick(1)
            return
        if result["phase"] != label:
            label, over, self.reached[seed] = result["phase"], ExitStack(), 0
            name = f"seed {seed}, {label}"
            tick = over.enter_context(
                self.begin(name, result["total"], result["unit"], stays=False)
            )
            self.stack.callback(over.close)
            self.running[seed] = label, over, tick
        tick(result["reached"] - self.reached[seed])
        self.reached[seed] = result["reached"]
