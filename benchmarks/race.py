"""Race whole loaders against each other: same photos, same work, output checked.

    python benchmarks/race.py                        # everything, 5 rounds: an hour
    python benchmarks/race.py --tasks rrc,big --entrants fiberaug,dali --rounds 3
    python benchmarks/race.py --smoke                # does it run at all: a minute

Writes JSON, from which ``figures.py`` makes the table and the plot. Environments of
rivals and prepared photos are kept under ``.bench/``. README.md says what is measured.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "rivals"))

import checks  # noqa: E402  # scripts of their own environments lie in that folder
import contract  # noqa: E402  # same
import tally  # noqa: E402  # same
from entrants import ENTRANTS, REFERENCE, SMOKE, SMOOTH, TASKS, Task  # noqa: E402  # same
from environments import CannotMake, find_environment, run_quietly  # noqa: E402  # same
from inputs import make_input  # noqa: E402  # same

__all__ = ["judge", "machine", "main"]

LIMIT_S = 1800


def machine() -> dict[str, Any]:
    """Return what was measured on; no name, no path."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


class Race:
    """The runs of one call, and what they gave."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.pythons = args, {}
        self.tasks = SMOKE if args.smoke else TASKS
        self.result: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": _commit(),
            "machine": machine(), "rounds": args.rounds, "workers": contract.WORKERS,
            "environments": {}, "tasks": {},
        }  # fmt: skip

    def find(self, name: str) -> str:
        """Return why an entrant cannot race; empty: it can."""
        if self.args.smoke and ENTRANTS[name].home != "venv":
            return "lives in an environment of its own; a smoke run takes none"
        try:
            self.pythons[name] = find_environment(ENTRANTS[name], self.args.work)
        except CannotMake as error:
            return str(error)
        return ""

    def call(
        self, name: str, task: Task, photos: Path, *options: str
    ) -> dict[str, Any]:
        """Run an entrant's script; return its JSON, or ``absent`` or ``failed``."""
        entrant = ENTRANTS[name]
        out = self.args.work / f"out-{os.getpid()}.json"
        out.unlink(missing_ok=True)
        script = HERE / "rivals" / f"run_{entrant.script}.py"
        command = [str(self.pythons[name]), str(script), task.work, str(photos)]
        command += ["--form", entrant.form, "--out", str(out), *options]
        done = run_quietly(command, LIMIT_S)
        if out.exists():
            answer = json.loads(out.read_text(encoding="utf-8"))
            out.unlink()
            return answer
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        missing = "ImportError" in lines[-1] or "ModuleNotFoundError" in lines[-1]
        return {"absent" if missing else "failed": _plain(lines[-1])}

    def prepare(self, task: Task, names: list[str], reasons: dict[str, str]) -> dict:
        """Return entrants of a task by name, with a status; makes what they read."""
        root = self.args.work / "inputs"
        photos = {"input": make_input(task.input, root)}
        if task.probe:
            photos["probe"] = make_input(task.probe, root)
        entrants: dict[str, Any] = {}
        for name in names:
            entrant = entrants[name] = {"about": ENTRANTS[name].about, "runs": []}
            entrant["environment"] = ENTRANTS[name].home
            if reasons[name]:
                entrant |= {"status": "absent", "reason": reasons[name]}
                continue
            for folder in photos.values():
                done = folder / f"prepared-{name}"
                if not done.exists():
                    if not _note(entrant, self.call(name, task, folder, "--prepare")):
                        break
                    done.touch()
        about = json.loads((photos["input"] / "input.json").read_text())
        return {
            "about": task.about, "work": task.work, "entrants": entrants,
            "input": about | {"name": task.input}, "folders": photos,
        }  # fmt: skip

    def round(self, number: int, name: str, found: dict[str, Any]) -> None:
        """Let each entrant run once; another one begins each round."""
        task, about = self.tasks[name], found["input"]
        options = ["--images", str(task.images), "--workers", str(contract.WORKERS)]
        options += ["--warmup", "1" if self.args.smoke else "512"]
        names = list(found["entrants"])
        turn = number % len(names)
        for who in names[turn:] + names[:turn]:
            entrant = found["entrants"][who]
            if "status" in entrant:
                continue
            run = self.call(who, task, found["folders"]["input"], *options)
            if not _note(entrant, run):
                continue
            self.result["environments"][entrant["environment"]] = run["environment"]
            batch = contract.TASKS[task.work]
            wrong = checks.judge_run(run, work=task.work, about=about, batch=batch)
            if wrong:
                entrant |= {"status": "failed", "reason": "; ".join(wrong)}
            run["round"] = number
            del run["environment"]
            run["warmup"].pop("labels", None)
            entrant["runs"].append(run)
            per = {k: run["images"] / run[k] for k in ("cpu_s", "wall_s")}
            print(
                f"{name} {number + 1}: {who}: {per['cpu_s']:.0f} images per CPU-second,"
                f" {per['wall_s']:.0f} per second", flush=True,
            )  # fmt: skip

    def probe(self, name: str, found: dict[str, Any]) -> None:
        """Judge the crops of each entrant on photos that tell them."""
        task = self.tasks[name]
        if not task.probe:
            return
        folder, rows = found["folders"]["probe"], {}
        about = json.loads((folder / "input.json").read_text())
        for who, entrant in found["entrants"].items():
            if "status" not in entrant:
                rows[who] = self.call(who, task, folder, "--probe")
                _note(entrant, rows[who])
        for who, row in rows.items():
            entrant = found["entrants"][who]
            if "status" in entrant:
                continue
            wrong, entrant["probe"] = checks.judge_probe(
                row, probe=about["probe"], photos=about["photos"],
                batch=contract.TASKS[task.work], reference=rows.get(REFERENCE),
            )  # fmt: skip
            if wrong:
                entrant |= {"status": "failed", "reason": "; ".join(wrong)}

    def write(self) -> None:
        """Write what there is so far."""
        tasks = {
            name: {k: v for k, v in found.items() if k != "folders"}
            for name, found in self.result["tasks"].items()
        }
        text = json.dumps(self.result | {"tasks": tasks}, indent=1)
        part = self.args.out.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self.args.out)


def _note(entrant: dict[str, Any], answer: dict[str, Any]) -> bool:
    for status in ("absent", "failed"):
        if status in answer:
            entrant |= {"status": status, "reason": answer[status]}
            return False
    return True


def _plain(line: str) -> str:
    """A reason without paths of this machine."""
    words = (Path(w.strip("'\"")).name if w.count("/") > 1 else w for w in line.split())
    return " ".join(words)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def judge(found: dict[str, Any]) -> None:
    """Compare a task's entrants with the reference, and rank those who pass."""
    entrants = found["entrants"]
    known = entrants.get(REFERENCE, {}).get("runs", [])
    for name, entrant in entrants.items():
        if "status" in entrant or not entrant["runs"]:
            continue
        wrong = []
        if known and name != REFERENCE:
            smooth = entrants.get(SMOOTH, {}).get("runs", [])
            bound = smooth if name in ENTRANTS and ENTRANTS[name].smooths else None
            wrong = checks.compare(entrant["runs"], known, bound)
        if wrong:
            entrant |= {"status": "failed", "reason": "; ".join(wrong)}
            continue
        entrant.update(status="ranked", **tally.rates(entrant["runs"]))
    ranked = {n: e["runs"] for n, e in entrants.items() if e.get("status") == "ranked"}
    ours = [name for name in ranked if name in ENTRANTS and ENTRANTS[name].ours]
    found["ratios"] = {
        name: {
            other: tally.ratios(ranked[name], runs)
            for other, runs in ranked.items()
            if other != name
        }
        for name in ours
    }


def _names(text: str, known: dict[str, Any], option: str) -> list[str]:
    names = text.split(",") if text else list(known)
    for name in names:
        if name not in known:
            sys.exit(f"race: {option} knows {', '.join(known)}, not {name!r}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="", help="names with commas; default: all")
    parser.add_argument(
        "--entrants", default="", help="names with commas; default: all"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny photos, one round")
    parser.add_argument("--work", type=Path, default=HERE.parent / ".bench")
    parser.add_argument("--out", type=Path, default=HERE / "results/race.json")
    args = parser.parse_args()
    if args.rounds < 1:
        sys.exit(f"race: --rounds must be at least 1, got {args.rounds}")
    if args.smoke:
        args.rounds, args.out = 1, args.work / "smoke.json"
    return args


def main() -> None:
    """Race as the command line says."""
    args = _arguments()
    race = Race(args)
    tasks = _names(args.tasks, race.tasks, "--tasks")
    names = _names(args.entrants, ENTRANTS, "--entrants")
    args.work.mkdir(parents=True, exist_ok=True)
    reasons = {name: race.find(name) for name in names}
    for name in tasks:
        try:
            found = race.prepare(race.tasks[name], names, reasons)
        except FileNotFoundError:
            print(f"{name}: absent: its photos are not here (FIBERAUG_DATA)")
            continue
        race.result["tasks"][name] = found
    for name, found in race.result["tasks"].items():
        for number in range(args.rounds):
            race.round(number, name, found)
            race.write()
        race.probe(name, found)
        judge(found)
        race.write()
    bad = _report(race.result["tasks"])
    if args.smoke and bad:
        sys.exit(1)


def _report(tasks: dict[str, Any]) -> bool:
    bad = False
    for task, found in tasks.items():
        for name, entrant in found["entrants"].items():
            if entrant.get("status") != "ranked":
                print(f"{task}: {name}: {entrant['status']}: {entrant['reason']}")
                bad |= entrant["status"] == "failed"
    return bad


if __name__ == "__main__":
    main()
