"""Which pictures the command line means, and what it calls what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass import InvalidRequest
from poseglass.commands.files import output_folder, output_names
from poseglass.commands.finding import find_pictures
from poseglass.pictures import read_picture, save_picture


def names(files):
    return [f"{file.parent.name}/{file.name}" for file in files]


def test_files_folders_and_globs(pictures):
    here = pictures.name
    assert names(find_pictures([str(pictures)])) == [f"{here}/one.jpg", f"{here}/two.png"]
    assert names(find_pictures([f"{pictures}/*"])) == [f"{here}/one.jpg", f"{here}/two.png"]
    assert names(find_pictures([f"{pictures}/**/x.jpg"])) == ["a/x.jpg", "b/x.jpg"]
    assert names(find_pictures([f"{pictures}/notes.txt"])) == [f"{here}/notes.txt"]  # asked for: then it is tried


def test_a_file_named_twice_is_done_once_where_it_was_named_first(pictures):
    one = str(pictures / "one.jpg")
    found = find_pictures([str(pictures / "a"), one, str(pictures), f"{pictures}/a/../one.jpg"])
    assert names(found) == ["a/x.jpg", f"{pictures.name}/one.jpg", f"{pictures.name}/two.png"]


def test_a_file_whose_name_looks_like_a_glob(pictures):
    odd = pictures / "photo[1].jpg"
    odd.write_bytes((pictures / "one.jpg").read_bytes())
    assert find_pictures([str(odd)]) == [odd]


def test_everything_that_is_wrong_is_said_at_once(pictures):
    (pictures / "empty").mkdir()
    arguments = [str(pictures / "gone.jpg"), str(pictures / "empty"), f"{pictures}/*.webp", f"{pictures}/*.txt"]
    with pytest.raises(InvalidRequest) as caught:
        find_pictures([*arguments, str(pictures / "one.jpg")])
    message = str(caught.value)
    assert "gone.jpg: no such file" in message
    assert "empty: no picture" in message
    assert "*.webp: matches nothing" in message
    assert "*.txt: matches no picture" in message
    assert "/**/*'" in message  # of every kind
    wrong = find_pictures_error("", "https://example.org/a.jpg", "/dev/zero")
    assert "the path is empty" in wrong
    assert "URLs are not fetched" in wrong
    assert "/dev/zero: is a device" in wrong


def find_pictures_error(*arguments):
    with pytest.raises(InvalidRequest) as caught:
        find_pictures(arguments)
    return str(caught.value)


def test_names_are_short_where_they_can_be(tmp_path):
    files = [tmp_path / name for name in ("a/x.jpg", "b/x.jpg", "a/y.jpg", "a/y.png", "z.jpg")]
    assert list(output_names(files).values()) == ["a-x", "b-x", "a-y-jpg", "a-y-png", "z"]
    assert output_names([]) == {}


parts = st.lists(st.sampled_from(["a", "A", "b", "a-b"]), max_size=3)
paths = st.tuples(parts, st.sampled_from(["a", "b", "a-b", "b-jpg"]), st.sampled_from([".jpg", ".JPG", ".png"]))


@given(st.lists(paths, min_size=1, max_size=12))
def test_no_two_files_ever_share_a_name(items):
    files = list(dict.fromkeys(Path("/nowhere", *folders, stem + suffix) for folders, stem, suffix in items))
    given_names = [name.casefold() for name in output_names(files).values()]
    assert len(given_names) == len(files)
    assert len(set(given_names)) == len(files)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, pictures, monkeypatch):
    image = read_picture(pictures / "one.jpg")
    path = tmp_path / "out.png"
    save_picture(path, image)
    assert (read_picture(path) == image).all()
    before = path.read_bytes()

    def no_space(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space") as caught:
        save_picture(path, 255 - image)
    assert caught.value.filename == str(path)  # not the temporary file's name
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["out.png"]


@pytest.mark.parametrize("data", [b"", b"text"])
def test_a_file_that_is_no_picture_is_named(tmp_path, data, monkeypatch):
    path = tmp_path / "a b.jpg"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"a b\.jpg: is "):
        read_picture(path)
    for name in [name for name in sys.modules if name.startswith("poseglass_runtime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)  # the client alone
    with pytest.raises(InvalidRequest, match=r"a b\.jpg: cannot be decoded"):
        read_picture(path)


def test_without_the_runtime_pictures_are_read_too(pictures, monkeypatch):
    expected = read_picture(pictures / "two.png")
    for name in [name for name in sys.modules if name.startswith("poseglass_runtime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert (read_picture(pictures / "two.png") == expected).all()


def test_pictures_are_read_by_the_rules_of_the_predictor(pictures):
    """OpenCV alone fills what is missing with grey, and reads kinds of files that the server refuses."""
    (pictures / "cut.jpg").write_bytes((pictures / "one.jpg").read_bytes()[:-20])
    with pytest.raises(InvalidRequest, match=r"cut\.jpg: the JPEG file is truncated") as caught:
        read_picture(pictures / "cut.jpg")
    assert caught.value.field == "image.encoded"


def test_a_folder_that_cannot_be_written_into_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    assert output_folder(tmp_path / "new") == tmp_path / "new"
    assert list((tmp_path / "new").iterdir()) == []

    def refuse(**where):
        raise PermissionError(13, "Permission denied", str(where["dir"]))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(InvalidRequest, match=r"new: cannot be written into \(Permission denied\)"):
        output_folder(tmp_path / "new")
