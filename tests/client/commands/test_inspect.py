"""`poseglass inspect`."""

from __future__ import annotations

from poseglass import read_picture


def test_help_says_the_extra(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "needs [training]" in run("inspect", "--help").stdout


def test_inspect_writes_a_sheet(run, tiny_model_path, pictures, tmp_path):
    out = tmp_path / "sheets"
    result = run("inspect", pictures / "one.jpg", "--model", tiny_model_path, "--out", out, "--box", "2,2,30,40")
    assert sorted(file.name for file in out.iterdir()) == ["one-person1-heatmaps.npz", "one-person1-heatmaps.png"]
    assert "one-person1-heatmaps.png" in result.stdout


def test_inspect_shows_the_layers_of_a_checkpoint(run, tiny_model_path, tiny_checkpoint_path, pictures, tmp_path):
    arguments = ["--model", tiny_model_path, "--out", tmp_path, "--checkpoint", tiny_checkpoint_path, "--layers"]
    run("inspect", pictures / "one.jpg", *arguments)
    sheets = [file for file in tmp_path.iterdir() if file.suffix == ".png"]
    assert len(sheets) > 2
    assert not any(" " in sheet.name for sheet in sheets)
    for sheet in sheets:
        assert read_picture(sheet).std() > 0


def test_inspect_asks_for_the_checkpoint_where_it_cannot_know_it(run, one_line, tiny_model_path, pictures, tmp_path):
    line = one_line(run("inspect", pictures / "one.jpg", "--model", tiny_model_path, "--layers", expect=2))
    assert "--checkpoint" in line
    line = one_line(run("inspect", pictures / "one.jpg", "--checkpoint", tmp_path / "gone.pt", expect=2))
    assert "gone.pt" in line
    assert "gone.jpg" in one_line(run("inspect", "gone.jpg", expect=2))
