"""Laws of operations from the user's own file: loaded when asked, never otherwise."""

import subprocess
import sys

import numpy as np
import pytest
from foldered import augmented, lines, photos, pixels, put, tree
from sets import photo

import fiberaug
from fiberaug.errors import StoreError, UsageError
from fiberaug.foldering.own_file import load_processors

SOURCE = """
import numpy as np
import fiberaug


class Speckle(fiberaug.ImageProcessor):
    def __init__(self, most=20):
        self.most = most

    def _process(self, image):
        self.level = int(self.rng.integers(1, self.most + 1))
        noise = self.rng.integers(-self.level, self.level + 1, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    def _process_info(self):
        return {"level": self.level}


class Translate(fiberaug.TextProcessor):
    def _process(self, text):
        return " ".join(str(self.rng.integers(10)) for word in text.split())
"""


@pytest.fixture
def own(tmp_path):
    """A file with a name that no other test has loaded."""
    return put(tmp_path / f"ops_{tmp_path.name.replace('-', '_')}.py", SOURCE)


def test_a_recipe_names_operations_of_the_file(tmp_path, own):
    src = photos(tmp_path / "in")
    put(src / "cat/p000.txt", "three little words")
    recipe = [{f"{own.stem}.Speckle": {"most": 9}}, {f"{own.stem}.Translate": {}}]
    for workers in (1, 2):
        augmented(
            src,
            tmp_path / f"out{workers}",
            recipe,
            processors=own,
            copies=15,
            workers=workers,
        )

    assert tree(tmp_path / "out1") == tree(tmp_path / "out2")
    for line in lines(tmp_path / "out1/records.jsonl"):
        level = line["record"]["applied_transforms"][0]["params"]["level"]
        number = int(line["source"].split("p")[1][:3])
        change = pixels(tmp_path / "out1" / line["file"]).astype(int) - photo(number)
        assert 0 < np.abs(change).max() <= level <= 9
    texts = {(tmp_path / f"out1/cat/p000_{i}.txt").read_text() for i in range(15)}
    assert all(len(text.split()) == 3 for text in texts)
    assert len(texts) > 10


def test_without_being_asked_no_code_is_loaded_and_the_remedy_is_named(tmp_path):
    own = put(
        tmp_path / "never_loaded.py",
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{SOURCE}",
    )
    with pytest.raises(UsageError, match=r"never_loaded\.Speckle.*--processors"):
        augmented(
            photos(tmp_path / "in"), tmp_path / "out", [{"never_loaded.Speckle": {}}]
        )
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()
    load_processors(own)
    assert (tmp_path / "ran").exists()


def test_a_file_that_is_none_is_refused(tmp_path):
    for name, content, why in (
        ("no-module.py", SOURCE, "named like a"), ("ops.txt", SOURCE, "named like a"),
        ("json.py", SOURCE, "another name"), ("fails_here.py", "1 / 0", "ZeroDivision"),
        ("cut_short.py", "class A(", "SyntaxError"),
        ("nothing_in.py", "", "defines no"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            load_processors(put(tmp_path / name, content))
    with pytest.raises(StoreError, match="is no file"):
        load_processors(tmp_path / "gone.py")
    assert "fails_here" not in sys.modules


def test_a_file_is_run_once(tmp_path):
    own = put(tmp_path / "once_only.py", f"import pathlib\n{SOURCE}")
    first = load_processors(own)
    module = sys.modules["once_only"]

    assert load_processors(own) == first == ["once_only.Speckle", "once_only.Translate"]
    assert sys.modules["once_only"] is module


@pytest.mark.slow
def test_another_process_replays_once_it_has_loaded_the_file(tmp_path, own):
    """The recipe's hash holds the class's source, wherever it is loaded."""
    src = photos(tmp_path / "in", 2)
    augmented(src, tmp_path / "out", [{f"{own.stem}.Speckle": {}}], processors=own)
    script = f"""
import sys, cv2, json, numpy as np
sys.path.insert(0, {str(own.parent)!r})
import fiberaug, {own.stem}
out = {str(tmp_path / "out")!r}
ds = fiberaug.StreamingDataset({str(src)!r}, transform=out + "/recipe.yaml",
                               cache_dir={str(tmp_path / "cache")!r})
for line in open(out + "/records.jsonl"):
    line = json.loads(line)
    image = fiberaug.replay(line["record"], ds)["image"].permute(1, 2, 0).numpy()
    assert np.array_equal(image[..., ::-1], cv2.imread(out + "/" + line["file"]))
print("same")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "same\n", done.stderr


def test_processors_of_the_package_need_no_file(tmp_path):
    augmented(
        photos(tmp_path / "in"), tmp_path / "out", [{"fiberaug.processors.Flip": {}}]
    )

    assert np.array_equal(pixels(tmp_path / "out/cat/p000.png"), photo(0)[:, ::-1])
    assert fiberaug.Recipe.from_file(tmp_path / "out/recipe.yaml").cpu == (
        {"fiberaug.processors.Flip": {}},
    )
