"""The compiled module is optional, can be switched off, and fits its library."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from rendered_jpegs import render

import fiberaug.decode
from fiberaug.decode import turbo
from fiberaug.errors import UsageError

FOLDER = Path(fiberaug.decode.__file__).parent
DATA = render("4:2:0 baseline", 20, 30)

FIELDS = {
    ("errors", "jpeg_error_mgr"): """error_exit emit_message output_message
        format_message reset_error_mgr msg_code msg_parm trace_level num_warnings""",
    ("progress", "jpeg_progress_mgr"): "progress_monitor pass_counter total_passes",
    ("common", "jpeg_common_struct"): """err mem progress client_data is_decompressor
        global_state""",
    ("saved_marker", "jpeg_marker_struct"): "next marker data_length data",
    ("sink", "jpeg_destination_mgr"): """next_output_byte free_in_buffer
        init_destination empty_output_buffer term_destination""",
    ("decompressor", "jpeg_decompress_struct"): """err progress src image_width
        image_height num_components jpeg_color_space out_color_space scale_num
        scale_denom output_width output_height output_scanline input_scan_number
        coef_bits data_precision comp_info progressive_mode arith_code
        restart_interval saw_JFIF_marker saw_Adobe_marker Adobe_transform marker_list
        max_h_samp_factor max_v_samp_factor comps_in_scan cur_comp_info Ss Se Ah Al
        unread_marker""",
    ("compressor", "jpeg_compress_struct"): """err dest image_width image_height
        input_components data_precision comp_info num_scans arith_code optimize_coding
        restart_interval restart_in_rows write_JFIF_header write_Adobe_marker
        next_scanline Ss Se script_space_size""",
}
CHANNEL = "component_id component_index h_samp_factor v_samp_factor quant_table"


PROBE = """
#include <stdio.h>
#include <jpeglib.h>
#if JPEG_LIB_VERSION != 62 || !defined(LIBJPEG_TURBO_VERSION)
#error another interface
#endif
"""


def layout_source():
    """A program that compiles where turbo.h says what jpeglib.h says."""
    lines = [PROBE, f'#include "{FOLDER / "turbo.h"}"']
    pairs = {
        (f"struct {mine}", f"struct {theirs}"): names
        for (mine, theirs), names in FIELDS.items()
    }
    pairs["struct channel", "jpeg_component_info"] = CHANNEL
    for (mine, theirs), names in pairs.items():
        lines.append(f'_Static_assert(sizeof({mine}) == sizeof({theirs}), "{mine}");')
        lines += [
            f"_Static_assert(offsetof({mine}, {name}) == offsetof({theirs}, {name}) &&"
            f" sizeof((({mine} *)0)->{name}) == sizeof((({theirs} *)0)->{name}),"
            f' "{name}");'
            for name in names.split()
        ]
    for mine, theirs in {
        "SPACE_GRAY": "JCS_GRAYSCALE",
        "SPACE_RGB": "JCS_RGB",
        "SPACE_YCC": "JCS_YCbCr",
        "MARKER_APP0": "JPEG_APP0",
        "MARKER_COM": "JPEG_COM",
        "INTERFACE": "JPEG_LIB_VERSION",
        "BLOCK": "DCTSIZE2",
    }.items():
        lines.append(f'_Static_assert((int){mine} == (int){theirs}, "{mine}");')
    return "\n".join([*lines, "int main(void) { return 0; }", ""])


def compiled(tmp_path, source, *options):
    path = tmp_path / "probe.c"
    path.write_text(source)
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    command = [*compiler, *options, "-c", str(path), "-o", str(tmp_path / "probe.o")]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")


def test_the_records_are_those_of_jpeglib(tmp_path):
    if not (FOLDER / "turbo.h").exists():
        pytest.skip("a wheel has no C sources")
    if compiled(tmp_path, PROBE).returncode:
        pytest.skip("there is no jpeglib.h of interface 62")
    done = compiled(tmp_path, layout_source(), "-std=c11")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_compiles_without_a_warning(tmp_path):
    source = FOLDER / "turbo.c"
    if not source.exists():
        pytest.skip("a wheel has no C sources")
    include = sysconfig.get_path("include")
    if compiled(tmp_path, "#include <Python.h>\n", f"-I{include}").returncode:
        pytest.skip("there is no Python.h")
    warn = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", f"-I{include}", "-O2")
    done = compiled(tmp_path, f'#include "{source}"\n', *warn)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(source.read_text().splitlines()) <= 400


ASK = """
import sys
from fiberaug.decode import turbo
data = bytes.fromhex(sys.argv[1])
print(turbo.available(), turbo.why_not(), turbo.sound(data),
      turbo.decode_window(data, 30, 20, (0, 0, 9, 9)),
      turbo.with_restarts(data, interval_mcus=1), sep="|")
"""


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("FIBERAUG_JPEG", "opencv")
    done = subprocess.run(
        [sys.executable, "-c", ASK, DATA.hex()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False|FIBERAUG_JPEG=opencv is set|None|None|None\n"


@pytest.fixture
def anew():
    turbo.why_not.cache_clear()
    yield
    turbo.why_not.cache_clear()


def nothing():
    return (
        turbo.available(),
        turbo.sound(DATA),
        turbo.decode_window(DATA, 30, 20, (0, 0, 9, 9)),
        turbo.with_restarts(DATA, interval_mcus=1),
    ) == (False, None, None, None)


def test_a_wrong_switch_is_named(monkeypatch, anew):
    monkeypatch.setenv("FIBERAUG_JPEG", "fast")
    with pytest.raises(UsageError, match="turbo or opencv, got 'fast'"):
        turbo.available()


def test_without_the_compiled_module_there_is_nothing(monkeypatch, anew):
    monkeypatch.setattr(turbo, "_BUILT", False)
    assert nothing()
    assert "no C compiler" in turbo.why_not()


def test_without_the_library_there_is_nothing(monkeypatch, anew, tmp_path):
    package = tmp_path / "PIL" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: type("Spec", (), {"origin": package})
    )
    assert nothing()
    assert "install its wheel" in turbo.why_not()


def test_without_pillow_there_is_nothing(monkeypatch, anew):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert nothing()


OTHERS = """
import sys
from fiberaug.decode import _turbo
for call in (_turbo.check, lambda data: _turbo.add_restarts(data, 1, 0)):
    try:
        call(b"")
    except RuntimeError as error:
        print(error)
print([_turbo.load(path) for path in sys.argv[1:]])
"""


@pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
def test_another_library_is_refused():
    library = turbo._library()
    paths = [*sorted(library.parent.glob("lib[!j]*"))[:3], "/nowhere/libjpeg.so.62"]
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, *map(str, paths), str(library), "anything"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = [False] * len(paths) + [True, True]
    assert done.stdout.splitlines() == ["load a library first"] * 2 + [str(answers)]


@pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
def test_the_compiled_functions_guard_the_memory():
    """What the Python side checks is checked again where bytes are written."""
    _turbo = turbo._turbo
    out = bytearray(9 * 9 * 3)
    assert _turbo.decode(DATA, out, 30, 20, 0, 0, 9, 9, 1) is True
    wrong = [
        (out, 30, 20, 0, 0, 9, 10, 1),
        (out, 30, 20, 0, 0, 9, 8, 1),
        (out, 30, 20, 25, 0, 34, 9, 1),
        (out, 30, 20, 9, 0, 9, 9, 1),
        (out, 30, 20, -9, 0, 0, 9, 1),
        (out, 0, 0, 0, 0, 9, 9, 1),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"the (window|buffer) is"):
            _turbo.decode(DATA, *arguments)
    with pytest.raises(TypeError, match="read-write"):
        _turbo.decode(DATA, bytes(out), 30, 20, 0, 0, 9, 9, 1)
    assert _turbo.decode(DATA, out, 30, 20, 14, 0, 23, 9, 2) is False
    with pytest.raises(ValueError, match="0 to 65535"):
        _turbo.add_restarts(DATA, -1, 0)
