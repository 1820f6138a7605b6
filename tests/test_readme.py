"""What the README tells a reader to type works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The one fenced block of that language which contains the text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


def run(code: str, cwd: Path, *paths: Path) -> str:
    """Run a program in a fresh interpreter, `paths` importable, and return what it printed."""
    head = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "containing", ["class Headroom", "env.action_space.sample()", "RowVecEnv", "PPOConfig"]
)
def test_a_snippet_takes_about_ten_lines(containing: str) -> None:
    lines = [line for line in block("python", containing).splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_policy_is_found_by_its_name_and_scales_with_the_load(tmp_path: Path) -> None:
    (tmp_path / "my_policies.py").write_text(block("python", "class Headroom"))
    info = tmp_path / "my_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-policies\nVersion: 1.0\n")
    table = block("toml", "flexnfv.policies").replace('[project.entry-points."', "[")
    (info / "entry_points.txt").write_text(table.replace('"]', "]").replace('"', ""))
    out = run(
        "from flexnfv.backend import Single\n"
        "from flexnfv.backends import make_backend\n"
        "from flexnfv.chain import load_chain\n"
        "from flexnfv.policy import make_policy\n"
        "from flexnfv.traces import load_trace\n"
        "chain = load_chain('edge')\n"
        "policy = make_policy('headroom:spare=0.1')\n"
        "backend = Single(make_backend('model', chain))\n"
        "reading = backend.reset(load_trace('synthetic/constant?rate_pps=5e6'), 1)\n"
        "policy.reset(chain)\n"
        "for _ in range(5): reading = backend.step(policy.decide(reading))\n"
        "print(*reading.running)",
        tmp_path,
        tmp_path,
    )
    # 5 Mpps over 2.8, 2.2 and 1.7 Mpps an instance, a tenth of it spare.
    assert out.split() == ["2", "3", "4"]


def test_the_gymnasium_snippet_runs(tmp_path: Path) -> None:
    cores, drop_rate = run(block("python", "env.action_space.sample()"), tmp_path).split()
    assert float(cores) >= 3
    assert 0 <= float(drop_rate) <= 1


def test_the_stable_baselines3_snippet_learns(tmp_path: Path) -> None:
    out = run(block("python", "RowVecEnv") + "\nprint(model.num_timesteps)", tmp_path)
    assert int(out.split()[-1]) >= 20_000


def test_the_rllib_snippet_compiles() -> None:
    """RLlib pins another Gymnasium, so it is not installed where the tests run."""
    compile(block("python", "PPOConfig"), "README.md", "exec")


def test_the_commands_for_an_own_trace_and_chain_run(tmp_path: Path) -> None:
    (tmp_path / "my-chain.toml").write_text(block("toml", "my-chain"))
    rows = [f"{t},{4e6 + 3e6 * (t // 20 % 2)}" for t in range(120)]
    (tmp_path / "link.csv").write_text("t_s,pps\n" + "\n".join(rows) + "\n")
    commands = [
        line.split()
        for line in block("sh", "my-chain.toml").splitlines()
        if line.startswith("flexnfv ")
    ]
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "flexnfv.cli", *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    assert (tmp_path / "runs" / "mine").is_dir()
    assert (tmp_path / "why.html").is_file()
