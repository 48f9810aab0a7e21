"""What a certificate rests on, what it publishes, and how it reads."""

import dataclasses
import json
import math
import xml.etree.ElementTree as ElementTree

import mpmath
import pytest

from unlearnlib import Certificate, Constants, InputError, assumed, card, chosen, measured, proved
from unlearnlib.certificate import Sensitivity, calibrate, sensitivity

KNOWN = dict(
    M=proved(0.1, "smooth"),
    L=proved(3, "smooth"),
    lam_min=proved(2, "decay"),
    G=chosen(0.01, "stops there"),
)
KNOWN_CONSTANTS = Constants(**KNOWN)
TERMS = dict(C=0.5, lam=1.0, tol=0.02)


def delta_of(value, sigma, epsilon):
    """Balle and Wang's condition with 50 digits."""
    with mpmath.workdps(50):
        mu, epsilon = mpmath.mpf(value) / mpmath.mpf(sigma), mpmath.mpf(epsilon)
        tail = mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
        return float(mpmath.ncdf(mu / 2 - epsilon / mu) - tail)


def certificate(constants=KNOWN_CONSTANTS, **changes):
    target = sensitivity(constants=constants, **TERMS)
    fields = dict(epsilon=1.0, delta=1e-5, sigma=1.4, sensitivity=target, constants=constants,
                  holds=target.holds, noise="secret", doing_nothing=1.0, **TERMS)  # fmt: skip
    return Certificate(**fields | changes)


# ---- the sensitivity ----------------------------------------------------------------------------


def test_nothing_claimed_gives_the_ball_proved_and_useless():
    s = sensitivity(constants=Constants(), **TERMS)
    assert (s.value, s.bound, s.holds) == (1.0, math.inf, "proved") and "ball" in s.source
    assert not certificate(Constants()).useful


def test_sensitivity_is_theorem_34_and_the_solvers_tolerance():
    s = sensitivity(constants=KNOWN_CONSTANTS, **TERMS)
    newton = (2 * 0.5 * (0.1 * 0.5 + 1) + 0.01) / 3
    solver = 0.02 * (2 * 3 * 0.5 + 0.01) / 3
    assert s.value == s.bound == pytest.approx(newton + solver, rel=1e-12)
    assert s.holds == "proved" and "3.4" in s.source


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("kind", [assumed, lambda v: v, lambda v: measured(v, "from below")])
def test_one_unproved_constant_makes_it_conditional(name, kind):
    constants = Constants(**KNOWN | {name: kind(KNOWN[name].value)})
    s = sensitivity(constants=constants, **TERMS)
    assert s.holds == "conditional"
    assert s.value == sensitivity(constants=KNOWN_CONSTANTS, **TERMS).value


@pytest.mark.parametrize("name", ["M", "L", "lam_min"])
def test_training_enforces_a_G_and_nothing_else(name):
    constants = Constants(**KNOWN | {name: chosen(KNOWN[name].value)})
    assert sensitivity(constants=constants, **TERMS).holds == "conditional"


def test_a_bound_above_the_ball_falls_back_to_it_whatever_was_assumed():
    s = sensitivity(C=0.5, lam=1.0, tol=0.02, constants=Constants(M=1, L=0.9, G=0))
    assert (s.value, s.holds) == (1.0, "proved")


def test_lam_min_is_minus_L_where_nothing_better_is_known():
    lam_min = Constants(L=measured(0.7, "from below")).lam_min
    assert (lam_min.value, lam_min.provenance) == (-0.7, "measured")
    assert Constants().lam_min.value == -math.inf


def test_a_plain_number_counts_as_assumed():
    assert Constants(M=1).M == assumed(1)


@pytest.mark.parametrize("name", ["M", "L", "G", "sample_gradient"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_constant_that_bounds_nothing_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}; .*at least 0"):
        Constants(**{name: value})


@pytest.mark.parametrize("C", [0, -1, math.nan, math.inf])
def test_a_radius_without_a_ball_is_refused(C):
    with pytest.raises(InputError, match=f"C is {'infinite' if C == math.inf else C}"):
        sensitivity(C, 1.0, 0.1, Constants())


# ---- the noise ----------------------------------------------------------------------------------

PLAIN = Sensitivity(2.0, 2.0, "", "proved")


def test_epsilon_gives_the_least_sigma_and_sigma_the_least_epsilon():
    epsilon, sigma = calibrate(PLAIN, 1e-5, 0.7, None)
    assert epsilon == 0.7 and delta_of(2, sigma, 0.7) == pytest.approx(1e-5, rel=1e-6)
    epsilon, sigma = calibrate(PLAIN, 1e-5, None, 5.0)
    assert sigma == 5.0 and delta_of(2, 5, epsilon) == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize("given", [(None, None), (1.0, 2.0)])
def test_exactly_one_of_epsilon_and_sigma(given):
    message = f"epsilon is {given[0]} and sigma is {given[1]}; give exactly one"
    with pytest.raises(InputError, match=message):
        calibrate(PLAIN, 1e-5, *given)


@pytest.mark.parametrize("epsilon", [0, -1, math.nan])
def test_a_budget_must_be_positive(epsilon):
    with pytest.raises(InputError, match=f"epsilon is {epsilon}; it must be > 0"):
        calibrate(PLAIN, 1e-5, epsilon, None)


# ---- what is published --------------------------------------------------------------------------


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_public_json_is_strict_and_says_what_was_certified():
    said = strict(certificate().public_json())
    expected = dict(epsilon=1.0, delta=1e-5, sigma=1.4, C=0.5, lam=1.0, tol=0.02, holds="proved",
                    noise="secret", **{"below 2C": True})  # fmt: skip
    assert expected.items() <= said.items()
    assert said["constants"]["lam_min"] == {"value": 2.0, "provenance": "proved", "note": "decay"}
    assert said["constants"]["G"]["provenance"] == "chosen"


def test_unknown_constants_stay_strict_json():
    said = strict(certificate(Constants()).public_json())
    assert said["constants"]["L"]["value"] == "inf"
    assert said["constants"]["lam_min"]["value"] == "-inf"
    assert strict(certificate(doing_nothing=math.inf).private_json())["doing nothing"] == "inf"


def test_measured_constants_are_published_by_name_only():
    constants = Constants(**KNOWN | dict(L=measured(0.718281, "from below"), lam_min=None))
    c = certificate(constants, measurements={"samples forgotten": 1234, "residual": 0.0625})
    public, private = c.public_json(), strict(c.private_json())
    assert strict(public)["constants"]["L"]["value"] == "withheld"
    assert not any(secret in public for secret in ("0.718281", "1234", "0.0625"))
    assert private["measured constants"] == {"L": 0.718281, "lam_min": -0.718281}
    assert private["measurements"] == {"samples forgotten": 1234, "residual": 0.0625}


def test_what_depends_on_the_forget_set_stays_private():
    c = certificate(doing_nothing=0.01, reasons=("the residual was missed",))
    assert not c.useful and strict(c.public_json())["below 2C"]
    assert strict(c.private_json()) == {
        "useful": False,
        "doing nothing": 0.01,
        "reasons": ["the residual was missed"],
        "measured constants": {},
        "measurements": {},
    }


def test_a_certificate_cannot_be_edited():
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate().holds = "proved"


# ---- how it reads -------------------------------------------------------------------------------

NASTY = "<script>alert('R & D')</script>"
FULL = certificate(
    Constants(**KNOWN | dict(M=assumed(0.1, NASTY)), sample_gradient=proved(0.77, "clipped")),
    holds="void",
    reasons=(f"refuted {NASTY}",),
    measurements={"samples forgotten": 17},
)
ROWS = [("epsilon", "1"), ("delta", "1e-5"), ("Delta", "0.373"), ("C", "0.5"), ("lam", "1"),
        ("M", "0.1"), ("L", "3"), ("lam_min", "2"), ("G", "0.01"), ("tol", "0.02"),
        ("sample_gradient", "0.77"), ("samples forgotten", "17")]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ROWS)
def test_every_number_has_its_row(name, value):
    lines = [line.split() for line in str(FULL).splitlines()]
    assert any(line[: len(name.split()) + 1] == [*name.split(), value] for line in lines)
    table = ElementTree.fromstring(FULL._repr_html_())
    cells = [[cell.text for cell in row] for row in table.iter("tr")]
    assert any(row[:2] == [name, value] for row in cells)


def test_html_escapes_what_people_wrote():
    page = FULL._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    text = "".join(ElementTree.fromstring(page).itertext())
    assert NASTY in text and f"refuted {NASTY}" in text


def test_text_leads_with_the_verdict_and_the_reason():
    text = str(FULL)
    words = ("void: no promise", "holds", "void: ", "useful", "no: ", "refuted")
    at = -1
    for word in words:  # in this order
        at = text.index(word, at + 1)
    assert "unknown" in str(certificate(Constants()))
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("value", "said"),
    [(80040.0, "80,040"), (3.2e15, "3.2e15"), (1e-5, "1e-5"), (0.012345, "0.0123"), (0, "0"),
     (math.inf, "infinite"), (-math.inf, "-infinite"), (-1234.5, "-1,234"), (1.5e-300, "1.5e-300"),
     ("all 33 samples", "all 33 samples")],
)  # fmt: skip
def test_numbers_read_as_a_person_writes_them(value, said):
    assert card.number(value) == said
