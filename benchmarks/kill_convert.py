"""A conversion that is killed again and again: are its shards the unbroken one's?

``python benchmarks/kill_convert.py FOLDER --kills 20`` prints the figures as JSON. Each
time the whole process group gets SIGKILL at a random moment of what is left to do.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(source: Path, target: Path, asked: argparse.Namespace) -> list[str]:
    """Return the command that converts."""
    return [
        sys.executable, "-m", "fiberaug.cli.main", "convert", str(source), str(target),
        f"--shard-size={asked.shard_size}", f"--workers={asked.workers}",
        *asked.options,
    ]  # fmt: skip


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def run(words: list[str], kill_after_s: float | None = None) -> float | None:
    """Run a command; return its seconds, or None where it was killed."""
    started = time.monotonic()
    process = subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        code = process.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    assert code == 0, f"{words} ended with {code}"
    return time.monotonic() - started


def main() -> None:
    """Convert undisturbed, then with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", default="1MB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least-s", type=float, default=0.2, help="before a kill")
    parser.add_argument("--json", type=Path)
    asked, asked.options = parser.parse_known_args()
    rng = random.Random(asked.seed)
    work = Path(tempfile.mkdtemp(prefix="kill-convert-"))
    try:
        unbroken_s = run(command(asked.folder, work / "unbroken", asked))
        assert unbroken_s is not None
        wanted = hashes(work / "unbroken")
        spent, kills, finished, rounds = [], 0, [], 0
        while kills < asked.kills:
            shutil.rmtree(work / "killed", ignore_errors=True)
            rounds, done, begun = rounds + 1, False, time.monotonic()
            in_round = 0
            while not done:
                after_s = (
                    rng.uniform(asked.least_s, unbroken_s)
                    if kills < asked.kills
                    else None
                )
                done = (
                    run(command(asked.folder, work / "killed", asked), after_s)
                    is not None
                )
                kills, in_round = kills + (not done), in_round + (not done)
                notes = work / "killed" / ".converting"
                finished.append(len(list(notes.glob("*.json"))))
            assert hashes(work / "killed") == wanted, "the shards differ"
            assert not list((work / "killed").glob(".*"))
            spent.append((time.monotonic() - begun - unbroken_s) / max(1, in_round))
        figures = {
            "kills": kills, "conversions": rounds, "unbroken_s": round(unbroken_s, 2),
            "shards": sum(name.endswith(".tar") for name in wanted),
            "lost_s_a_kill": round(sum(spent) / len(spent), 2),
            "finished_shards_at_kills": finished, "equal": True,
        }  # fmt: skip
        print(json.dumps(figures, indent=1))
        if asked.json:
            asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
