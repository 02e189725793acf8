"""What the README shows works."""

import re
from pathlib import Path

import pytest
from sets import samples

import fiberaug
from fiberaug.jobs.encoding import encode_image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_runs(tmp_path, monkeypatch):
    """The blocks run one after another beside a folder of photos."""
    for i, sample in enumerate(samples(20)):
        folder = tmp_path / "photos" / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(encode_image(sample["image"], "jpeg"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102  # our own text

    assert len(blocks) >= 1
    assert names["image"].shape == (4, 3, 224, 224)
    assert isinstance(names["loader"], fiberaug.DataLoader)
    names["loader"].close()


@pytest.mark.parametrize(
    "link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README)))
)
def test_its_links_lead_somewhere(link):
    if not (ROOT / "CONTRIBUTING.md").exists():
        pytest.skip("not in a checkout")
    assert (ROOT / link).exists()


def test_its_commands_are_verbs_of_the_command_line():
    from fiberaug.cli.main import app

    verbs = {command.name for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"`fiberaug (\w+)", README)) <= verbs
