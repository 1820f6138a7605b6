"""Who goes first, and who goes last."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
import threading
import time
from flexnfv.deploy.punctual import go_last

go_last()
last = next(thread for thread in threading.enumerate() if thread.name == "flexnfv last")
while (niceness := os.getpriority(os.PRIO_PROCESS, last.native_id)) != 19:
    time.sleep(0.01)
print(os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id), niceness)
"""


def test_one_thread_alone_goes_last_and_keeps_no_process_from_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    main, last = map(int, done.stdout.split())
    assert last == 19
    assert main < 19
