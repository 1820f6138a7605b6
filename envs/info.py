"""An info whose reading is made when it is asked for."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any

from flexnfv.reading import Reading

READING = "reading"


class Info(dict[str, Any]):
    """A dict with an entry `reading`, which stays bytes until somebody wants it.

    Args:
        given: the other entries.
        body: `Reading.to_bytes` of the reading.
        types, slots: its dimensions.
    """

    def __init__(self, given: dict[str, Any], body: bytes, types: int, slots: int) -> None:
        super().__init__(given)
        super().__setitem__(READING, None)
        self._kept = body, types, slots

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if value is None and key == READING:
            value = self[key] = Reading.from_bytes(*self._kept)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The entry, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        # That it is not dict's own makes `dict(info)` ask for the values one by one.
        return super().__iter__()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """All entries."""
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """All values."""
        return ValuesView(self)

    def copy(self) -> dict[str, Any]:
        """A plain dict of the same entries."""
        return dict(self.items())

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)
