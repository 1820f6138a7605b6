"""Messages between a deployment and the process that a policy runs in.

Each is one packet of a sequenced-packet socket: it arrives whole or not at all, so that receiving
never waits in the middle of one, whatever becomes of the other side. What the policy's side sends
is plain bytes: nothing of it is unpickled by the deployment, which hands a policy's state back to
the policy's next process as it came.
"""

from __future__ import annotations

import json
import socket
import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.decision import FIELDS, Decision
from flexnfv.deploy.answer import Answer, Fault, judge
from flexnfv.errors import InputError

LIMIT = 160_000
"""Bytes of a message: Linux's default socket buffer carries so many in one packet."""

_HEAD = struct.Struct("<BQd")


class Kind(IntEnum):
    """What a message says."""

    READING = 1
    DECISION = 2
    FAULT = 3
    STATE = 4
    READY = 5
    REFUSED = 6


class Message(NamedTuple):
    """One message.

    Attributes:
        number: of the question that it asks or answers; 0 else.
        decision_s: seconds, of an answer.
    """

    kind: Kind
    number: int = 0
    decision_s: float = 0.0
    body: bytes = b""


def link() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def pack(message: Message) -> bytes:
    """The message as bytes."""
    kind, number, decision_s, body = message
    return _HEAD.pack(kind, number, decision_s) + body


def unpack(data: bytes) -> Message:
    """The message of those bytes."""
    kind, number, decision_s = _HEAD.unpack_from(data)
    return Message(Kind(kind), number, decision_s, data[_HEAD.size :])


def answer_message(answer: Answer, number: int) -> Message:
    """An answer as a message; a decision's fields stand one behind the other."""
    if answer.decision is not None:
        body = answer.decision.array().astype("<i8").tobytes()
        return Message(Kind.DECISION, number, answer.decision_s, body)
    body = json.dumps([answer.fault, answer.detail]).encode()
    return Message(Kind.FAULT, number, answer.decision_s, body)


def message_answer(message: Message, chain: ServiceChain) -> Answer:
    """The answer of `answer_message`, judged once more: the policy's process is not trusted.

    Raises:
        ValueError: it is none.
    """
    if message.kind is Kind.DECISION:
        fields = np.frombuffer(message.body, "<i8").reshape(len(FIELDS), chain.types)
        return Answer(judge(Decision.of_array(fields), chain), decision_s=message.decision_s)
    fault, detail = json.loads(message.body)
    return Answer(None, Fault(fault), str(detail)[:300], message.decision_s)


def refusal(error: InputError) -> Message:
    """What the user can mend, as a message."""
    body = json.dumps([error.what, error.where, error.fix]).encode()
    return Message(Kind.REFUSED, body=body)


def refused(message: Message) -> InputError:
    """The error of `refusal`."""
    what, where, fix = json.loads(message.body)
    return InputError(what, where=where, fix=fix)
