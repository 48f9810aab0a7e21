"""Show a certificate: as text in a terminal, or as a table in a notebook, from the same rows."""

from __future__ import annotations

import math
import textwrap
from html import escape
from typing import TYPE_CHECKING

from .text import number

if TYPE_CHECKING:
    from .certificate import Certificate

COLOURS = {"proved": "#0072B2", "conditional": "#E69F00", "void": "#D55E00"}
WIDTH = 78


def heading(card: Certificate) -> str:
    """Return the title of the card: its (epsilon, delta), or that it is void."""
    if card.holds == "void":
        return "void: no promise is made; do not publish"
    return f"({number(card.epsilon)}, {number(card.delta)})-certified unlearning"


def verdict(card: Certificate) -> list[tuple[str, str, str]]:
    """Return (question, answer, why) for the fields `holds`, `useful` and `noise`."""
    Delta, ball = card.sensitivity.value, 2 * card.C
    known = "doing nothing" if card.doing_nothing == ball else "the ball alone"
    useful = "private" if math.isnan(card.doing_nothing) else "yes" if card.useful else "no"
    compared = f"{known} gives 2C = {number(ball)}" if ball < math.inf else "doing nothing: private"
    return [
        ("holds", card.holds, f"rests on {card.sensitivity.source}"),
        ("useful", useful, f"Delta = {number(Delta)}; {compared}"),
        ("noise", card.noise, f"N(0, sigma^2 I), sigma = {number(card.sigma)}"),
    ]


def rows(card: Certificate) -> list[tuple[str, str, str, str]]:
    """Return (name, value, provenance, note) of every number behind the certificate."""
    s, in_a_ball = card.sensitivity, math.isfinite(card.C)
    how = f"min(bound, 2C); bound {number(s.bound)}" if in_a_ball else "2G/mu, mu = lam_min"
    table = [
        ("epsilon", number(card.epsilon), "", "analytic Gaussian mechanism"),
        ("delta", number(card.delta), "chosen", ""),
        ("Delta", number(s.value), s.holds, how),
    ]
    if in_a_ball:
        table.append(("C", number(card.C), "chosen", f"||w|| <= C; 2C = {number(2 * card.C)}"))
        table.append(("lam", number(card.lam), "chosen", "damping"))
    for name, q in card.constants.named().items():
        if q.provenance == "measured":
            table.append((name, "private", q.provenance, q.note))
        elif math.isfinite(q.value):
            table.append((name, number(q.value), q.provenance, q.note))
        elif name != "sample_gradient":
            table.append((name, "unknown", "", "nothing is claimed"))
    if card.tol is not None:
        table.append(("tol", number(card.tol), "chosen", "relative residual of the solver"))
    return table + [(name, number(value), "public", "") for name, value in card.known.items()]


def private_rows(card: Certificate) -> list[tuple[str, str]]:
    """Return (name, value) of every number that depends on the data, and is in this copy."""
    private = card.private()
    values = {"doing nothing gives": private["doing nothing"], **private["measured constants"]}
    values |= private["measurements"]
    return [(name, number(value)) for name, value in values.items() if value == value]


def as_text(card: Certificate) -> str:
    """Return the card as text, for a terminal."""
    title, table = heading(card), rows(card)
    lines, wide = [title, "=" * len(title)], max(len(name) for name, *_ in table)
    for question, answer, why in verdict(card):
        lines += _wrapped(f"{question:<8}{answer + ':':<13} ", why)
    lines += [line for reason in card.reasons for line in _wrapped(" " * 8 + "- ", reason)]
    shape = f"  {{:<{wide}}}  {{:>9}}  {{:<12}}{{}}"
    lines += ["", *(shape.format(*row).rstrip() for row in table)]
    if private := private_rows(card):
        lines += ["", "private (functions of the data, not to be published)"]
        lines += [f"  {name:<42}{value:>10}" for name, value in private]
    return "\n".join(lines)


def as_html(card: Certificate) -> str:
    """Return the card as an HTML table, for a notebook."""
    lines = [_heading(heading(card))]
    for question, answer, why in verdict(card):
        lines.append(_row(f"<b>{question}</b>", f"<b>{escape(answer)}</b>", escape(why)))
    lines += [_row("", "", escape(reason)) for reason in card.reasons]
    lines += [_heading("what it rests on")]
    for name, value, provenance, note in rows(card):
        lines.append(_row(escape(name), escape(value), escape(f"{provenance}: {note}".strip(": "))))
    if private := private_rows(card):
        lines += [_heading("private: functions of the data, not to be published")]
        lines += [_row(escape(name), escape(value), "") for name, value in private]
    return f"<table style='border-left:6px solid {COLOURS[card.holds]}'>{''.join(lines)}</table>"


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td style='text-align:left'>{c}</td>" for c in cells) + "</tr>"


def _heading(text: str) -> str:
    return f"<tr><th colspan='3' style='text-align:left'>{escape(text)}</th></tr>"


def _wrapped(prefix: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=" " * len(prefix))
