"""What a deployment keeps of every interval: its reading, who decided what, and the shadows.

    DIR/record/000000000000.parquet   one part: the rows from that number on, one row per interval
    DIR/record.parquet                all of them, once the deployment has ended in order

A part is written beside its place and renamed, again and again until it is full, so what is there
is readable, whatever ended the deployment. A row holds

- the columns of `flexnfv.records`, as an evaluation's records do (`TYPE.targets` are those that the
  interval ran under);
- `t_s` and `pps`, so that the file is a trace (`flexnfv traces import`);
- `reading.FIELD`, every array of the reading, flattened (`readings` gives them back);
- `decided_by`, `fault`, `TYPE.law_targets`, and of every shadow `shadow.NAME.TYPE.FIELD` for every
  field of a decision (`targets`, then the levers),
  `shadow.NAME.fault` and `shadow.NAME.decision_s`: all of the decision that this interval ran under
  or, of a shadow, would have; the first interval ran without one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import FIELDS, Decision, IntArray
from flexnfv.deploy.answer import Answer
from flexnfv.deploy.guard import Decided
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.records import COLUMNS, decision_columns, off_rate

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER: Final = "record"
JOINED: Final = "record.parquet"
_COMPRESSION: Final = "zstd"


@dataclass(frozen=True)
class Row:
    """One interval.

    Attributes:
        number: of the interval, from 0.
        clock_s: seconds since 1970 at which its reading was there.
        reading: a copy.
        under: the decision that it ran under, of fields [T].
        decision: where that one comes from; None in the first interval.
        send_s: seconds from the reading to the decision's being handed to the backend.
        shadows: the shadows' answers to the same reading; none in the first interval.
        wanted_pps: what the trace wanted to be offered, packets/s; NaN without one.
    """

    number: int
    clock_s: float
    reading: Reading
    under: Decision
    decision: Decided | None = None
    send_s: float = nan
    shadows: tuple[Answer, ...] = ()
    wanted_pps: float = nan

    @property
    def targets(self) -> IntArray:
        """That it ran under, [T]."""
        return self.under.targets


def load_writer() -> None:
    """Load what `write_part` needs, so that the first part takes no longer than others."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"row": pa.array(np.zeros(1))})
    parquet.write_table(table, pa.BufferOutputStream(), compression=_COMPRESSION)


def write_part(
    rows: Sequence[Row],
    folder: Path,
    chain: ServiceChain,
    shadows: Sequence[str],
    facts: Mapping[str, Any],
) -> Path:
    """Write rows as one part, whole or not at all; returns its path.

    Args:
        rows: one or more, in order.
        folder: that holds the parts.
        chain: of the readings.
        shadows: their names.
        facts: what the file says of the deployment.
    """
    path = folder / f"{rows[0].number:012d}.parquet"
    _write([_table(rows, chain, shadows, facts)], path)
    return path


def join_parts(directory: Path) -> Path:
    """Join the parts of a deployment into one file, a row group each, and remove them.

    Raises:
        InputError: no parts, or the joined file is there already.
    """
    from pyarrow import parquet

    joined = directory / JOINED
    parts = sorted((directory / FOLDER).glob("[0-9]*.parquet"))
    if joined.exists() or not parts:
        raise InputError(
            "is joined already" if joined.exists() else "holds no parts to join",
            where=str(directory),
            fix="name the directory of a deployment that was killed",
        )
    # `read_table` would take names of folders for partition columns.
    _write((parquet.ParquetFile(part).read() for part in parts), joined)
    for part in parts:
        part.unlink()
    for stray in (directory / FOLDER).glob(".*.part"):
        stray.unlink()
    (directory / FOLDER).rmdir()
    return joined


def readings(path: Path) -> Iterator[Reading]:
    """The readings of a part or of a joined file, one by one, as they were.

    Raises:
        InputError: not a record of a deployment.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        types, slots = json.loads(file.schema_arrow.metadata[b"shape"])
    except (pa.ArrowInvalid, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"is no record of a deployment ({error})", where=str(path), fix="name another file"
        ) from error
    like = dict(Reading.zeros(types, slots).items())
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=[f"reading.{name}" for name in like])
        columns = {
            name: _flat(table[f"reading.{name}"].combine_chunks()).reshape(-1, *array.shape)
            for name, array in like.items()
        }
        for row in range(table.num_rows):
            yield Reading(
                **{
                    name: np.array(columns[name][row], array.dtype).reshape(array.shape)
                    for name, array in like.items()
                }
            )


def _flat(column: Any) -> npt.NDArray[Any]:
    values = column.flatten() if hasattr(column, "flatten") and column.type.num_fields else column
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _write(tables: Iterable[pa.Table], path: Path) -> None:
    from pyarrow import parquet

    temporary = path.with_name(f".{path.name}.part")
    writer = None
    try:
        for table in tables:
            if writer is None:
                writer = parquet.ParquetWriter(temporary, table.schema, compression=_COMPRESSION)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _table(
    rows: Sequence[Row], chain: ServiceChain, shadows: Sequence[str], facts: Mapping[str, Any]
) -> pa.Table:
    import pyarrow as pa

    columns = _Columns()
    stacked = Reading.stack([row.reading for row in rows])
    wanted = np.array([row.wanted_pps for row in rows])
    given = {
        "decision_s": np.array(
            [nan if row.decision is None else row.decision.answer.decision_s for row in rows]
        ),
        **decision_columns([row.under.array() for row in rows]),
        "wanted_pps": wanted,
        "off_rate": off_rate(stacked, wanted),
    }
    for column in COLUMNS:
        values = given[column.name] if column.of is None else column.of(stacked, chain)
        values = values.astype(column.dtype)
        if column.per_type:
            for t, nf in enumerate(chain.nf_names):
                name = f"{nf}.{column.name}"
                columns.add(name, np.ascontiguousarray(values[:, t]), column.unit, column.doc)
        else:
            columns.add(column.name, values, column.unit, column.doc)

    numbers = np.array([row.number for row in rows])
    columns.add("t_s", numbers * chain.interval_s, "s", "start of the interval, as a trace's row")
    columns.add("pps", np.array(stacked.offered_pps), "1/s", "offered to the chain")
    columns.add(
        "clock_s", [row.clock_s for row in rows], "s", "when the reading was there, since 1970"
    )
    columns.add(
        "send_s",
        [row.send_s for row in rows],
        "s",
        "from the reading before to the decision's being handed to the backend",
    )
    columns.add("decided_by", [_decided_by(row) for row in rows], "", "policy, law or nobody")
    columns.add(
        "fault",
        [None if row.decision is None else _fault(row.decision.answer) for row in rows],
        "",
        "why the law decided; null if the policy did",
        pa.string(),
    )
    for t, nf in enumerate(chain.nf_names):
        columns.add(
            f"{nf}.law_targets",
            [None if row.decision is None else int(row.decision.law[t]) for row in rows],
            "",
            "targets of the watermark law on the same reading",
            pa.int32(),
        )
    for place, shadow in enumerate(shadows):
        answers = [row.shadows[place] if row.shadows else Answer(None) for row in rows]
        fields = [None if a.decision is None else a.decision.array() for a in answers]
        for (f, field), (t, nf) in product(enumerate(FIELDS), enumerate(chain.nf_names)):
            columns.add(
                f"shadow.{shadow}.{nf}.{field}",
                [None if given is None else int(given[f, t]) for given in fields],
                "",
                f"{field} of the shadow, never sent",
                pa.int32(),
            )
        columns.add(
            f"shadow.{shadow}.fault",
            [_fault(answer) for answer in answers],
            "",
            "why the shadow has no decision",
            pa.string(),
        )
        columns.add(
            f"shadow.{shadow}.decision_s",
            [answer.decision_s for answer in answers],
            "s",
            "time of the shadow's decision",
        )
    for name, note in Reading.describe().items():
        array = getattr(stacked, name)
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        if array.ndim > 1:
            flat = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))
        columns.add(f"reading.{name}", flat, note["unit"], note["doc"])
    return columns.table(
        {
            "flexnfv": json.dumps(dict(facts)),
            "nf_types": json.dumps(list(chain.nf_names)),
            "shape": json.dumps([chain.types, chain.slots]),
        }
    )


class _Columns:
    """The arrays and fields of a table, one by one."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []
        self._fields: list[Any] = []

    def add(self, name: str, values: Any, unit: str, doc: str, kind: Any = None) -> None:
        import pyarrow as pa

        array = values if isinstance(values, pa.Array) else pa.array(values, kind)
        self._arrays.append(array)
        self._fields.append(pa.field(name, array.type, metadata={"unit": unit, "doc": doc}))

    def table(self, notes: Mapping[str, str]) -> pa.Table:
        import pyarrow as pa

        return pa.table(self._arrays, schema=pa.schema(self._fields, metadata=dict(notes)))


def _decided_by(row: Row) -> str:
    if row.decision is None:
        return "nobody"
    return "law" if row.decision.by_law else "policy"


def _fault(answer: Answer) -> str | None:
    return None if answer.fault is None else f"{answer.fault}: {answer.detail}"
