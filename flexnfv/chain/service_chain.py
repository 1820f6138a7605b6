"""A chain bound to its calibration: what the rest of FlexNFV is handed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError

from flexnfv.chain.functions import NFFacts, facts
from flexnfv.chain.numeric import ChainNumbers
from flexnfv.chain.schema import Calibration, input_error
from flexnfv.errors import InputError


class ServiceChain(ChainNumbers):
    """A validated chain file and the calibration that it is bound to; its numbers are arrays."""

    _folder: Path | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        # Pydantic's own comparison would compare the cached arrays of the numeric view as well.
        if not isinstance(other, ServiceChain):
            return NotImplemented
        return self.model_dump() == other.model_dump() and getattr(
            self, "_measured", None
        ) == getattr(other, "_measured", None)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def with_calibration(self, calibration: Calibration) -> Self:
        """This chain bound to `calibration`.

        Raises:
            InputError: an NF function of the chain is not calibrated, or keeps state per flow by
                the calibration's word where the chain lets its flows move.
        """
        for nf in self.nf:
            if nf.function not in calibration.nf:
                raise InputError(
                    f"NF type {nf.name!r} runs {nf.function!r}, which calibration "
                    f"{calibration.name!r} does not hold",
                    where=f"chain {self.name!r}",
                    fix=f"calibrated functions are {', '.join(sorted(calibration.nf))}",
                )
        try:
            self._check_flows_stay(lambda function: _facts(function, calibration).stateful)
        except ValueError as error:
            raise InputError(str(error), where=f"chain {self.name!r}") from None
        bound = self.model_copy(update={"calibration": calibration.name})
        bound._measured = calibration
        for cached in list(bound.__dict__):
            if cached not in type(self).model_fields:
                del bound.__dict__[cached]
        return bound

    def replace(self, **changes: Any) -> Self:
        """A validated copy with other top-level keys (interval_s, mapping, core_budget ...).

        Raises:
            InputError: a key is unknown or its value out of range.
        """
        data = self.model_dump() | changes
        try:
            copy = type(self).model_validate(data)
        except ValidationError as error:
            raise input_error(error, f"chain {self.name!r}") from error
        copy._measured = self._measured
        copy._folder = self._folder
        return copy

    @property
    def stateful(self) -> tuple[bool, ...]:
        """Whether each NF type keeps state per flow, [T]: its flows stay with their instance."""
        return tuple(_facts(nf.function, self.measured).stateful for nf in self.nf)

    @property
    def nf_args(self) -> tuple[str, ...]:
        """Arguments of every NF type's instances, [T]; files beside the chain file by full path.

        Raises:
            InputError: such a path has a blank, which arguments cannot hold.
        """
        return tuple(
            " ".join(self._whole(nf.function, argument) for argument in nf.args.split())
            for nf in self.nf
        )

    def _whole(self, function: str, argument: str) -> str:
        name, _, value = argument.partition("=")
        if self._folder is None or name not in _facts(function, self._measured).files:
            return argument
        path = self._folder / value
        if not path.is_file():
            return argument  # The NF looks for it where the manager is started.
        if len(str(path).split()) > 1:
            raise InputError(
                f"the path of {path.name} has a blank, which arguments of NFs cannot hold",
                where=str(path.parent),
                fix="put chain file and it elsewhere",
            )
        return f"{name}={path}"


def _facts(function: str, calibration: Calibration) -> NFFacts:
    stated = calibration.nf.get(function)
    return facts(function, stated.stateful, stated.files) if stated else facts(function)
