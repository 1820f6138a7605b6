"""Per-interval records of one episode: what is kept, and the Parquet file that keeps it.

One file holds one cell of the grid, one row per monitor interval, the first row being the
interval that `reset` ran with the chain's initial instances. A column of the chain has its plain
name; a column of an NF type is `TYPE.column` (`firewall.running`). Unit and meaning of each column
stand in the file's own schema (field metadata `unit` and `doc`) and in `flexnfv.records`. What a
comparison needs of an episode, its sums by segment, lies in the file's schema as well, in full
precision (`read_note`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.files import refuse_existing
from flexnfv.reading import Reading
from flexnfv.records import COLUMNS, off_rate, wanted_pps
from flexnfv.traces import Trace

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


AT_ONCE: Final = 64
"""Intervals whose columns are computed together."""


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
    """Keeps the columns of readings, single ones or batches, and cuts them into episodes."""

    def __init__(self, chain: ServiceChain) -> None:
        self._chain = chain
        self._waiting: list[tuple[Reading, dict[str, Array]]] = []
        self._columns: dict[tuple[bool, str], list[Array]] = {}

    def add(
        self, reading: Reading, decision: Decision | npt.ArrayLike, decision_s: npt.ArrayLike
    ) -> None:
        """Keep one interval: its reading, the decision it ran under, how long that took.

        Args:
            reading: of batch shape [...]; copied, since a backend may reuse its buffers.
            decision: [..., T] or [T].
            decision_s: seconds, [...] or one for all; NaN where nothing was decided.
        """
        shape = reading.unsettled.shape
        given = {
            name: np.array(np.broadcast_to(values, shape))
            for name, values in Decision.of(decision).items()
        }
        given["decision_s"] = np.array(np.broadcast_to(decision_s, reading.batch))
        self._waiting.append((reading.copy(), given))
        if len(self._waiting) == AT_ONCE:
            self._compute()

    def _compute(self) -> None:
        """The columns of what waits: cheaper for many intervals at once than for each."""
        if not self._waiting:
            return
        stacked = Reading.stack([reading for reading, _ in self._waiting])
        for column in COLUMNS:
            if column.of is not None:
                values = column.of(stacked, self._chain)
            elif column.name in self._waiting[0][1]:
                values = np.stack([given[column.name] for _, given in self._waiting])
            else:
                continue  # computed of the whole episode
            key = column.per_type, column.name
            self._columns.setdefault(key, []).append(values.astype(column.dtype))
        self._waiting.clear()

    def _kept(self) -> dict[tuple[bool, str], Array]:
        """Every column of every interval, [N, ...]."""
        self._compute()
        return {key: np.concatenate(parts) for key, parts in self._columns.items()}

    def episode(self, facts: Mapping[str, Any], trace: Trace | None) -> Episode:
        """What was kept of single readings on a trace."""
        kept = {key: values[:, None] for key, values in self._kept().items()}
        return self._episode(kept, 0, None, facts, trace)

    def episodes(
        self,
        facts: Sequence[Mapping[str, Any]],
        traces: Sequence[Trace | None],
        lengths: Sequence[int | None] | None = None,
    ) -> list[Episode]:
        """What was kept of batches of readings: one episode per row.

        Args:
            facts: of each row.
            traces: of each row; None where there is none.
            lengths: intervals of each row's episode, if not all that were kept are its own.
        """
        kept = self._kept()
        cut = lengths or [None] * len(facts)
        return [
            self._episode(kept, row, *of_row)
            for row, of_row in enumerate(zip(cut, facts, traces, strict=True))
        ]

    def _episode(
        self,
        kept: Mapping[tuple[bool, str], Array],
        row: int,
        length: int | None,
        facts: Mapping[str, Any],
        trace: Trace | None,
    ) -> Episode:
        own = {key: np.ascontiguousarray(values[:length, row]) for key, values in kept.items()}
        chain = {name: values for (per_type, name), values in own.items() if not per_type}
        offered = Reading.of(
            {name: chain[name] for name in ("time_s", "interval_s", "offered_pps")}
        )
        chain["wanted_pps"] = wanted_pps(trace, offered)
        chain["off_rate"] = off_rate(offered, chain["wanted_pps"])
        types = {name: values for (per_type, name), values in own.items() if per_type}
        return Episode(self._chain.nf_names, chain, types, dict(facts))


def write_episode(episode: Episode, path: Path, note: bytes = b"") -> None:
    """Write an episode as Parquet, whole or not at all.

    Args:
        episode: to write.
        path: where.
        note: kept in the file beside the columns, see `read_note`.

    Raises:
        InputError: the file exists.
    """
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays, floats = [], [], []
    for column in COLUMNS:
        notes = {"unit": column.unit, "doc": column.doc}
        names = [column.name]
        columns = [(episode.types if column.per_type else episode.chain)[column.name]]
        if column.per_type:
            names = [f"{nf}.{column.name}" for nf in episode.nf_names]
            columns = [np.ascontiguousarray(values) for values in columns[0].T]
        for name, values in zip(names, columns, strict=True):
            arrays.append(pa.array(values))
            fields.append(pa.field(name, arrays[-1].type, metadata=notes))
            if np.issubdtype(column.dtype, np.floating):
                floats.append(name)
    schema = pa.schema(
        fields,
        metadata={
            "flexnfv": json.dumps(dict(episode.facts)),
            "nf_types": json.dumps(list(episode.nf_names)),
            "note": note,
        },
    )
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with small_file(path) as temporary:
        # Dictionaries and statistics cost more than they save in files this small; the bytes of
        # floating-point numbers compress better by place than by number.
        parquet.write_table(
            pa.table(arrays, schema=schema),
            temporary,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=floats,
            write_statistics=False,
        )


@contextmanager
def small_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which it becomes when the block ends well.

    `flexnfv.files.new_file` makes a folder for its temporary file: too slow for thousands.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_note(path: Path) -> bytes:
    """What was kept in a file beside the columns.

    Raises:
        InputError: the file is damaged or not one of ours.
    """
    return _metadata(path, b"note")


def read_facts(path: Path) -> Mapping[str, Any]:
    """The facts of an episode, without its records.

    Raises:
        InputError: the file is damaged or not one of ours.
    """
    return dict(json.loads(_metadata(path, b"flexnfv")))


def _metadata(path: Path, key: bytes) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return bytes(parquet.read_schema(path).metadata[key])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def read_episode(path: Path) -> Episode:
    """Read what `write_episode` wrote.

    Raises:
        InputError: the file is damaged or not one of ours.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Not `read_table`: that one would take folder names for partition columns.
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
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"is not a record of ours or is damaged ({error})",
        where=str(path),
        fix="remove it and run the same command again",
    )
