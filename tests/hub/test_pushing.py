"""A folder arrives as it was, whatever the network does; and comes back."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hubserver import TOKEN

import fiberaug
from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.hub import push

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def quiet(folder, name, **more):
    return push(folder, name, progress=False, **more)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def fetched(hub, name, kind, into):
    from huggingface_hub import snapshot_download

    return snapshot_download(
        name, repo_type=kind, local_dir=into, endpoint=hub.url, token=TOKEN
    )


@pytest.mark.parametrize(
    ("what", "kind"), [("model", "model"), ("pool", "dataset"), ("dataset", "dataset")]
)
def test_what_is_fetched_is_what_was_sent_byte_for_byte(
    hub, what, kind, tmp_path, request
):
    folder = request.getfixturevalue(what)
    before = contents(folder)
    done = quiet(folder, "me/thing")

    assert contents(folder) == before, "the folder is left as it was"
    there = hub.files("me/thing", kind)
    assert {path: there[path] for path in before} == before
    assert set(there) - set(before) == {"README.md", ".gitattributes"}
    back = Path(fetched(hub, "me/thing", kind, tmp_path / "back"))
    assert {path: (back / path).read_bytes() for path in before} == before
    assert done.commit == hub.repos[kind, "me/thing"].sha("main")
    assert done.url.endswith("datasets/me/thing" if kind == "dataset" else "/me/thing")


def test_a_fetched_generator_makes_the_very_images(hub, model, tmp_path):
    quiet(model, "me/gan")
    back = fiberaug.load(fetched(hub, "me/gan", "model", tmp_path / "back"))
    asked = {"seeds": [3, 4, 5], "labels": [0, 1, 2]}
    assert np.array_equal(
        back.generate(**asked), fiberaug.load(model).generate(**asked)
    )


def test_a_fetched_pool_opens(hub, pool, tmp_path):
    quiet(pool, "me/pool")
    back = fiberaug.Pool.open(fetched(hub, "me/pool", "dataset", tmp_path / "back"))
    assert back.counts == fiberaug.Pool.open(pool).counts
    assert len(list(fiberaug.StreamingDataset(str(back.path), train=False))) == 6


def test_a_repository_is_private_unless_everybody_may_see_it(hub, model):
    assert quiet(model, "me/one").private
    assert hub.repos["model", "me/one"].private
    assert not quiet(model, "me/two", public=True).private
    assert not hub.repos["model", "me/two"].private


def test_nothing_is_sent_to_a_public_repository_that_was_not_asked_for(hub, model):
    quiet(model, "me/open", public=True)
    before = dict(hub.files("me/open"))
    (model / "LICENSE").write_text("mine")
    with pytest.raises(UsageError, match="is public"):
        quiet(model, "me/open")
    assert hub.files("me/open") == before
    quiet(model, "me/open", public=True)
    assert hub.files("me/open")["LICENSE"] == b"mine"


def test_public_does_not_open_a_private_repository_and_says_so(hub, model):
    quiet(model, "me/shut")
    done = quiet(model, "me/shut", public=True)
    assert done.private
    assert any("is private" in note for note in done.notes)


def test_a_name_alone_is_of_the_tokens_account(hub, model):
    done = quiet(model, "thing")
    assert done.name == "me/thing"
    assert (
        'snapshot_download("me/thing")' in hub.files("me/thing")["README.md"].decode()
    )


def test_a_branch_is_made_and_main_left_alone(hub, model):
    quiet(model, "me/gan", revision="v1", message="The first")
    assert "generator.json" in hub.files("me/gan", branch="v1")
    assert "generator.json" not in hub.files("me/gan")
    ((branch, head, _),) = hub.repos["model", "me/gan"].commits
    assert (branch, head["summary"]) == ("v1", "The first")
    quiet(model, "me/gan", revision="v1")


def test_all_files_come_in_one_commit(hub, dataset):
    quiet(dataset, "me/set")
    ((_, _, files),) = hub.repos["dataset", "me/set"].commits
    assert files == len(contents(dataset)) + 1


def test_the_same_again_sends_nothing(hub, dataset):
    first = quiet(dataset, "me/set")
    puts = hub.puts()
    again = quiet(dataset, "me/set")
    assert hub.puts() == puts
    assert len(hub.repos["dataset", "me/set"].commits) == 1
    assert again.commit == first.commit


def test_a_changed_file_alone_is_sent_and_others_are_named(hub, dataset, pool):
    quiet(dataset, "me/set")
    puts = hub.puts()
    (dataset / "a.txt").write_text("more")
    (dataset / "LICENSE").write_text("more")
    quiet(dataset, "me/set")
    changed = set(hub.puts()) - set(puts)
    assert changed == {f"/lfs/{hashlib.sha256(b'more').hexdigest()}"}, "as LICENSE"
    (dataset / "a.txt").unlink()
    done = quiet(dataset, "me/set")
    assert any("1 file that the folder has not: a.txt" in one for one in done.notes)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("GET /api/whoami", 503), ("GET /api/models", 502), ("create", 500),
        ("create", "cut"), ("preupload", 500), ("batch", 429), ("batch", "cut"),
        ("PUT", 500), ("PUT", "cut"), ("PUT", "lost"), ("commit", 503),
        ("commit", "cut"), ("commit", "lost"), ("create", "lost"), ("create", 429),
    ],
)  # fmt: skip
def test_what_passes_is_waited_for(hub, model, where, what, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time", NoWaiting())
    hub.fault(where, what)
    done = quiet(model, "me/gan")
    there = hub.files("me/gan")
    assert {p: there[p] for p in contents(model)} == contents(model)
    assert sum(hub.hits.values()) == 1, "the fault came"
    assert done.private
    assert len(hub.repos["model", "me/gan"].commits) == 1, "no commit twice"


class NoWaiting:
    """The module time, whose sleep is short."""

    def __getattr__(self, name):
        import time

        return (lambda s: None) if name == "sleep" else getattr(time, name)


def test_what_does_not_pass_is_one_line_and_the_next_call_goes_on(
    hub, dataset, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.utils._http.time", NoWaiting())
    hub.fault("PUT", 500, times=10**6)
    with pytest.raises(StoreError, match="the same command goes on") as caught:
        quiet(dataset, "me/set")
    assert "\n" not in str(caught.value)
    assert "Signature" not in str(caught.value)
    assert caught.value.__cause__ is None, "a traceback would show signed URLs"
    assert not hub.repos["dataset", "me/set"].commits
    hub.faults.clear()
    quiet(dataset, "me/set")
    assert len(hub.repos["dataset", "me/set"].commits) == 1


KILLED = """
    import os, sys
    from fiberaug.hub import push
    push(sys.argv[1], "me/set", progress=False)
"""


@pytest.mark.timeout(120)
def test_a_push_that_is_killed_sends_only_what_is_missing(hub, dataset):
    """The process ends in the middle of its second large file."""
    process = None

    def kill(oid):
        if len(hub.blobs) == 2:
            process.kill()

    hub.on_put = kill
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(dataset)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = process.communicate(timeout=100)
    assert process.returncode == -9, out
    assert not hub.repos["dataset", "me/set"].commits, "nobody fetches half a set"
    hub.on_put = lambda oid: None
    arrived = set(hub.blobs)
    assert len(arrived) >= 2
    first = hub.puts()
    quiet(dataset, "me/set")
    again = hub.puts() - first
    assert not {f"/lfs/{oid}" for oid in arrived} & set(again)
    assert again, "and the rest was"
    there = hub.files("me/set", "dataset")
    assert {p: there[p] for p in contents(dataset)} == contents(dataset)


def test_a_dry_run_uses_no_network_and_says_what_would_be_sent(hub, model, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = quiet(model, "me/gan", dry_run=True)
    assert not hub.requests
    assert done.commit is None
    sizes = {item.path: item.size for item in done.parcel.items}
    assert sizes == {
        **{path: len(content) for path, content in contents(model).items()},
        "README.md": len(done.parcel.card.encode()),
    }


def test_no_token_is_one_line(hub, model, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match="hf auth login"):
        quiet(model, "me/gan")
    assert not hub.requests


def test_a_token_that_is_not_taken_is_one_line(hub, model):
    hub.token = "another"  # noqa: S105  # of the loopback server
    with pytest.raises(UsageError, match="does not take the token"):
        quiet(model, "me/gan")


def test_a_token_that_may_only_read_is_seen_before_anything_is_sent(hub, model):
    hub.role = "read"
    with pytest.raises(UsageError, match="may only read"):
        quiet(model, "me/gan")
    assert len(hub.requests) == 1


def test_a_place_of_others_is_one_line(hub, model):
    with pytest.raises(UsageError, match="may not make the repository other/gan"):
        quiet(model, "other/gan")


@pytest.mark.parametrize(
    "name",
    ["a/b/c", "", "/x", "x/", "me/a b", "me/a--b", "me/a..b", "me/x.git", "me/.x",
     "http://hub/me/x", "me/" + "x" * 97, "me/x\n"],
)  # fmt: skip
def test_a_name_that_the_hub_does_not_take_is_refused_at_once(hub, model, name):
    with pytest.raises(UsageError, match="user/name"):
        quiet(model, name)
    assert not hub.requests


@pytest.mark.parametrize("branch", ["", "a b", "../x", "refs/pr/1", "x.lock", "-x"])
def test_a_branch_that_cannot_be_is_refused_at_once(hub, model, branch):
    with pytest.raises(UsageError, match="revision"):
        quiet(model, "me/gan", revision=branch)
    assert not hub.requests


def test_no_network_is_one_line(hub, model, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"cannot reach http://127\.0\.0\.1:9"):
        quiet(model, "me/gan")


def test_an_endpoint_with_a_password_is_refused(hub, model, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UsageError, match="without credentials") as caught:
        quiet(model, "me/gan")
    assert "secret" not in str(caught.value)


def test_offline_is_one_line(hub, model, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        quiet(model, "me/gan")


def test_what_the_hub_refuses_is_told_in_its_words(hub, model):
    hub.fault("commit", 400)
    with pytest.raises(DataRefused, match="a fault: 400"):
        quiet(model, "me/gan")


@pytest.mark.parametrize("where", ["whoami", "create", "preupload", "batch", "commit"])
@pytest.mark.parametrize("status", [400, 401, 429])
def test_no_error_shows_a_token_that_a_server_repeats(  # noqa: PLR0917  # fixtures
    hub, model, where, status, caplog, capfd, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.utils._http.time", NoWaiting())
    hub.echo = True
    hub.warning = f"odd; you sent {TOKEN}"
    hub.fault(where, status, times=10**6)
    with caplog.at_level(logging.DEBUG), pytest.raises(fiberaug.FiberAugError) as seen:
        quiet(model, "me/gan")
    captured = capfd.readouterr()
    shown = f"{seen.value!r}{seen.value}{captured.out}{captured.err}"
    assert TOKEN not in shown
    assert TOKEN[3:] not in shown
    assert "\n" not in str(seen.value)
    assert hub.hits, "the fault came"


def test_the_token_goes_to_the_hub_and_not_to_the_store(hub, dataset):
    quiet(dataset, "me/set")
    for one in hub.requests:
        sent = any(TOKEN in str(value) for value in one.headers.values())
        assert sent == (one.method != "PUT"), one.path


def test_a_training_is_sent_as_its_generator_without_its_state(hub, model, tmp_path):
    run = tmp_path / "run"
    for name in ("state/000000000064", "samples", "judge"):
        (run / name).mkdir(parents=True)
    (run / "state/000000000064/adam.safetensors").write_bytes(b"x")
    (run / "samples/real.png").write_bytes(b"x")
    (run / "loss.csv").write_text("step,loss\n")
    shutil.copytree(model, run / "generator")
    shutil.copytree(model, run / "best")
    done = quiet(run, "me/run")
    assert set(hub.files("me/run")) == {
        ".gitattributes", "README.md", "generator.json", "generator.safetensors",
        "training/loss.csv",
    }  # fmt: skip
    assert any("state/" in note for note in done.notes)
