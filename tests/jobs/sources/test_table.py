"""Laws of tables: what a column means, which rows are one sample, what is refused."""

import csv
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import photo

from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources import table_cells
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.table import list_table, looks_like_table

JPEG = encode_image(photo(0), "jpeg")  # 48x40 px


def images(folder, *names, data=JPEG):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def table(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def listed(path, **options):
    return list_table(path, SourceOptions(**options))


def metadata(dst):
    """The JSON members of a set by key, as they stand in its shards."""
    found = {}
    for shard in sorted(dst.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    key = member.name.removesuffix(".json")
                    found[key] = json.load(tar.extractfile(member))
    return found


def errors(dst):
    path = dst / "convert_errors.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_well_known_names_are_taken_and_all_other_columns_are_carried_with_their_type(
    tmp_path,
):
    images(tmp_path, "a/1.jpg", "2.jpg")
    path = table(
        tmp_path,
        "File_Name,Class,text,age,score,seen,code,note\r\n"
        'a/1.jpg,dog,"a ""good"" dog,\r\nthat is",3,1.5,true,007,\r\n'
        "2.jpg,cat,,-4,2,False,1,ö\r\n",
    )
    source = listed(path)
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert source.classes == ("cat", "dog")
    assert {key: sample["label"] for key, sample in found.items()} == {"a/1": 1, "2": 0}
    assert found["a/1"]["caption"] == 'a "good" dog,\r\nthat is'
    assert found["2"].get("caption") is None
    assert metadata(tmp_path / "out") == {
        "a/1": {"age": 3, "score": 1.5, "seen": True, "code": "007", "note": None},
        "2": {"age": -4, "score": 2.0, "seen": False, "code": "1", "note": "ö"},
    }
    for said in (
        "image <- File_Name",
        "label <- Class (2 classes)",
        "age, score, seen",
    ):
        assert said in source.said


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        (["0", "7", "99999"], "class ids", [0, 7, 99999]),
        (["1.0", "2.0", "0.0"], "class ids", [1, 2, 0]),
        (["0", "7", "100000"], "numbers", [0.0, 7.0, 100000.0]),
        (["-1", "7", "3"], "numbers", [-1.0, 7.0, 3.0]),
        (["0.5", "7", "3e2"], "numbers", [0.5, 7.0, 300.0]),
        (["02", "10", "02"], "2 classes", [0, 1, 0]),
        (["true", "False", "TRUE"], "2 classes", [1, 0, 1]),
        (["e\u0301", "\u00e9", "a"], "2 classes", [1, 1, 0]),
    ],
)
def test_the_whole_column_tells_what_its_labels_are(tmp_path, values, kind, labels):
    images(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    rows = "".join(f"{i}.jpg,{value}\n" for i, value in enumerate(values))
    source = listed(table(tmp_path, "image,label\n" + rows))
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert f"({kind})" in source.said
    assert [found[str(i)]["label"] for i in range(3)] == labels
    assert {type(sample["label"]) for sample in found.values()} == {type(labels[0])}


def test_several_columns_are_a_vector(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    path = table(tmp_path, "image,a,b,more\n0.jpg,1,0.5,x\n1.jpg,0,2,y\n2.jpg,0,,z\n")
    source = listed(path, columns={"label": "a,b"})
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert found["0"]["label"].tolist() == [1.0, 0.5]
    assert found["1"]["label"].tolist() == [0.0, 2.0]
    assert metadata(tmp_path / "out")["0"] == {"more": "x", "label": [1, 0.5]}
    (error,) = errors(tmp_path / "out")
    assert "table.csv, line 4: the label [0, None] is not 2 numbers" in error["reason"]


def test_numbers_and_names_in_one_column_are_refused_until_all_classes_are_named(
    tmp_path,
):
    images(tmp_path, "0.jpg", "1.jpg")
    path = table(tmp_path, "image,label\n0.jpg,3\n1.jpg,n/a\n")

    with pytest.raises(DataRefused, match=r"'3' in line 2, and 'n/a' in 3.*classes="):
        listed(path)
    source = listed(path, classes=["n/a", "3"])
    assert [item.label for item in source.items] == [1, 0]
    with pytest.raises(UsageError, match=r"line 3: label 'n/a' is none of"):
        listed(path, classes=["3", "b"])
    ids = table(tmp_path, "image,label\n0.jpg,0\n1.jpg,2\n", "ids.csv")
    with pytest.raises(UsageError, match=r"line 3: the class id 2, but 2 classes"):
        listed(ids, classes=["a", "b"])
    assert listed(ids, classes=["a", "b", "c"]).classes == ("a", "b", "c")


def test_an_empty_label_makes_the_field_optional(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg")
    source = listed(table(tmp_path, "image,label\n0.jpg,cat\n1.jpg,\n"))
    converted(source, tmp_path / "out")

    assert source.fields == {"label?": "cls"}
    assert streamed(tmp_path / "out")["1"].get("label") is None


BOXES = "image,xmin,ymin,xmax,ymax,class,occluded,group,width,height\n"


def test_rows_of_one_image_are_its_objects_wherever_they_stand(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    rows = [
        "0.jpg,1,2,30,20.5,dog,true,p1,48,40\n",
        "1.jpg,,,,,,,p2,48,40\n",
        "./0.jpg,0,0,48,40,cat,,p1,48,40\n",
        "2.jpg,5,5,6,7,cat,false,,48,40\n",
    ]
    expected = {
        "0": ([[1, 2, 30, 20.5], [0, 0, 48, 40]], [1, 0], [True, None], "p1"),
        "1": ([], [], [], "p2"),
        "2": ([[5, 5, 6, 7]], [0], [False], None),
    }
    for name, order in (("apart", rows), ("together", [rows[i] for i in (0, 2, 1, 3)])):
        path = table(tmp_path, BOXES + "".join(order), f"{name}.csv")
        source = listed(path, columns={"group": "group"})
        converted(source, tmp_path / name)
        found = streamed(tmp_path / name)
        stored = metadata(tmp_path / name)

        assert [item.key for item in source.items] == ["0", "1", "2"]
        for key, (boxes, labels, occluded, group) in expected.items():
            assert found[key]["bboxes"].tolist() == boxes
            assert found[key]["bboxes"].shape == (len(boxes), 4)
            assert found[key]["bbox_labels"].tolist() == labels
            objects = stored[key]["objects"]
            assert [one["occluded"] for one in objects] == occluded
            assert stored[key].get("group") == group


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.one_of(st.none(), st.tuples(*[st.integers(-3, 60)] * 4)),
            st.sampled_from(["a", "b"]),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        ),
        min_size=1, max_size=12,
    ),
    st.sampled_from(",;\t"),
)  # fmt: skip
def test_no_row_is_lost_or_changed(tmp_path_factory, rows, delimiter):
    folder = tmp_path_factory.mktemp("rows")
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["path", "x1", "y1", "x2", "y2", "label", "remark", "text_only"])
    for image, box, label, text in rows:
        cells = [""] * 4 if box is None else [v + 0.5 for v in box]
        writer.writerow([f"{image}.jpg", *cells, label, text, "x"])
    path = table(folder, out.getvalue())
    source = listed(path, columns={"normalized": "false"})

    boxed, bare = [], []
    for item in source.items:
        told = json.loads(item.notes)
        image = int(item.key)
        names = [source.classes[one[1]] for one in told["objects"]]
        boxed += [
            (image, tuple(one[0]), name, one[2])
            for one, name in zip(told["objects"], names, strict=True)
        ]
        bare += [
            (image, one["label"], one.get("remark")) for one in told.get("rows", ())
        ]
    texts = {text for *_, text in rows if text}
    assert sorted(map(repr, boxed)) == sorted(
        repr((image, tuple(v + 0.5 for v in box), label, typed(text, texts)))
        for image, box, label, text in rows
        if box is not None
    )
    assert sorted(map(repr, bare)) == sorted(
        repr((image, label, typed(text, texts)))
        for image, box, label, text in rows
        if box is None
    )


def typed(text, column):
    """What stands for a text in a column of these texts."""
    for kind, pattern in ((bool, "(?i:true|false)"), (int, "0|-?[1-9][0-9]*")):
        import re

        if column and all(re.fullmatch(pattern, one) for one in column):
            return None if not text else kind(text) if kind is int else text[0] in "tT"
    if column and all(
        re.fullmatch(r"-?(0|[1-9]\d*)?\.?\d*", t, re.ASCII) for t in column
    ):
        return float(text) if text else None
    return text or None


def test_an_image_that_stands_twice_without_boxes_is_refused_with_both_lines(tmp_path):
    path = table(tmp_path, "image,label\na.jpg,1\nb.jpg,1\n\n./a.jpg,2\n")

    with pytest.raises(DataRefused, match="line 2 and line 5 have one image"):
        listed(path)


def test_rows_of_one_image_that_contradict_each_other_are_its_error(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    path = table(
        tmp_path,
        BOXES
        + "0.jpg,1,2,30,20,dog,,p1,48,40\n0.jpg,1,2,30,20,dog,,p2,48,40\n"
        + "1.jpg,1,2,30,,dog,,,48,40\n"
        + "2.jpg,1,2,30,20,,,,48,40\n"
        + "3.jpg,1,2,30,20,cat,,,47,40\n"
        + "4.jpg,1,2,30,20,cat,,,48,40\n"
        + ",1,2,30,20,cat,,,48,40\n"
        + "gone.jpg,1,2,30,20,cat,,,48,40\n",
    )  # fmt: skip
    converted(listed(path, columns={"group": "group"}), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == ["4"]
    reasons = {error["key"]: error["reason"] for error in errors(tmp_path / "out")}
    assert reasons.keys() == {"0", "1", "2", "3", "table-000008", "gone"}
    assert "line 2 and 3 are of one image, and differ in its group" in reasons["0"]
    assert "line 4: [1, 2, 30, None] is no box of 4 numbers" in reasons["1"]
    assert "line 5: the box has no label" in reasons["2"]
    assert "for an image of 47x40 px, the file has 48x40 px" in reasons["3"]
    assert "line 8 names no image" in reasons["table-000008"]
    assert "gone.jpg: No such file" in reasons["gone"]


def test_widths_of_boxes_and_of_images_are_told_apart(tmp_path):
    images(tmp_path, "0.jpg")
    for i, header in enumerate(("x,y,w,h", "left,top,box_width,box_height")):
        path = table(tmp_path, f"img,{header},width,height\n0.jpg,1,2,10,20,48,40\n")
        source = listed(path)
        converted(source, tmp_path / f"out{i}")
        (sample,) = streamed(tmp_path / f"out{i}").values()

        assert sample["bboxes"].tolist() == [[1, 2, 11, 22]]
    path = table(tmp_path, "img,x,y,width,height\n0.jpg,1,2,10,20\n")
    with pytest.raises(UsageError, match='"box_width": "width"'):
        listed(path)
    columns = {"x_min": "x", "y_min": "y", "box_width": "width", "box_height": "height"}
    source = listed(path, columns=columns)
    assert source.reader(source.items[0]).notes == {
        "objects": [{"bbox": [1.0, 2.0, 11.0, 22.0]}]
    }
    source = listed(path, columns={"width": "width", "height": "height"})
    assert source.fields == {}


def test_what_a_row_without_a_box_says_is_kept_and_makes_no_class(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg")
    path = table(
        tmp_path,
        "image,xmin,ymin,xmax,ymax,finding,by\n0.jpg,,,,,none,7\n1.jpg,1,2,3,4,lump,\n",
    )
    source = listed(path, columns={"bbox_label": "finding"})
    converted(source, tmp_path / "out")

    assert source.classes == ("lump",)
    assert metadata(tmp_path / "out")["0"] == {
        "objects": [], "rows": [{"by": 7, "finding": "none"}]
    }  # fmt: skip


def test_the_size_of_an_image_is_checked_though_nothing_lies_in_it(tmp_path):
    images(tmp_path, "0.jpg", "1.jpg")
    path = table(tmp_path, "image,width,height\n0.jpg,48,40\n1.jpg,40,48\n")
    converted(listed(path), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == ["0"]
    assert "an image of 40x48 px" in errors(tmp_path / "out")[0]["reason"]


def test_captions_are_text_whatever_they_look_like(tmp_path):
    images(tmp_path, "1.0", "2.50")
    path = table(tmp_path, ",image,text\n0,1.0,1.50\n1,2.50,7\n")
    converted(listed(path), tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert [sample["caption"] for sample in found.values()] == ["1.50", "7"]
    assert metadata(tmp_path / "out")["2"] == {"column_1": 1}


def test_boxes_that_could_be_fractions_are_refused_until_somebody_says_it(tmp_path):
    images(tmp_path, "0.jpg")
    path = table(
        tmp_path, "ImageID,XMin,XMax,YMin,YMax,LabelName\n0,0.25,0.5,0,1,/m/01\n"
    )
    said = {"image": "ImageID"}

    with pytest.raises(DataRefused, match=r'"normalized": "true".*px, "false"'):
        listed(path, columns=said)
    for text, box in (("true", [12, 0, 24, 40]), ("false", [0.25, 0, 0.5, 1])):
        source = listed(path, columns={**said, "normalized": text})
        converted(source, tmp_path / text)
        (sample,) = streamed(tmp_path / text).values()

        assert sample["__key__"] == "0"  # the name without extension was completed
        assert sample["bboxes"].tolist() == [box]
    with pytest.raises(UsageError, match='must be "true" or "false"'):
        listed(path, columns={**said, "normalized": "yes"})


@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_fractions_of_a_turned_image_are_of_the_frame_that_is_said(tmp_path, frame):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo(0)).save(tmp_path / "0.jpg", exif=exif)  # upright 40x48
    path = table(tmp_path, "image,xmin,ymin,xmax,ymax\n0.jpg,0,0,1,0.5\n")
    source = listed(path, columns={"normalized": "true"}, frame=frame)
    converted(source, tmp_path / "out", frame=frame)
    (sample,) = streamed(tmp_path / "out").values()

    upper, right = [0, 0, 40, 24], [20, 0, 40, 48]
    assert sample["bboxes"].tolist() == [right if frame == "stored" else upper]


def test_columns_that_could_be_one_field_are_refused_with_the_way_to_say_it(tmp_path):
    for header, said in (
        ("image,path", r'image could be any of the columns image, path.*"image": "im'),
        ("a,b", "no column of .* is known to be the image"),
        ("image,xmin,ymin,ymax", "no x_max and y_max|columns of boxes"),
        ("image,xmin,ymin,xmax,ymax,left,top,right,bottom", "boxes could be"),
        ("image,frame", '"my_frame": "frame"'),
        ("image,objects", '"my_objects": "objects"'),
        ("image,image", "stand twice"),
    ):
        path = table(tmp_path, f"{header}\n" + ",".join("1" for _ in header.split(",")))
        with pytest.raises((UsageError, DataRefused), match=said):
            listed(path)
    path = table(tmp_path, "image,frame,label,y\na.jpg,3,b,7\n")
    columns = {"my_frame": "FRAME", "label": "y", "name": "label"}
    source = listed(path, columns=columns)
    assert source.reader.names == ("my_frame", "name")
    assert source.fields == {
        "label": "cls", "my_frame": "json:my_frame", "name": "json:name"
    }  # fmt: skip
    for columns in ({"label": "gone"}, {"masks": "y"}, {"a b": "y"}, {"x_min": "y"}):
        with pytest.raises(UsageError):
            listed(path, columns={**columns, "my_frame": "frame"})


def test_a_column_that_the_user_names_is_a_field_of_the_sample(tmp_path):
    images(tmp_path, "0.jpg")
    path = table(tmp_path, "image,Age (years),n\n0.jpg,31,1\n")
    converted(listed(path, columns={"age": "Age (years)"}), tmp_path / "out")

    assert streamed(tmp_path / "out")["0"]["age"] == 31
    assert metadata(tmp_path / "out")["0"] == {"n": 1, "age": 31}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,label\na.jpg,1\nb.jpg\n", "line 3: 1 cells, the header has 2"),
        ('image,label\n"a\n.jpg",1\nb.jpg,1,2\n', "line 4: 3 cells"),
        ('image,label\na.jpg,"x\n', "line 2: unexpected end of data"),
        ("image,label\n", "has no row"),
        ("", "no column of"),
        ("image\nhttps://x.org/a.jpg\n", "line 2: .* is a URL.*img2dataset"),
        ("image\ns3://x/a.jpg\n", "is a URL"),
        ("image\n../a.jpg\n", "lies outside of"),
        ("image\n/etc/passwd\n", "lies outside of"),
        ("image\nlink/a.jpg\n", "lies outside of"),
        ("image\nlink.jpg\n", "lies outside of"),
        ("image\nfolder\n", "is no file"),
    ],
)
def test_what_is_no_sound_table_is_refused_by_its_line(tmp_path, text, said):
    images(tmp_path, "a.jpg")
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (home / "link").symlink_to(tmp_path)
    (home / "link.jpg").symlink_to(tmp_path / "a.jpg")

    with pytest.raises((DataRefused, UsageError), match=said):
        listed(table(home, text))


def test_images_may_lie_outside_where_the_user_says_it(tmp_path):
    images(tmp_path, "a.jpg", "other/b.jpg")
    (tmp_path / "home").mkdir()
    path = table(tmp_path / "home", f"image\n../a.jpg\n{tmp_path}/other/b.jpg\n")
    converted(listed(path, allow_outside=True), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == ["a", "other/b"]
    assert len(listed(path, images=str(tmp_path / "other"), allow_outside=True).items)
    inner = table(tmp_path / "home", f"image\nother/b.jpg\n{tmp_path}/a.jpg\n")
    assert [i.place for i in listed(inner, images=str(tmp_path)).items] == [
        "other/b.jpg", "a.jpg"
    ]  # fmt: skip
    with pytest.raises(SecurityRefused):
        listed(path)


def test_other_encodings_are_refused_and_a_byte_order_mark_is_not(tmp_path):
    images(tmp_path, "a.jpg")
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffimage;größe\na.jpg;1\n".encode())
    assert listed(path).reader.names == ("größe",)
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes("image;größe\na.jpg;1\n".encode(encoding))
        with pytest.raises(DataRefused, match="no UTF-8"):
            listed(path)


def test_lines_of_json_keep_their_types_and_lists(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    rows = [
        {"file_name": "a.jpg", "label": [1, 0.5], "deep": {"x": [1, None]}, "n": 2**60},
        {"file_name": "b.jpg", "label": [0, 1], "code": "007", "n": 1.5},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows)
    path = table(tmp_path, text, "metadata.jsonl")
    converted(listed(tmp_path), tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert found["a"]["label"].tolist() == [1, 0.5]
    assert metadata(tmp_path / "out") == {
        "a": {"deep": {"x": [1, None]}, "n": 2**60, "code": None, "label": [1, 0.5]},
        "b": {"deep": None, "n": 1.5, "code": "007", "label": [0, 1]},
    }
    for bad in ("[1]", '{"a": NaN}', '{"a": 1, "a": 2}', "{"):
        path.write_text(f"{text}\n{bad}\n")
        with pytest.raises(DataRefused, match=r"metadata\.jsonl, line 4"):
            listed(path)


def test_text_that_is_no_unicode_is_its_samples_error(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    text = '{"image": "a.jpg", "t": "\\ud800"}\n{"image": "b.jpg", "t": "x"}\n'
    converted(listed(table(tmp_path, text, "t.jsonl")), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == ["b"]
    assert "line 1 cannot be stored as JSON" in errors(tmp_path / "out")[0]["reason"]


def test_masks_of_a_table_are_stored(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    mask = np.zeros((40, 48), np.uint8)
    mask[3:9, 5:7] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    Image.fromarray(mask[:5]).save(tmp_path / "b.png")
    path = table(tmp_path, "image,mask_path\na.jpg,a.png\nb.jpg,b.png\nc.jpg,\n")
    source = listed(path)
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert source.fields == {"mask?": "mask.png"}
    assert "mask <- mask_path (0 and 255, written as 0 and 1)" in source.said
    assert np.array_equal(found["a"]["mask"], mask // 255)
    assert found["c"].get("mask") is None
    assert "b" not in found


def parquet(path, rows, *, names=None, group=2):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    made = pa.Table.from_pylist(rows)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        told = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": told})
    pq.write_table(made, path, row_group_size=group)
    return path


@pytest.mark.parametrize("kept", [2**27, 0])
def test_parquet_of_hugging_face_gives_the_bytes_that_it_holds(
    tmp_path, kept, monkeypatch
):
    from datetime import date

    monkeypatch.setattr(table_cells, "_KEPT", kept)
    files = [encode_image(photo(i), "png") for i in range(7)]
    mask = np.full((40, 48), 3, np.uint8)
    masks = io.BytesIO()
    Image.fromarray(mask).save(masks, "PNG")
    rows = [
        {
            "image": {"bytes": data, "path": "x.png" if i < 2 else None},
            "label": i % 2,
            "mask": {"bytes": masks.getvalue(), "path": None},
            "day": date(2024, 1, i + 1),
            "share": float("nan") if i == 3 else i / 2,
            "raw": b"\0",
        }
        for i, data in enumerate(files)
    ]
    path = parquet(tmp_path / "a.parquet", rows, names=["no", "yes"])
    source = pickle.loads(pickle.dumps(listed(path)))
    converted(source, tmp_path / "out", keep_order=False)
    found = streamed(tmp_path / "out")
    keys = ["x", "x-2", *(f"row-{i:06d}" for i in range(2, 7))]

    assert source.classes == ("no", "yes")
    assert [item.place for item in source.items] == [f"row {i}" for i in range(7)]
    mean = (sum(map(len, files[:2])) + 2 * len(masks.getvalue())) / 2
    assert mean <= source.items[0].size < mean + 1000
    assert "not carried, as JSON has no bytes: raw" in source.said
    for i, key in enumerate(keys):
        pixels = found[key]["image"].numpy().transpose(1, 2, 0)
        assert np.array_equal(pixels, photo(i))
        assert np.array_equal(found[key]["mask"], mask)
        assert found[key]["label"] == i % 2
    stored = metadata(tmp_path / "out")
    assert stored[keys[3]]["day"] == "2024-01-04"
    assert stored[keys[3]]["share"] is None
    assert stored[keys[4]]["share"] == 2.0


@pytest.mark.parametrize("kept", [2**27, 0])
def test_any_order_reads_the_row_that_is_asked_for(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(table_cells, "_KEPT", kept)
    rows = [{"image": f"image {i}".encode(), "file_name": f"{i}"} for i in range(90)]
    source = listed(parquet(tmp_path / "a.parquet", rows, group=40))
    order = np.random.default_rng(0).permutation(90).tolist()

    assert "image <- image; carried as they are: file_name" in source.said
    for i in [*order, 41, 41, 40, 79, 0]:
        raw = source.reader(source.items[i])
        assert raw.image == f"image {i}".encode()
        assert raw.notes == {"file_name": f"{i}"}


def test_parquet_can_hold_bytes_alone_or_paths_alone(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    bare = listed(parquet(tmp_path / "1.parquet", [{"image": JPEG}, {"image": None}]))
    assert [item.key for item in bare.items] == ["row-000000", "row-000001"]
    assert bare.reader(bare.items[0]).image == JPEG
    with pytest.raises(DataRefused, match=r"row 1 of .* has no bytes"):
        bare.reader(bare.items[1])

    rows = [{"path": "a.jpg", "x1": 1, "y1": 2, "x2": 3, "y2": 4, "label": "a"}] * 2
    source = listed(parquet(tmp_path / "2.parquet", rows))
    assert source.reader(source.items[0]).notes == {
        "objects": [{"bbox": [1.0, 2.0, 3.0, 4.0], "label": 0}] * 2
    }
    pa = pytest.importorskip("pyarrow")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": None, "path": "b.jpg"}], kind)
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"image": cells}), tmp_path / "3.parquet")
    source = listed(tmp_path / "3.parquet")
    assert source.reader(source.items[0]).image == JPEG
    (tmp_path / "4.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataRefused, match="is no Parquet file"):
        listed(tmp_path / "4.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    def gone(name):
        raise ImportError(name)

    monkeypatch.setattr(table_cells, "import_module", gone)
    images(tmp_path, "a.parquet")
    with pytest.raises(UsageError, match=r"pip install 'fiberaug\[parquet\]'"):
        listed(tmp_path / "a.parquet")


def test_a_folder_is_a_table_where_there_is_one_or_metadata(tmp_path):
    table(tmp_path, "image\na.jpg\n", "one.tsv")
    assert len(listed(tmp_path).items) == 1
    assert not looks_like_table(tmp_path)
    table(tmp_path, "image\na.jpg\nb.jpg\n", "two.csv")
    with pytest.raises(UsageError, match=r"has 2 tables: one\.tsv, two\.csv"):
        listed(tmp_path)
    table(tmp_path, "file_name\na.jpg\nb.jpg\nc.jpg\n", "metadata.csv")
    assert len(listed(tmp_path).items) == 3
    assert looks_like_table(tmp_path)
    assert looks_like_table(tmp_path / "one.tsv")
    assert not looks_like_table(tmp_path / "gone.csv")


def test_the_reader_is_told_by_what_it_does_and_not_by_where(tmp_path):
    for name in ("a", "b"):
        images(tmp_path / name, "0.jpg")
        table(tmp_path / name, "image,age\n0.jpg,1\n")
    one, other = (listed(tmp_path / name) for name in ("a", "b"))

    assert repr(one.reader) == repr(other.reader)
    assert one.items.digest() == other.items.digest()
