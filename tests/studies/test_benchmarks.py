"""What is made of the timings: ratios within a task, with what each contender reached."""

import json

import pytest

from studies import benchmarks
from studies.benchmarks import figures, rows, scale
from unlearnlib.lab import documents, profiles, publish, results
from unlearnlib.lab.files import repository_root


def timing(task, contender, median, rounds=3, **facts):
    stats = {"median": median, "min": 0.9 * median, "max": 1.2 * median, "rounds": rounds}
    return {"stats": stats, "extra_info": {"task": task, "contender": contender, **facts}}


TIMINGS = [
    timing("solve", "ours", 2.0, residual=0.01),
    timing("memory", "MLP", 9.0, rounds=1, times=1.5, note="512 samples"),
    timing("solve", "released", 30.0, rounds=1, against=True, residual=0.5, note="capped"),
    timing("retrain", "retraining", 4.0, rounds=1, against=True, seconds=100.0),
    timing("retrain", "ours", 5.0),
    timing(rows.RESNET, "gradient", 0.5, against=True, flop=1e9),
    timing(rows.RESNET, "Hessian, fresh", 1.5, beside=0.6),
]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("UNLEARNLIB_PROFILE", "smoke")
    (tmp_path / "timings.json").write_text(json.dumps({"benchmarks": TIMINGS}))
    rows.main(str(tmp_path / "timings.json"))
    return results.load(rows.NAME, "smoke")


def test_a_ratio_is_that_to_the_reference_of_its_task(saved):
    timed = saved.table("timings")
    assert list(timed.task[:5]) == ["solve", "solve", "memory", "retrain", "retrain"]
    faster = timed["times faster"]
    assert list(faster[[0, 1, 3, 4]]) == [15.0, 1.0, 1.0, 20.0]  # 100 s, as it says itself
    assert faster.isna()[2]  # memory is no time
    assert faster[6] == 0.6 / 1.5  # the reference in turn with it, not the one before


def test_the_table_says_what_was_reached(saved):
    lines = rows.table(saved).splitlines()[4:]
    assert lines[0] == "| solve | ours | 15 (12.5 to 16.7) | 0.0667 | residual 0.01 |"
    assert lines[1] == "|  | released | reference | 1 | residual 0.5; capped |"
    assert lines[2] == "| memory | MLP | - | - | 1.5 times; 512 samples |"
    assert lines[4] == "|  | ours | 20 (16.7 to 22.2) | 0.05 | - |"


def test_the_figure_has_a_bar_for_each_ratio(saved):
    (ax,) = figures.speed(saved).axes
    assert len(ax.patches) == 6
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(
        saved.table("timings").dropna(subset=["times faster"]).contender
    )


def test_the_estimate_follows_from_what_was_measured(saved):
    estimates = saved.table("scale").set_index("processes")
    one, eight = estimates.loc[1], estimates.loc[8]
    assert one["flop a second"] == 1e9 * 128 / 0.5 and one["gradients a product"] == 2.5
    size = scale.imagenet()
    assert size.parameters == 25_557_032
    # three times the forward pass: 4.1 billion products and sums of two floats each
    assert size.flop == pytest.approx(3 * 2 * 4.1e9, rel=0.02)
    hours = (1000 + 17 * 2.5 * 50_000) * size.flop / one["flop a second"] / 3600
    assert one["request, hours"] == pytest.approx(hours)
    assert eight["request, hours"] == pytest.approx(hours / 8)
    assert one["gigabytes a process"] == eight["gigabytes a process"] > 8 * 4 * 25_557_032 / 1e9


def test_the_page_of_figures_shows_the_committed_timings(monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_FIGURES", "figures")
    committed = results.load(rows.NAME, documents.PROFILE)
    page = (repository_root() / documents.FIGURES).read_text()
    assert list(benchmarks.TABLES) == ["bench", "scale"]
    for name, table in benchmarks.TABLES.items():
        assert publish.between(page, name, table(committed)) == page
    made = committed.provenance
    assert made["profile"]["name"] == documents.PROFILE and made["git"]["dirty"] is False
    assert profiles.load(documents.PROFILE).name == committed.profile


def test_every_timing_of_a_solver_carries_its_residual(monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_FIGURES", "figures")
    timed = results.load(rows.NAME, documents.PROFILE).table("timings")
    solving = timed[timed.task.str.contains("residual 1e-2|LiSSA, 10 chains")]
    exact = solving.contender == "dense solve"
    assert len(solving) >= 8 and exact.sum() == 1
    assert (solving[~exact].residual > 0).all()
