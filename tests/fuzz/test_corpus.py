"""The parsers of strangers' bytes hold their laws on the corpus, and under fuzzing."""

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = ["tar", "index", "record"]


def load(name):
    """Return a module of this folder, which is on no path."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


targets, corpus = load("targets"), load("corpus")
SEEDS = corpus.seeds()


def files(name):
    return sorted(path for path in (HERE / "corpus" / name).iterdir())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(60)
def test_no_file_of_the_corpus_breaks_a_law(name):
    for path in files(name):
        targets.TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(120)
def test_no_damaged_file_of_the_corpus_breaks_a_law(name):
    """Blind changes, without atheris: cuts, flips, and two files crossed."""
    draw = random.Random(0)
    contents = [path.read_bytes() for path in files(name)]
    for _ in range(3000):
        content = bytearray(draw.choice(contents))
        for _ in range(draw.randrange(6)):
            if content:
                content[draw.randrange(len(content))] = draw.choice(
                    b'\0 0157{}[]":x\xff'
                )
        if not draw.randrange(4):
            other, place = draw.choice(contents), draw.randrange(len(content) + 1)
            content[place:] = other[place:]
        if not draw.randrange(4):
            del content[draw.randrange(len(content) + 1) :]
        targets.TARGETS[name](bytes(content))


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_are_those_that_the_program_writes(name):
    """A format that changed needs new seeds; what was found stays beside them."""
    for seed, content in SEEDS[name].items():
        assert (HERE / "corpus" / name / seed).read_bytes() == content, (
            "python tests/fuzz/corpus.py tests/fuzz/corpus"
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_reach_behind_the_first_check(name):
    """Otherwise a fuzzer would spend its time at the door."""
    if name == "tar":
        assert all(len(list(targets.scan(SEEDS[name][seed], shard="s.tar"))) == 2
                   for seed in ("ustar", "gnu", "pax"))  # fmt: skip
    elif name == "index":
        content = SEEDS[name]["checked"]
        assert targets._with_checksums(content) == content
    else:
        texts = {seed: content[1:] for seed, content in SEEDS[name].items()}
        assert targets.parse_json(texts["json0"])["label"] == 3
        assert targets.Record.from_json(texts["record"].decode()).key == "a"
        assert len(targets.Recipe.parse(texts["recipe.yaml"].decode()).operations) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_of_a_parser_is_seen(name, monkeypatch):
    """A fuzzer whose laws cannot fail would run for ever in peace."""

    def broken(*_, **__):
        raise KeyError("not one of ours")

    for parser in ("scan", "read_head", "parse_json"):
        monkeypatch.setattr(targets, parser, broken)
    with pytest.raises(KeyError):
        targets.TARGETS[name](SEEDS[name]["json0" if name == "record" else "plain"]
                              if name != "tar" else SEEDS[name]["ustar"])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(120)
def test_twenty_seconds_of_fuzzing_find_nothing(name, tmp_path):
    pytest.importorskip("atheris")
    grown = tmp_path / "grown"
    grown.mkdir()
    done = subprocess.run(
        [sys.executable, HERE / f"fuzz_{name}.py", "-max_total_time=20",
         f"-artifact_prefix={tmp_path}/", grown, HERE / "corpus" / name],
        capture_output=True, text=True, check=False, timeout=100,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs, done.stderr[-1000:]
    assert int(runs[1]) > 1000
