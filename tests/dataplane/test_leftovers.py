"""What is removed behind a dead process, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexnfv.hw_backend import leftovers
from flexnfv.hw_backend.folder import PREFIX_FILE, read_prefix, remove_stale, write_prefix

OURS = "flexnfv_12_0"
OTHERS = ("rte", "flexnfv_12_01", "flexnfv-pktgen-7")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the files of several DPDK programs."""
    monkeypatch.setattr(leftovers, "_runtime", lambda: tmp_path / "run")
    monkeypatch.setattr(leftovers, "huge_mounts", lambda: [tmp_path / "huge"])
    (tmp_path / "huge").mkdir()
    (tmp_path / "folder").mkdir()
    for prefix in (OURS, *OTHERS):
        (tmp_path / "run" / prefix).mkdir(parents=True)
        (tmp_path / "huge" / f"{prefix}map_0").touch()
    (tmp_path / "huge" / "map_0").touch()
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_files_of_one_process_are_removed_and_no_others(machine: Path) -> None:
    write_prefix(machine / "folder", OURS)
    remove_stale(machine / "folder")
    assert names(machine / "run") == set(OTHERS)
    assert names(machine / "huge") == {"map_0", *(f"{prefix}map_0" for prefix in OTHERS)}
    assert names(machine / "folder") == set()


@pytest.mark.parametrize(
    "prefix", ["", ".", "..", "*", "flexnfv*", "flexnfv_1_?", "flexnfv_1/..", "rte", f"{OURS}\n"]
)
def test_an_odd_prefix_removes_nothing(machine: Path, prefix: str) -> None:
    before = names(machine / "run"), names(machine / "huge")
    (machine / "folder" / PREFIX_FILE).write_text(prefix)
    remove_stale(machine / "folder")
    leftovers.remove_dpdk_files(prefix)
    assert (names(machine / "run"), names(machine / "huge")) == before


def test_a_prefix_is_noted_whole_or_not_at_all(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = machine / "folder"
    write_prefix(folder, OURS)

    def full(path: Path, text: str, **options: object) -> int:
        path.write_bytes(b"")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        write_prefix(folder, "flexnfv_99_9")
    assert read_prefix(folder) == OURS
