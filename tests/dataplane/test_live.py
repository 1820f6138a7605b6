"""The live backend beyond what every backend must do: its clock, its faults, its managers."""

from __future__ import annotations

import gzip
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import flexnfv.envs  # noqa: F401 - registers the environment
from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import Period
from flexnfv.hw_backend.processes import alive
from flexnfv.reading import Reading
from flexnfv.traces import Trace, load_trace
from tests.dataplane.pcap_files import write_pcap

pytestmark = pytest.mark.dataplane

INTERVAL_S = 0.1
ONE = np.array([1, 1, 1])

Make = Callable[..., LiveBackend]


def chain() -> ServiceChain:
    return load_chain("paper").replace(interval_s=INTERVAL_S)


def steady(pps: float = 1.5e6, intervals: int = 100) -> Trace:
    return Trace("steady", np.full(intervals, pps), INTERVAL_S)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[LiveBackend] = []

    def make(**options: object) -> LiveBackend:
        made.append(LiveBackend(chain(), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def manager_pid(backend: LiveBackend) -> int:
    assert backend._manager is not None
    return backend._manager.pid


def carries(backend: LiveBackend) -> bool:
    """Whether packets arrive, soon enough for a busy machine."""
    return any(float(Single(backend).step(ONE).offered_pps) > 0 for _ in range(30))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_episodes_follow_one_another_on_one_manager(make: Make) -> None:
    backend = make()
    Single(backend).reset(steady())
    pid = manager_pid(backend)
    Single(backend).step(np.array([3, 2, 2]))
    reading = Single(backend).reset(steady())
    assert manager_pid(backend) == pid
    assert reading.running.tolist() == [1, 1, 1]
    assert reading.launching.sum() == reading.draining.sum() == reading.blocked.sum() == 0


def test_a_late_step_is_counted_and_its_reading_misses_no_packet(make: Make) -> None:
    backend = make()
    trace = steady(intervals=60)
    readings = [Single(backend).reset(trace).copy(), Single(backend).step(ONE).copy()]
    time.sleep(2.5 * INTERVAL_S)
    late = Single(backend).step(ONE).copy()
    assert backend.late >= 2
    assert float(late.interval_s) > 2 * INTERVAL_S
    readings.append(late)
    while Single(backend).remaining:
        readings.append(Single(backend).step(ONE).copy())
    assert len(readings) <= 58
    offered = sum(float(r.offered_pps * r.interval_s) for r in readings)
    assert offered == pytest.approx(1.5e6 * 6, rel=0.1)
    assert float(readings[-1].time_s) == pytest.approx(6, abs=0.2)


def test_a_trace_begins_with_its_episode(make: Make) -> None:
    wanted = np.array([6e6, 2e6] * 20)
    backend = make()
    offered = [float(Single(backend).reset(Trace("jumps", wanted, INTERVAL_S)).offered_pps)]
    while Single(backend).remaining:
        offered.append(float(Single(backend).step(np.array([4, 4, 4])).offered_pps))
    # What of an interval's packets belongs to the one before tells how late the trace runs.
    excess, step = np.array(offered)[1:] - wanted[1:], -np.diff(wanted)
    assert abs(np.median(excess / step)) * INTERVAL_S < 2e-3


def test_what_is_rehearsed_are_readings_of_the_last_milliseconds(make: Make) -> None:
    backend = make()
    rehearsed: list[Reading] = []
    backend.rehearsal = lambda reading: rehearsed.append(reading[0].copy())
    Single(backend).reset(steady())
    before_s = []
    for _ in range(20):
        rehearsed.clear()
        reading = Single(backend).step(ONE)
        before_s += [float(reading.time_s - other.time_s) for other in rehearsed]
    assert before_s
    assert min(before_s) > 0
    assert np.median(before_s) < INTERVAL_S / 10


def test_a_trace_that_ended_while_nobody_stepped_has_one_last_reading(make: Make) -> None:
    backend = make()
    Single(backend).reset(steady(intervals=4))
    time.sleep(8 * INTERVAL_S)
    Single(backend).step(ONE)
    assert Single(backend).remaining == 0
    with pytest.raises(InputError, match="no traffic left"):
        Single(backend).step(ONE)


def test_a_trace_too_fast_is_refused_with_the_highest_scale(make: Make) -> None:
    backend = make(max_pps=100_000.0)
    with pytest.raises(InputError, match=r"highest possible scale is 0\.0111") as refused:
        Single(backend).reset(steady(9e6))
    Single(backend).reset(steady(2e6))
    advised = float(refused.value.fix.split()[-2])
    make(max_pps=100_000.0, scale=advised)._check(steady(9e6))  # what is advised is accepted


@pytest.mark.parametrize(("known", "sent"), [(0.125, 64), (9000.0, 1518)])
def test_frames_that_no_link_carries_are_sent_as_the_nearest_that_one_does(
    make: Make, known: float, sent: int
) -> None:
    """A series of bits/s is read with any size, when its rate is set by `peak` anyway."""
    backend = make()
    Single(backend).reset(replace(steady(), packet_bytes=known))
    assert carries(backend)
    assert f"{sent} bytes a packet" in backend.description.traffic


def test_a_chain_that_is_not_paced_is_told_the_highest_peak(make: Make) -> None:
    backend = make(max_pps=300_000.0, pacing=False, scale=1)
    with pytest.raises(InputError, match=r"peak of 3e\+05 packets/s or less"):
        backend._check(steady(9e6))


@pytest.mark.parametrize("whom", ["manager", "generator"])
def test_a_death_ends_the_episode_and_the_next_one_starts_anew(make: Make, whom: str) -> None:
    backend = make()
    Single(backend).reset(steady())
    pid = manager_pid(backend)
    assert backend._generator is not None
    generator = backend._generator.pid
    kill(pid if whom == "manager" else generator)
    with pytest.raises(BackendError, match="SIGKILL" if whom == "manager" else "pktgen"):
        for _ in range(5):
            Single(backend).step(ONE)
    assert not alive(pid)
    assert not alive(generator)
    with pytest.raises(BackendError, match="reset"):
        Single(backend).step(ONE)
    Single(backend).reset(steady())
    assert carries(backend)
    assert manager_pid(backend) != pid


def test_a_capture_is_replayed_with_its_own_packets(make: Make, tmp_path: Path) -> None:
    frames = [
        bytes(Ether() / IP(src=f"10.0.0.{n % 3}", dst="10.1.0.1") / UDP(sport=7) / Raw(bytes(158)))
        for n in range(4000)
    ]
    path = write_pcap(tmp_path / "three.pcap", frames, step_ns=1_000_000)
    packed = tmp_path / "three.pcap.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    backend = make()

    def sent_bytes(spec: str) -> float:
        """Bytes a packet, of what was sent on a trace."""
        Single(backend).reset(load_trace(f"{packed}?{spec}"))
        generator = backend._generator
        assert generator is not None
        for _ in range(30):
            Single(backend).step(ONE)
            if Single(backend).remaining == 0 or generator.periods:
                break
        return sum(p.sent_bytes for p in generator.periods) / sum(p.sent for p in generator.periods)

    # At 1/20, 20 times the recorded rate is the recorded one.
    assert sent_bytes("scale=20&step=0.1") == len(frames[0]) == 200
    assert "byte for byte" in backend.description.traffic
    assert sent_bytes("scale=40&compress=2&step=0.1") == 200
    assert "byte for byte" in backend.description.traffic
    assert sent_bytes("scale=10&step=0.1") == 200  # the mean size, without FCS
    assert "synthetic flows" in backend.description.traffic
    assert "?scale=20 here" in backend.description.traffic


def test_a_generator_that_hangs_is_a_death_and_no_silence(make: Make) -> None:
    backend = make()
    Single(backend).reset(steady(intervals=600))
    assert carries(backend)
    assert backend._generator is not None
    generator = backend._generator.pid
    os.kill(generator, signal.SIGSTOP)
    with pytest.raises(BackendError, match="told of no period"):
        for _ in range(300):
            Single(backend).step(ONE)
    assert not alive(generator)
    Single(backend).reset(steady())
    assert carries(backend)


def test_what_the_generator_did_not_keep_is_known_after_its_end(make: Make) -> None:
    backend = make()
    Single(backend).reset(steady())
    assert backend._generator is not None
    period = Period(1.0, 1.0, 1000, 900, 100, 1000.0, 900.0, 54000)
    backend._generator.periods.append(period)
    Single(backend).step(ONE)
    off = backend.timing.seconds_off_rate
    assert off >= 1
    backend.close()
    assert backend.timing.seconds_off_rate >= off
    Single(backend).reset(steady())
    assert period not in backend._generator.periods


def test_an_nf_that_dies_is_a_reading_like_any_other(make: Make) -> None:
    backend = make()
    Single(backend).reset(steady())
    assert backend._client is not None
    kill(int(backend._client.read().of_type(1)["pid"][0]))
    readings = [Single(backend).step(ONE).copy() for _ in range(20)]
    assert sum(r.deaths for r in readings).tolist() == [0, 1, 0]
    assert any(r.unsettled[1] for r in readings)
    assert readings[-1].running.tolist() == [1, 1, 1]
    assert carries(backend)


def test_it_attaches_to_a_running_manager_and_leaves_it_running(make: Make, tmp_path: Path) -> None:
    options = ManagerOptions(scale=0.1, pacing=True, status_s=0.02)
    with ManagerProcess(chain(), folder=tmp_path / "m", options=options) as manager:
        manager.client.decide([2, 1, 1])
        backend = make(attach=tmp_path / "m")
        assert backend.description.scale == 0.1
        assert backend.description.pacing != "none"
        reading = Single(backend).reset(None)
        assert Single(backend).remaining is None
        assert reading.running.tolist() == [2, 1, 1]  # as it was found
        assert float(Single(backend).step(np.array([2, 2, 1])).offered_pps) == 0
        Single(backend).reset(steady())
        assert carries(backend)
        backend.close()
        assert alive(manager.pid)
        other = load_chain("single").replace(interval_s=INTERVAL_S)
        with pytest.raises(InputError, match="the manager runs NF1"):
            LiveBackend(other, attach=tmp_path / "m")


@pytest.mark.parametrize("law", [True, False])
def test_for_a_deployment_the_law_of_a_manager_that_is_taken_over_is_set(
    tmp_path: Path, law: bool
) -> None:
    options = ManagerOptions(scale=0.1, pacing=True, law=not law)
    with ManagerProcess(chain(), folder=tmp_path / "m", options=options) as manager:
        with pytest.raises(InputError, match=r"was started at scale 0\.1"):
            LiveBackend.for_deployment(chain(), attach=tmp_path / "m", scale=0.2)
        taken = LiveBackend.for_deployment(chain(), attach=str(tmp_path / "m"), law=law)
        assert bool(manager.client.snapshot().header["law_enabled"]) == law
        taken.close()
        assert alive(manager.pid)


def test_one_decides_for_a_manager_at_a_time(make: Make, tmp_path: Path) -> None:
    one = make(folder=tmp_path / "m", spares=0)
    Single(one).reset(steady())
    with pytest.raises(InputError, match="somebody else decides for this manager"):
        LiveBackend(chain(), attach=tmp_path / "m")
    Single(one).reset(steady())
    assert carries(one)
    one.close()
    with ManagerProcess(chain(), folder=tmp_path / "m", options=ManagerOptions()):
        one = make(attach=tmp_path / "m")
        with pytest.raises(InputError, match="somebody else decides for this manager"):
            LiveBackend(chain(), attach=tmp_path / "m")
        one.close()
        other = make(attach=tmp_path / "m")
        Single(other).reset(None)


def test_ports_that_no_generator_reaches_carry_their_own_traffic(make: Make) -> None:
    backend = make(ports=("null",), pacing=False, scale=1)
    with pytest.raises(InputError, match="memif"):
        Single(backend).reset(steady(1e5))
    Single(backend).reset(None)
    assert carries(backend)
    assert Single(backend).remaining is None


@pytest.mark.parametrize(
    ("options", "interval_s", "reason"),
    [
        ({}, 0.02, "too short"),
        ({"pacing": False}, 0.1, "without pacing"),
        ({"scale": float("nan")}, 0.1, "no scale"),
        ({"scale": 0}, 0.1, "no scale"),
        ({"scale": -1}, 0.1, "no scale"),
        ({"scale": 5000}, 0.1, "no scale"),
        ({"scale": "1/0"}, 0.1, "no scale"),
        ({"spares": "two"}, 0.1, "spares is 'two'"),
        ({"spares": -1}, 0.1, "spares is -1"),
        ({"pacing": "no"}, 0.1, "pacing is 'no'"),
        ({"law": 1}, 0.1, "law is 1"),
        ({"max_pps": float("inf")}, 0.1, "max_pps is inf"),
    ],
)
def test_contradictions_are_refused(
    options: dict[str, object], interval_s: float, reason: str
) -> None:
    short = load_chain("paper").replace(interval_s=interval_s)
    with pytest.raises(InputError, match=reason):
        LiveBackend(short, **options)  # type: ignore[arg-type]


def test_options_may_come_as_text() -> None:
    backend = LiveBackend(chain(), scale="1/10", ports="memif", folder="here")
    assert backend.description.scale == pytest.approx(0.1)
    assert backend._ports == ("memif",)
    assert backend._folder == Path("here")


def test_the_environment_runs_on_it_and_survives_the_manager() -> None:
    env = gymnasium.make(
        "flexnfv/ServiceChain-v0", chain=chain(), traces=steady(), backend="dpdk", episode=20
    )
    try:
        _, info = env.reset(seed=1)
        backend = env.unwrapped.backend  # type: ignore[attr-defined]
        action = np.full(env.action_space.shape, 2)  # type: ignore[arg-type]
        _, _, terminated, truncated, info = env.step(action)
        assert not terminated
        assert not truncated
        assert info["timing"].late >= 0
        kill(int(backend._client.read().of_type(1)["pid"][0]))
        for _ in range(20):
            _, _, terminated, truncated, info = env.step(action)
            if truncated:
                break
        assert not terminated
        assert info["reason"] == "an instance of NF2 died"
        pid = manager_pid(backend)
        _, info = env.reset()
        assert manager_pid(backend) == pid
        assert info["reading"].running.tolist() == [1, 1, 1]
        kill(pid)
        for _ in range(5):
            _, _, terminated, truncated, info = env.step(action)
            if truncated:
                break
        assert truncated
        assert "manager" in info["reason"]
        env.reset()
        assert carries(env.unwrapped.backend)  # type: ignore[attr-defined]
    finally:
        env.close()
