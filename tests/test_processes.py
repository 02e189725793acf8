"""What Linux says of a process, whatever it is called."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from fiberaug.processes import process_stat

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_process_has_its_parent_and_its_time():
    began = sum(map(int, process_stat()[11:13]))
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    words = process_stat()

    assert words[0] == "R"  # it reads this itself
    assert int(words[1]) == os.getppid()
    assert sum(map(int, words[11:13])) > began


def test_a_name_with_blanks_and_brackets_moves_no_field(tmp_path):
    program = tmp_path / "a) b (c"
    shutil.copy(shutil.which("sleep"), program)
    process = subprocess.Popen([str(program), "60"])
    try:
        while process_stat(process.pid)[0] != "S":
            time.sleep(0.01)
        assert int(process_stat(process.pid)[1]) == os.getpid()
    finally:
        process.kill()
        process.wait()


def test_of_a_process_that_is_gone_nothing_is_said():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_stat(process.pid) == []
