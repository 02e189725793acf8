"""``fiberaug edit``: every mode on a pipeline of random weights, and mistakes told.

Pixels are noise: what is shown is what stays.
"""

import json

import numpy as np
import pytest
import torch
from editors import CLASSES, jpeg, photo
from tiny_pipelines import write_controlnet, write_stable_diffusion
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.editing import EditOptions, Editor, remake
from fiberaug.editing.parents import Parents
from fiberaug.editing.sample import EDIT
from fiberaug.models import UNet
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.provenance import Provenance

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
HOW = ("--window", "32", "--margin", "4", "--feather", "2", "--seed", "5")


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    base = write_stable_diffusion(folder / "sd")
    return base, write_controlnet(folder / "cn", base)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "set"
    with fiberaug.ShardWriter(folder, classes=CLASSES) as writer:
        for i in range(2):
            mask = np.zeros((60, 80), np.uint8)
            mask[10:30, 10:30] = 1
            writer.write({
                "__key__": f"k{i}", "image": jpeg(photo(80, 60, i), 1 + 2 * i),
                "bboxes": np.array([[10, 10, 30, 30], [50, 20, 70, 40]], np.float32),
                "bbox_labels": np.array([0, 1]), "mask": mask,
            })  # fmt: skip
    return folder


def samples(folder):
    pool = fiberaug.Pool.open(folder)
    for entry in pool.manifest.shards:
        path = f"{folder}/{entry.name}"
        shard = open_shard(ShardRef(path=path, index=f"{path}.idx"))
        for i in range(len(shard.index)):
            yield {k: bytes(v) for k, v in shard.read(i).items()}


def check_and_remake(real, folder, generator):
    """Outside the same bit for bit; and made again from the record, bit for bit."""
    parents = Parents.open(real)
    shard = parents.open_shard(0)
    for made in samples(folder):
        said = Provenance.from_dict(json.loads(made["json"])["provenance"])
        row = shard.index.find(said.parents[0].key)
        before = {k: bytes(v) for k, v in shard.read(row).items()}
        old, header = decode_image(before["jpg"], limits=ImageLimits())
        new, again = decode_image(made["png"], limits=ImageLimits())
        from fiberaug.decode.orientation import upright

        plane = decode_mask(made[EDIT], limits=ImageLimits())
        changed = upright(plane, header.orientation)
        assert again.orientation == header.orientation
        assert (old[changed == 0] == new[changed == 0]).all()
        assert (old[changed == 255] != new[changed == 255]).any()
        editor = Editor(generator, EditOptions.from_dict(
            {"mode": said.params.others["options"]["mode"], "prompt": "x"}
        ), CLASSES)  # fmt: skip
        assert remake(before, said, editor, parents.reading).members == made
        yield said


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("image-to-image", ("--region", "grid", "--strength", "0.5")),
        ("inpaint", ("--region", "bboxes", "--strength", "1")),
        ("inpaint", ("--region", "mask", "--what", "background")),
        ("controlnet", ("--region", "bboxes")),
        ("controlnet-image-to-image", ("--region", "mask", "--strength", "0.5")),
        ("controlnet-inpaint", ("--region", "bboxes", "--to", "bar")),
        ("paste", ("--region", "bboxes", "--match")),
    ],
)  # fmt: skip
def test_each_mode_runs_on_a_pipeline_and_is_made_again_from_its_record(
    bases, real, tmp_path, mode, more
):
    from fiberaug.pretrained import PretrainedPipeline

    base, controlnet = bases
    steered = mode.startswith("controlnet")
    more += ("--controlnet", controlnet) if steered else ()
    done = call(
        "edit", real, "--base", base, "--out", tmp_path / "pool", "--mode", mode,
        "--prompt", "a photo of {label}", "--steps", "2", "--device", "cpu", "--limit",
        "1" if steered else "2", "--most", "1", "--json", *HOW, *more,
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["accepted"] == told["asked"]
    assert told["checks"]["outside_differing"] == 0
    generator = PretrainedPipeline.open(
        base, mode="text-to-image" if mode == "paste" else mode, device="cpu",
        controlnet=controlnet if steered else None,
    )  # fmt: skip
    found = list(check_and_remake(real, tmp_path / "pool", generator))
    assert len(found) == told["accepted"]
    for said in found:
        assert said.params.steps == 2
        assert said.params.prompt.startswith("a photo of")
        assert said.params.scheduler
        assert (said.params.control == "canny") is steered
        assert said.generator.sha256 == generator.describe()["sha256"]


def test_a_diffusion_model_of_ours_edits_and_pastes(real, tmp_path):
    torch.manual_seed(0)
    unet = UNet((16, 16), classes=3, width=8)
    torch.nn.init.normal_(unet.inner.conv_out.weight, std=0.3)
    DiffusionGenerator(unet, classes=CLASSES, steps=2, rows=1).save(tmp_path / "gen")

    for mode in ("image-to-image", "paste"):
        out = tmp_path / mode
        done = call("edit", real, "--base", tmp_path / "gen", "--mode", mode, "--out",
                    out, *HOW)  # fmt: skip

        assert done.exit_code == 0, done.output
        assert "pixels outside of edits that differ: 0" in done.stdout
        generator = fiberaug.load(tmp_path / "gen")
        assert len(list(check_and_remake(real, out, generator))) == 2


def test_the_pool_is_told_and_found_again(real, tmp_path):
    arguments = ("edit", real, "--base", "editors:Repaint", "--out", tmp_path / "pool",
                 "--what", "background", "--split", "train", *HOW)  # fmt: skip

    first = call(*arguments)
    again = call(*arguments)

    assert first.exit_code == again.exit_code == 0
    assert first.stdout == again.stdout
    for line in ("pool: 2 synthetic samples", "edits: 4 windows; seams",
                 "objects repainted: none", "parents: 2 train",
                 "marked: compositeWithTrainedAlgorithmicMedia"):  # fmt: skip
        assert line in first.stdout
    assert call("info", tmp_path / "pool").exit_code == 0
    assert call("verify", tmp_path / "pool", "--decode").exit_code == 0
    other = call(*arguments, "--copies", "2")
    assert other.exit_code == 2
    assert "edit.copies is 1 there and 2 here" in other.stderr


def test_a_dry_run_writes_nothing_and_counts_windows(real, tmp_path):
    arguments = ("edit", real, "--base", "editors:Repaint", "--out", tmp_path / "pool",
                 "--dry-run", *HOW)  # fmt: skip

    done, told = call(*arguments), json.loads(call(*arguments, "--json").stdout)

    assert done.exit_code == 0
    assert "photos: 2, 2 samples to be made" in done.stdout
    assert "about 4, 2.0 a photo in the first 2, 0 of which are broken" in done.stdout
    assert (told["windows"], told["photos"]) == (4, 2)
    assert not (tmp_path / "pool").exists()


def test_a_broken_photo_gives_exit_code_3(real, tmp_path):
    with fiberaug.ShardWriter(tmp_path / "set", classes=CLASSES) as writer:
        for i in range(2):
            image = jpeg(photo(80, 60, i))
            writer.write({
                "__key__": f"k{i}", "image": image[: 500 if i else None],
                "bboxes": np.array([[10, 10, 30, 30]], np.float32),
                "bbox_labels": np.array([0]),
            })  # fmt: skip

    done = call("edit", tmp_path / "set", "--base", "editors:Repaint", "--out",
                tmp_path / "pool", *HOW)  # fmt: skip
    strict = call("edit", tmp_path / "set", "--base", "editors:Repaint", "--out",
                  tmp_path / "strict", "--on-error", "raise", *HOW)  # fmt: skip

    assert done.exit_code == strict.exit_code == 3
    assert "refused: 1 broken" in done.stdout
    assert "key k1" in strict.stderr


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--window", "64-32"), "window must be"),
        (("--window", "large"), "LEAST-MOST"),
        (("--mode", "erase"), "mode must be one of"),
        (("--strength", "2"), "strength must be in"),
        (("--split", "test"), None),
        (("--classes", "cat"), "no class 'cat'"),
        (("--base", "nowhere:Nobody"), "cannot import"),
        (("--lora", "x"), "is for pipelines of diffusers"),
        (("--on-error", "ignore"), "on_error must be"),
    ],
)
def test_a_mistake_is_one_line(real, tmp_path, more, why):
    done = call("edit", real, "--base", "editors:Repaint", "--out", tmp_path / "pool",
                *HOW, *more)  # fmt: skip

    if why is None:  # a set without parts: it says of which part it is
        assert done.exit_code == 0
        return
    assert done.exit_code == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pipeline_without_a_prompt_is_refused_before_it_is_opened(
    bases, real, tmp_path
):
    done = call("edit", real, "--base", bases[0], "--out", tmp_path / "pool", *HOW)

    assert done.exit_code == 2
    assert "--prompt" in done.stderr


def test_the_largest_window_is_what_has_to_fit_into_the_memory(bases, real, tmp_path):
    def planned(window, *more):
        done = call(
            "edit", real, "--base", bases[0], "--out", tmp_path / "pool", "--prompt",
            "x", "--window", window, "--dry-run", "--json", *more,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["memory"]

    small, large = planned("64"), planned("64-1020")
    assert (small["size"], large["size"]) == ([64, 64], [1024, 1024])
    assert small["levers"] == large["levers"] == []
    between = (small["peak_bytes"] + large["peak_bytes"]) // 2
    tight = planned("64-1020", "--memory", str(between))
    assert tight["levers"][0] == "bfloat16"
    assert tight["peak_bytes"] <= between
    assert planned("64", "--memory", str(between))["levers"] == []
