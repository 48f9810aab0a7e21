"""Panels: sliders where somebody can move them, a still elsewhere, and the numbers they show."""

import pytest

import unlearnlib as ul
from studies.nb02_local_convex_lissa import filter_at
from studies.nb03_certificate_and_noise.panels import bound_at
from studies.nb11_budget_and_utility.panels import noise_for, sigma_for
from unlearnlib.errors import InputError
from unlearnlib.lab import panels
from unlearnlib.lab.panels import between, panel, powers
from unlearnlib.progress import PROGRESS


@pytest.fixture
def shown(monkeypatch):
    """What panels display."""
    things = []
    monkeypatch.setattr(panels, "display", things.append)
    return things


def drawing(calls):
    return lambda **values: calls.append(values) or f"a figure at {values}"


def test_a_kept_output_is_a_still_at_the_first_values(monkeypatch, shown):
    monkeypatch.setenv(PROGRESS, "0")
    monkeypatch.setattr(panels.plt, "close", lambda fig: None)
    panel(drawing(calls := []), scale=powers(1, 100, at=10), lam=between(-1, 1, at=0))
    assert calls == [{"scale": 10, "lam": 0}] and shown == [f"a figure at {calls[0]}"]


def test_a_slider_that_is_moved_draws_anew(monkeypatch, shown):
    monkeypatch.delenv(PROGRESS, raising=False)
    monkeypatch.setattr(panels.plt, "close", lambda fig: None)
    panel(drawing(calls := []), scale=powers(1, 100, at=10), lam=between(-1, 1, at=0))
    scale, lam = shown[-1].children[:2]
    assert calls == [{"scale": pytest.approx(10), "lam": 0}]
    lam.value = 0.5
    assert calls[-1] == {"scale": pytest.approx(10), "lam": pytest.approx(0.5, abs=1 / 30)}
    assert (scale.base**scale.min, scale.base**scale.max) == (1, 100)
    assert [slider.description for slider in (scale, lam)] == ["scale", "lam"]


def test_without_widgets_it_is_a_still(monkeypatch, shown):
    monkeypatch.delenv(PROGRESS, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    monkeypatch.setattr(panels.plt, "close", lambda fig: None)
    panel(drawing(calls := []), lam=between(-1, 1, at=0.25))
    assert calls == [{"lam": 0.25}] and len(shown) == 1


def test_a_slider_begins_between_its_ends():
    with pytest.raises(InputError, match="at = 7; it must be from 1 to 5"):
        between(1, 5, at=7)
    with pytest.raises(InputError, match="low = 0; powers of ten are above 0, so take `between`"):
        powers(0, 5, at=1)


@pytest.mark.parametrize("requests", [1, 7, 100])
def test_the_noise_of_many_requests_is_what_they_cost_together(requests):
    sigma = sigma_for(1.0, 1e-5, 0.3, requests)
    together = ul.compose_epsilon([0.3] * requests, [sigma] * requests, 1e-5)
    assert together == pytest.approx(1.0, rel=1e-6)


def text(fig):
    texts = [fig.get_suptitle(), *(ax.get_title(loc="left") for ax in fig.axes)]
    legends = [entry.get_text() for ax in fig.axes for entry in ax.get_legend().get_texts()]
    panels.plt.close(fig)
    return " ".join(texts + legends).replace("\n", " ")


def test_the_bound_says_something_exactly_above_MC():
    below, above = (text(bound_at(C=2.0, M=3.0, lam=1.0, lam_min=at)) for at in (6.0, 6.01))
    assert "at most MC = 6, so no damping helps" in below
    assert "above MC = 6, so the bound says something" in above
    assert f"here: {4 * 7 / 7:.3g}" in below  # 2C (MC + lam)/(lam + lam_min)
    assert "nothing is bounded" in text(bound_at(C=2.0, M=3.0, lam=1.0, lam_min=-1.0))


def test_the_filter_shows_its_extra_damping():
    said = text(filter_at(scale=100.0, steps=399.0))
    assert "s/(t+1) = 0.25" in said and "gets about 4" in said


def test_the_noise_is_named_for_one_request_and_for_many():
    one, many = (text(noise_for(1.0, 1e-5, 40.0, requests)) for requests in (1, 10))
    assert "for one request" in one and "all of 10 requests together" in many
    assert f"sigma = {ul.gaussian_sigma(40.0, 1.0, 1e-5):.3g}" in one
