"""Per-interval records of one episode: what is kept, and the Parquet file that keeps it.

One file holds one cell of the grid, one row per monitor interval, the first row being the
interval that `reset` ran with the chain's initial instances. A column of the chain has its plain
name; a column of an NF type is `TYPE.column` (`firewall.running`). Unit and meaning of each column
stand in the file's own schema (field metadata `unit` and `doc`) and in `flexnfv.records`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.files import refuse_existing
from flexnfv.reading import Reading
from flexnfv.records import COLUMNS, decision_columns, off_rate, wanted_pps
from flexnfv.traces import Trace

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Episode:
    """The records of one cell.

    Attributes:
        nf_names: the NF types, T.
        chain: columns of the chain by name, [N] each.
        types: columns of the NF types by name, [N, T] each.
        facts: what the file says of the cell (policy, trace, seed, revision ...).
    """

    nf_names: tuple[str, ...]
    chain: Mapping[str, Array]
    types: Mapping[str, Array]
    facts: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.chain["time_s"])


class Recorder:
    """Collects readings, single ones or batches, and cuts them into episodes."""

    def __init__(self, chain: ServiceChain) -> None:
        self._chain = chain
        self._readings: list[Reading] = []
        self._decisions: list[Array] = []
        self._decisions_s: list[float] = []

    def add(self, reading: Reading, decision: Decision | Array, decision_s: float) -> None:
        """Keep one interval: its reading, the decision it ran under, the time that one took.

        Args:
            reading: of batch shape [...]; copied, since a backend may reuse its buffers.
            decision: of fields [..., T] or [T], or its targets.
            decision_s: seconds; NaN where nothing was decided.
        """
        self._readings.append(reading.copy())
        fields = [values for _, values in Decision.of(decision).items()]
        shape = (*reading.batch, self._chain.types)
        self._decisions.append(np.stack([np.broadcast_to(values, shape) for values in fields]))
        self._decisions_s.append(decision_s)

    def episode(self, facts: Mapping[str, Any], trace: Trace | None) -> Episode:
        """What was kept of single readings on a trace."""
        (found,) = self._episodes([facts], [trace], Reading.stack(self._readings)[:, None])
        return found

    def episodes(
        self, facts: Sequence[Mapping[str, Any]], traces: Sequence[Trace]
    ) -> list[Episode]:
        """What was kept of batches of readings: one episode per row, with its facts and trace."""
        return self._episodes(facts, traces, Reading.stack(self._readings))

    def _episodes(
        self,
        facts: Sequence[Mapping[str, Any]],
        traces: Sequence[Trace | None],
        stacked: Reading,
    ) -> list[Episode]:
        """Episodes of a reading of batch shape [N, B]; every column is computed once for all."""
        types = (*stacked.batch, self._chain.types)
        chain_columns: dict[str, Array] = {}
        type_columns: dict[str, Array] = {}
        wanted = np.stack(
            [wanted_pps(trace, stacked[:, row]) for row, trace in enumerate(traces)], axis=1
        )
        given = {
            **{
                name: values.reshape(types)
                for name, values in decision_columns(self._decisions).items()
            },
            "decision_s": np.broadcast_to(np.array(self._decisions_s)[:, None], stacked.batch),
            "wanted_pps": wanted,
            "off_rate": off_rate(stacked, wanted),
        }
        for column in COLUMNS:
            values = given[column.name] if column.of is None else column.of(stacked, self._chain)
            kept = type_columns if column.per_type else chain_columns
            # Rows first: an episode's column is then contiguous.
            kept[column.name] = np.ascontiguousarray(values.swapaxes(0, 1), dtype=column.dtype)
        return [
            Episode(
                nf_names=self._chain.nf_names,
                chain={name: values[row] for name, values in chain_columns.items()},
                types={name: values[row] for name, values in type_columns.items()},
                facts=dict(fact),
            )
            for row, fact in enumerate(facts)
        ]


def write_episode(episode: Episode, path: Path) -> None:
    """Write an episode as Parquet, whole or not at all.

    Raises:
        InputError: the file exists.
    """
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays = [], []
    for column in COLUMNS:
        notes = {"unit": column.unit, "doc": column.doc}
        if not column.per_type:
            arrays.append(pa.array(episode.chain[column.name]))
            fields.append(pa.field(column.name, arrays[-1].type, metadata=notes))
            continue
        for t, nf in enumerate(episode.nf_names):
            arrays.append(pa.array(np.ascontiguousarray(episode.types[column.name][:, t])))
            fields.append(pa.field(f"{nf}.{column.name}", arrays[-1].type, metadata=notes))
    schema = pa.schema(
        fields,
        metadata={
            "flexnfv": json.dumps(dict(episode.facts)),
            "nf_types": json.dumps(list(episode.nf_names)),
        },
    )
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # `flexnfv.files.new_file` makes a folder for its temporary file: too slow for thousands.
    temporary = path.with_name(f".{path.name}.part")
    try:
        # Dictionaries and statistics cost more than they save in files this small.
        parquet.write_table(
            pa.table(arrays, schema=schema),
            temporary,
            compression="snappy",
            use_dictionary=False,
            write_statistics=False,
        )
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_episode(path: Path) -> Episode:
    """Read what `write_episode` wrote.

    Raises:
        InputError: the file is damaged or not one of ours.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # `read_table` would take names of folders for partition columns.
        table = parquet.ParquetFile(path).read()
        notes = table.schema.metadata or {}
        names = tuple(json.loads(notes[b"nf_types"]))
        facts = json.loads(notes[b"flexnfv"])
        data = {name: table[name].to_numpy() for name in table.column_names}
        return Episode(
            nf_names=names,
            chain={c.name: data[c.name] for c in COLUMNS if not c.per_type},
            types={
                c.name: np.stack([data[f"{nf}.{c.name}"] for nf in names], axis=-1)
                for c in COLUMNS
                if c.per_type
            },
            facts=facts,
        )
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise InputError(
            f"is not a record of ours or is damaged ({error})",
            where=str(path),
            fix="remove it and run the same command again",
        ) from error
