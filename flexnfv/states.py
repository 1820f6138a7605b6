"""States of an instance, and the commands that change them."""

from __future__ import annotations

from enum import IntEnum


class InstanceState(IntEnum):
    """Where an instance is in its life; the values are those of the dataplane's shared page."""

    STOPPED = 0
    LAUNCHING = 1
    RUNNING = 2
    DRAINING = 3
    BLOCKED = 4


class Command(IntEnum):
    """What the scaling code tells one instance slot to do."""

    NONE = 0
    LAUNCH = 1
    BLOCK = 2
    RERUN = 3
    STOP = 4


class StartKind(IntEnum):
    """How an instance came to run."""

    NONE = 0
    PROCESS = 1
    SPARE = 2
    THREAD = 3


# Plain integers for code that the model compiles.
STOPPED = int(InstanceState.STOPPED)
LAUNCHING = int(InstanceState.LAUNCHING)
RUNNING = int(InstanceState.RUNNING)
DRAINING = int(InstanceState.DRAINING)
BLOCKED = int(InstanceState.BLOCKED)

NONE = int(Command.NONE)
LAUNCH = int(Command.LAUNCH)
BLOCK = int(Command.BLOCK)
RERUN = int(Command.RERUN)
STOP = int(Command.STOP)
