"""The process that a policy runs in: it answers readings until the deployment goes away."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import pickle
import signal
import socket

from flexnfv.chain import ServiceChain
from flexnfv.deploy import wire
from flexnfv.deploy.answer import ask, one_line
from flexnfv.deploy.punctual import go_last
from flexnfv.deploy.wire import Kind, Message
from flexnfv.errors import InputError
from flexnfv.policy import Policy, make_policy
from flexnfv.reading import Reading

_URGENT_NICENESS = -10


def serve(
    link: socket.socket,
    spec: str,
    chain: ServiceChain,
    seed: int | None,
    state: bytes,
    urgent: bool,
) -> None:
    """Make the policy, say that it is ready or why it is refused, and answer readings.

    Args:
        link: to the deployment.
        spec: of the policy.
        chain: that it decides for.
        seed: of the policy.
        state: what an earlier process of the same policy sent as its state; empty for none.
        urgent: run sooner than others, where the system lets us.
    """
    # The terminal sends Ctrl-C to the whole process group, but the deployment ends its policies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_deployment()
    if urgent:
        go_last()
        # A policy may loop for ever, so it gets a higher priority but none that blocks others.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _URGENT_NICENESS)
    os.dup2(2, 1)  # A policy's prints must not mix with the deployment's own output.
    # An end of file or a broken pipe means that the deployment is gone.
    with contextlib.suppress(OSError):
        try:
            policy = start(spec, chain, seed)
            if state:
                policy.restore_state(pickle.loads(state))  # `_state` below pickled it.
        except InputError as error:
            link.send(wire.pack(wire.refusal(error)))
            return
        except (Exception, SystemExit) as error:
            link.send(
                wire.pack(wire.refusal(InputError(one_line(error), where=f"policy {spec!r}")))
            )
            return
        link.send(wire.pack(Message(Kind.READY)))
        while data := link.recv(wire.LIMIT):
            question = wire.unpack(data)
            reading = Reading.from_bytes(question.body, chain.types, chain.slots)
            answer = ask(policy.decide, reading, chain)
            link.send(wire.pack(wire.answer_message(answer, question.number)))
            if answer.decision is not None and (kept := _state(policy)):
                link.send(wire.pack(Message(Kind.STATE, question.number, body=kept)))


def _die_with_deployment() -> None:
    """Have the kernel end this process when the deployment's ends, even one that hangs.

    The parent of this process is the fork server, which outlives the deployment, so the usual
    parent-death signal does not help. Only the deployment holds the other end of the sentinel
    pipe: when it ends, the kernel closes that end and signals this process.
    """
    deployment = multiprocessing.parent_process()
    assert deployment is not None
    pipe = deployment.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if not deployment.is_alive():  # It ended before the signal was set up.
        os.kill(os.getpid(), signal.SIGKILL)


def start(spec: str, chain: ServiceChain, seed: int | None) -> Policy:
    """The policy of a spec, reset for the chain.

    Raises:
        InputError: no such policy, or it cannot decide for this chain as it runs.
    """
    policy = make_policy(spec)
    if policy.foresight:
        raise InputError(
            "needs to know the trace beforehand, which nobody does on a chain that runs",
            where=f"policy {spec!r}",
            fix="use another policy",
        )
    policy.reset(chain, seed)
    return policy


def _state(policy: Policy) -> bytes:
    """The policy's state for its next process; empty if it has none that can be kept."""
    try:
        kept = pickle.dumps(policy.export_state())
    except Exception:
        return b""
    return kept if len(kept) < wire.LIMIT - 100 else b""
