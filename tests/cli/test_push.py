"""``fiberaug push``: what it prints, its exit codes; and nobody sees the token."""

import json
import os
import subprocess
import sys

import pytest
import torch
from hubserver import TOKEN, HubServer
from typer.testing import CliRunner

from fiberaug.cli.main import app
from fiberaug.models import Generator
from fiberaug.synthetic.gans import GANGenerator


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    return GANGenerator(Generator("8x8", width=4, z_dim=8)).save(tmp_path / "model")


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def push(hub, folder, *words, debug=False, **environment):
    """Run the command in a process of its own; return code and all that it said."""
    told = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder.parent / "home"), **environment,
    }  # fmt: skip
    call = ["-m", "fiberaug.cli.main", *(["--debug"] if debug else []), "push"]
    done = subprocess.run(
        [sys.executable, *call, str(folder), *words],
        env=os.environ | told, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_push_says_where_it_is_and_who_sees_it(hub, model):
    code, out, err = push(hub, model, "me/gan", "--licence", "mit")
    assert (code, err) == (0, "")
    assert f"{hub.url}/me/gan (private), branch main, commit " in out
    assert hub.repos["model", "me/gan"].private


def test_json_says_the_same(hub, model):
    code, out, _ = push(hub, model, "gan", "--json", "--public", "--revision", "v2")
    told = json.loads(out)
    assert code == 0
    assert told["name"] == "me/gan"
    assert told["private"] is False
    assert told["commit"] == hub.repos["model", "me/gan"].sha("v2")
    there = hub.files("me/gan", branch="v2")
    assert told["files"] == {
        path: len(content) for path, content in there.items() if path[0] != "."
    }
    assert told["card"].encode() == there["README.md"]


def test_a_dry_run_lists_files_and_prints_the_card(model):
    done = CliRunner().invoke(app, ["push", str(model), "me/gan", "--dry-run"])
    assert done.exit_code == 0, done.output
    for said in ("generator.safetensors", "library_name: fiberaug", "nothing was sent"):
        assert said in done.output


@pytest.mark.parametrize(
    ("fault", "code"), [(("PUT", 400), 3), (("create", 403), 2), (("whoami", 401), 2)]
)
def test_whatever_goes_wrong_nobody_sees_the_token(hub, model, fault, code):
    """Everything is on: the traceback, the client's own log of requests."""
    hub.echo = True
    hub.warning = f"odd; {TOKEN}"
    hub.fault(*fault, times=10**6)
    found, out, err = push(
        hub, model, "me/gan", debug=True, HF_DEBUG="1", HF_HUB_VERBOSITY="debug"
    )
    assert found == code, err
    assert "Traceback" in err
    assert TOKEN not in out + err
    assert "X-Amz-Signature" not in err.replace("?X-Amz-Signature=***", "")
    assert [line for line in err.splitlines() if line.startswith("fiberaug: ")]


def test_a_push_that_works_shows_no_token_either(hub, model):
    code, out, err = push(
        hub, model, "me/gan", debug=True, HF_DEBUG="1", HF_HUB_VERBOSITY="debug"
    )
    assert code == 0
    assert "Request" in err, "the client's log was on"
    assert TOKEN not in out + err
    for path in model.parent.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_no_token_and_no_network_are_exit_codes(hub, model):
    assert push(hub, model, "me/gan", HF_TOKEN="")[0] == 2
    code, _, err = push(hub, model, "me/gan", HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 4
    assert len(err.splitlines()) == 1, "one line"


def test_without_the_client_it_says_what_to_install(model):
    script = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from fiberaug.cli.main import main\n"
        f"sys.argv = ['fiberaug', 'push', {str(model)!r}, 'me/gan']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'pip install "fiberaug[hf]"' in done.stderr


def test_help_does_not_import_the_client():
    script = (
        "import sys\nfrom fiberaug.cli.main import app\n"
        "import fiberaug.hub\nassert 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
