"""What the tests' own manager promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataplane import running_manager
from tests.dataplane.running_manager import Manager, ended_afterwards, need_dataplane


@pytest.mark.dataplane
def test_a_manager_that_nobody_ended_is_ended(tmp_path: Path) -> None:
    need_dataplane()
    text = "type a function=monitor\nchain main types=a\nport net_null0 peer=0\n"
    with ended_afterwards():
        manager = Manager(tmp_path, text)  # as in a test that failed before its `with`
        assert manager.process.poll() is None
    assert manager.process.poll() is not None


def test_pages_that_others_hold_are_not_called_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory = "HugePages_Total:    3072\nHugePages_Free:      255\nHugepagesize:  2048 kB\n"
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, **how: memory if path == Path("/proc/meminfo") else read(path, **how),
    )
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(running_manager, "MANAGER", tmp_path)
    monkeypatch.setenv("FLEXNFV_REQUIRE_DPDK", "1")
    with pytest.raises(pytest.fail.Exception, match="255 huge pages are free"):
        need_dataplane()
