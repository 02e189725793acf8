"""A process that ends while it holds a bar's lock stops nobody else."""

import io
import subprocess
import sys
import textwrap
import threading
import time

from tqdm import tqdm

from fiberaug.bars import ProgressBar

KILLED = """
    import multiprocessing, os, signal, sys
    from tqdm import tqdm
    import fiberaug
    from fiberaug.bars import ProgressBar

    tqdm(disable=True)
    lock = {lock}.get_lock()
    ready, held = multiprocessing.Pipe(duplex=False)

    def hold():
        lock.acquire()
        held.send(1)
        signal.pause()

    child = multiprocessing.get_context("fork").Process(target=hold)
    child.start()
    ready.recv()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    rows = [{{"__key__": str(i), "label": i}} for i in range(3)]
    print(len(fiberaug.convert(rows, sys.argv[1], progress={progress}).shards))
"""


def converted(tmp_path, lock, progress):
    code = textwrap.dedent(KILLED.format(lock=lock, progress=progress))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "set")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_killed_in_tqdms_lock_stops_no_conversion(tmp_path):
    assert converted(tmp_path, "tqdm", progress=False) == "1\n"


def test_a_process_killed_in_our_lock_stops_no_conversion(tmp_path):
    assert converted(tmp_path, "ProgressBar", progress=True) == "1\n"


def test_a_forked_process_has_a_free_lock_whoever_held_it():
    """Another thread of the parent holds it: nobody would ever release it there."""
    code = """
        import os, sys, threading
        from fiberaug.bars import ProgressBar

        held, end = threading.Event(), threading.Event()

        def hold():
            with ProgressBar.get_lock():
                held.set()
                end.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if not child:
            list(ProgressBar(range(3), disable=True))
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        end.set()
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "7\n", done.stderr


def test_a_bar_shows_and_starts_no_thread():
    before, shown = threading.active_count(), io.StringIO()
    assert list(ProgressBar(range(3), file=shown, unit="img")) == [0, 1, 2]
    assert "3/3" in shown.getvalue()
    assert threading.active_count() == before


def test_steps_that_become_slow_are_shown_one_by_one():
    shown = io.StringIO()
    with ProgressBar(total=10**9, file=shown, unit="img") as bar:
        while shown.getvalue().count("\r") < 4:  # tqdm learns how fast steps are
            bar.update()
        for _ in range(2):
            time.sleep(1.5 * bar.mininterval)
            bar.update()
            assert f" {bar.n}/" in shown.getvalue()


def test_bars_of_the_user_are_none_of_ours():
    """They have another lock, so nothing of theirs may be changed under ours."""
    with tqdm(file=io.StringIO()) as first, tqdm(file=io.StringIO()) as second:
        places = first.pos, second.pos
        with ProgressBar(file=io.StringIO()) as bar:
            assert bar not in tqdm._instances
        assert (first.pos, second.pos) == places


def test_it_can_be_imported_where_no_process_can_be_forked():
    code = "import os, tqdm; del os.register_at_fork; import fiberaug.bars"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
