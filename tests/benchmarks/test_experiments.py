"""The seed experiments on rendered figures: what is done is not redone, and the page says what is there."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import experiments
from experiment.page import BEGIN, END, difference, mean_and_spread, write_page
from experiment.rows import BASELINE, GROUPS, Budget, Group, Row, rows_of
from experiment.runs import choose, load_result, result_path
from poseglass_core.skeleton import LSP
from poseglass_training.annotations import KeypointData, Person
from poseglass_training.cost import cost
from poseglass_training.figures import render_figure
from poseglass_training.loop import Diverged
from poseglass_training.networks import HourglassConfig
from poseglass_training.pasting import encode_png

MICRO = Budget(size=64, epochs=2, people=5, batch_size=4)
NETWORK = HourglassConfig(joints=1, stacks=2, features=8, depth=2)
GROUP = Group(
    "stacks",
    "How many?",
    "One or two.",
    (Row(BASELINE, "two stacks", NETWORK), Row("one", "one stack", replace(NETWORK, stacks=1))),
)


@pytest.fixture(autouse=True)
def threads():
    """A run sets PyTorch's; other tests get back what they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight rendered figures, ids 17 to 24, of which 17 is dev."""
    folder, people = tmp_path_factory.mktemp("figures"), []
    for i in range(17, 25):
        figure = render_figure(np.random.default_rng(i), (160, 120), fill=(0.9, 0.98))
        (folder / f"{i}.png").write_bytes(encode_png(figure.image))
        people.append(Person(i, folder / f"{i}.png", figure.box, figure.joints, np.ones(14, bool)))
    return choose(KeypointData("figures", LSP, people), MICRO)


def work(data, out, budget=MICRO, seeds=2, limit=None):
    return experiments.run((GROUP,), budget, data, out, seeds, limit, workers=0)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """All runs of two seeds, made in two pieces."""
    out = tmp_path_factory.mktemp("results")
    assert work(data, out, limit=1) == 0
    assert [file.name for file in out.iterdir()] == ["baseline-seed0.json"]
    assert work(data, out) == 0
    return out


def test_every_run_leaves_one_file_that_says_all(done, data):
    names = sorted(file.name for file in done.iterdir())
    assert names == ["baseline-seed0.json", "baseline-seed1.json", "one-seed0.json", "one-seed1.json"]
    value = json.loads((done / "one-seed1.json").read_text())
    assert (value["row"], value["seed"], value["data"]) == ("one", 1, {"name": "figures", "people": 5, "dev_people": 1})
    assert value["budget"]["epochs"] == 2
    assert value["recipe"]["network"]["stacks"] == 1
    result = load_result(done, GROUP.rows[1], 1, MICRO, data)
    assert len(result.dev_pck) == len(result.loss) == 2
    assert result.parameters == cost(replace(NETWORK, joints=14, stacks=1)).parameters
    assert result.gmac == cost(replace(NETWORK, joints=14, stacks=1, input_size=(64, 64))).gmac
    other = load_result(done, GROUP.rows[1], 0, MICRO, data)
    assert other.loss != result.loss  # the seed is used


def test_what_is_done_is_not_redone_but_what_is_stale_is(done, data, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(experiments, "run_row", lambda _out, row, seed, *_: asked.append((row.name, seed)) or 1 / 0)
    work(data, done)
    assert asked == []
    for changed in (
        {"budget": replace(MICRO, learning_rate=1e-3)},
        {"data": replace(data, train=replace(data.train, name="others"))},
    ):
        with pytest.raises(ZeroDivisionError):
            work(**{"data": data, "out": done, **changed})
    assert asked == [("baseline", 0)] * 2
    assert load_result(done, replace(GROUP.rows[0], loss="mse"), 0, MICRO, data) is None
    result_path(tmp_path, GROUP.rows[0], 0).write_text('{"row": "base')
    assert load_result(tmp_path, GROUP.rows[0], 0, MICRO, data) is None


def test_every_row_gets_its_first_seed_before_any_gets_its_second(data, tmp_path, monkeypatch):
    asked = []

    def diverge(_out, row, seed, *_):
        asked.append((row.name, seed))
        raise Diverged("the loss became nan")

    monkeypatch.setattr(experiments, "run_row", diverge)
    assert work(data, tmp_path) == 4
    assert asked == [("baseline", 0), ("one", 0), ("baseline", 1), ("one", 1)]


def test_a_killed_run_leaves_nothing_and_the_others_stay(data, tmp_path, monkeypatch):
    work(data, tmp_path, seeds=1, limit=1)
    monkeypatch.setattr("experiment.runs.cost", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        work(data, tmp_path, seeds=1)
    assert [file.name for file in tmp_path.iterdir()] == ["baseline-seed0.json"]


def test_the_page_shows_what_is_there_and_keeps_what_was_written(done, data, tmp_path):
    results = experiments.results_of((GROUP,), MICRO, data, done, 3)
    del results["one"][1]
    page = write_page(tmp_path, (GROUP,), MICRO, data, results)
    text = page.read_text()
    finals = [result.dev_pck[-1] for result in results[BASELINE].values()]
    assert f"| two stacks | 0.001 | 0.01 M | 2 | {mean_and_spread(finals)} |  |" in text
    assert "| one stack | " in text
    assert "1 to 2 seeds a row, 3 runs" in text
    assert "5 people of figures, 2 epochs, crops of 64 × 64" in text
    assert (tmp_path / "images" / "experiments-stacks.png").read_bytes().startswith(b"\x89PNG")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\nTwo are better.\n{END}{rest.split(END)[1]}")
    again = write_page(tmp_path, (GROUP,), MICRO, data, {}).read_text()
    assert f"{BEGIN}\nTwo are better.\n{END}" in again
    assert "| one stack | – | – | 0 | – | – |" in again
    assert "0 seeds a row, 0 runs" in again
    assert ".png" not in again


def test_figures_and_their_spread():
    assert mean_and_spread([10.0]) == "10.0"
    assert mean_and_spread([10.0, 12.0, 14.0]) == "12.0 ± 2.0"
    assert difference([10.0], [8.0, 9.0]) == "+1.5"
    assert difference([10.0, 10.0], [9.0, 9.0]) == "+1.0"
    assert difference([10.0], []) == "–"
    # Welch by hand: variances 4 and 1 of 3 each, standard error 1.291, 2.94 degrees of freedom, t = 3.216.
    assert difference([8.0, 10.0, 12.0], [4.0, 5.0, 6.0]) == "+5.0 (+0.8 to +9.2)"


def test_groups_share_a_baseline_and_rows_have_names_of_their_own():
    assert all(group.rows[0] is GROUPS[0].rows[0] for group in GROUPS)
    rows = rows_of(GROUPS)
    assert len({row.name for row in rows}) == len(rows) == 13
    recipes = [row.preset(Budget()) for row in rows]  # raises where a network cannot take the crops
    assert all(a != b for i, a in enumerate(recipes) for b in recipes[:i])
    by_name = {row.name: row for group in GROUPS for row in reversed(group.rows)}
    for group in GROUPS:  # rows of one name that are labelled otherwise are the same run
        assert all(row.preset(Budget()) == by_name[row.name].preset(Budget()) for row in group.rows)


def test_rows_at_equal_cost_cost_the_same():
    gmac = {row.name: cost(replace(row.preset(Budget()).network, joints=14)).gmac for row in rows_of(GROUPS)}
    different = {"stacks-1", "stacks-4"}
    for name in gmac.keys() - different:
        assert gmac[name] == pytest.approx(gmac[BASELINE], rel=0.05), name
    assert gmac["stacks-1"] < 0.7 * gmac[BASELINE]
    assert gmac["stacks-4"] > 1.5 * gmac[BASELINE]


def test_the_command_refuses_what_it_does_not_know(tmp_path):
    app = typer.Typer()
    app.command()(experiments.main)
    arguments = ["--data", str(tmp_path / "none.json"), "--out", str(tmp_path)]
    refused = CliRunner().invoke(app, [*arguments, "--only", "colour"])
    assert refused.exit_code == 2
    assert "no group is called 'colour'" in " ".join(refused.output.split())
    missing = CliRunner().invoke(app, arguments)
    assert missing.exit_code == 2
    assert "no such annotation file" in missing.output
