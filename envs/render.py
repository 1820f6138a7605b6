"""A picture of an episode: load, queue, instances and drops over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.reading import Reading


def draw(
    readings: Sequence[Reading], chain: ServiceChain, width: int = 960, height: int = 720
) -> npt.NDArray[np.uint8]:
    """Four panels over time, one line per NF type, as an rgb array [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = 100
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(4, 1, sharex=True)
    if readings:
        time = [float(reading.time_s) for reading in readings]
        load = np.array([reading.load.max(axis=-1) for reading in readings])
        queue = np.array([reading.queue.max(axis=-1) for reading in readings])
        running = np.array([reading.running for reading in readings])
        dropped = np.array([reading.type_dropped_pps for reading in readings]) / 1e6
        for t, name in enumerate(chain.nf_names):
            (line,) = panels[0].plot(time, load[:, t], label=name)
            panels[0].axhline(chain.high_load[t], color=line.get_color(), ls=":", lw=0.8)
            panels[1].plot(time, queue[:, t])
            panels[2].step(time, running[:, t], where="pre")
            panels[3].plot(time, dropped[:, t])
        offered = panels[3].twinx()
        offered.plot(
            time,
            [float(reading.offered_pps) / 1e6 for reading in readings],
            color="grey",
            lw=0.8,
        )
        offered.set_ylabel("offered [Mpps]", color="grey")
        offered.set_ylim(bottom=0)
        panels[0].legend(loc="upper left", ncols=max(1, chain.types), fontsize=8)
    for panel, label in zip(
        panels,
        ("load [erlang]", "queue [packets]", "running", "dropped [Mpps]"),
        strict=True,
    ):
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    panels[-1].set_xlabel("time [s]")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
