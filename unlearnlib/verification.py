"""What a second opinion says, line by line, how a line is judged, and how it looks."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass

from mpmath import mpf

CONFIRMED, REFUTED, NOT_COVERED = "confirmed", "refuted", "not covered"
COLOURS = {CONFIRMED: "#0072B2", REFUTED: "#D55E00", NOT_COVERED: "#E69F00"}
SLACK = 1e-11  # far below any digit of a card that is read; twenty times what calibration loses
HEAD = ("line", "claimed", "found", "verdict", "room", "note")
WIDTH = 96


@dataclass(frozen=True)
class Line:
    """One claim of a card, and what was found when it was computed by other means.

    verdict   "confirmed", "refuted" or "not covered"
    margin    the room left up to the limit, relative to it; negative where the claim misses
    needed    whether the card's "proved" rests on it
    """

    name: str
    claimed: float | str
    found: float | str
    verdict: str
    margin: float | None = None
    note: str = ""
    needed: bool = True

    def row(self) -> tuple[str, ...]:
        """As text, in the order of HEAD."""
        claimed, found, margin = _text(self.claimed), _text(self.found), _text(self.margin, 2)
        return self.name, claimed, found, self.verdict, margin, self.note


def at_most(name, found, claimed, wrong=0.0, note="", needed=True, sign=1) -> Line:
    """found <= claimed, for a found that is right to +-wrong; found >= claimed at sign -1."""
    found, claimed = mpf(found), mpf(claimed)
    short = sign * (found - claimed) - SLACK * abs(claimed)  # at most 0 where the claim holds
    verdict = CONFIRMED if short + wrong <= 0 else NOT_COVERED if short <= wrong else REFUTED
    if verdict == NOT_COVERED:
        note = f"within the rounding bound {wrong:.2g} of the limit. {note}"
    room = sign * (claimed - found) / (abs(claimed) or 1)
    return Line(name, float(claimed), float(found), verdict, float(room), note, needed)


def equal(name, claimed, found, note="", needed=True) -> Line:
    """claimed and found are the same."""
    verdict = CONFIRMED if claimed == found else REFUTED
    return Line(name, claimed, found, verdict, None, note, needed)


def uncovered(name, claimed, why, needed=True) -> Line:
    """A claim that nothing here can judge."""
    return Line(name, claimed, "", NOT_COVERED, None, why, needed)


@dataclass(frozen=True, repr=False)
class Verification:
    """What `verify` returns: a list of lines. Shows as a table."""

    lines: list[Line]

    @property
    def refuted(self) -> list[Line]:
        """The lines that are wrong."""
        return [line for line in self.lines if line.verdict == REFUTED]

    @property
    def missing(self) -> list[Line]:
        """The lines that "proved" rests on and that are not confirmed."""
        return [line for line in self.lines if line.needed and line.verdict != CONFIRMED]

    @property
    def confirmed(self) -> bool:
        """Whether nothing is refuted, and all that "proved" rests on is confirmed."""
        return not self.refuted and not self.missing

    def summary(self) -> tuple[str, str]:
        """One verdict on the whole, and the lines that it follows from."""
        if self.confirmed:
            return CONFIRMED, 'every line that "proved" rests on'
        verdict = REFUTED if self.refuted else NOT_COVERED
        return verdict, ", ".join(line.name for line in self.refuted or self.missing)

    def __repr__(self) -> str:
        table = [HEAD, *(line.row() for line in self.lines)]
        widths = [max(len(row[k]) for row in table) for k in range(len(HEAD) - 1)]
        text = [": ".join(self.summary()), ""]
        for *cells, note in table:
            padded = (cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True))
            text.append("  ".join(padded).rstrip())
            if cells[0] != HEAD[0]:
                text += textwrap.wrap(note, WIDTH, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(text)

    def _repr_html_(self) -> str:
        rows = [HEAD, *(line.row() for line in self.lines)]
        cells = (
            "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in r) for r in rows
        )
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        verdict, why = self.summary()
        head = (
            f"<tr><th colspan='6' style='text-align:left'>{verdict}: {html.escape(why)}</th></tr>"
        )
        return f"<table style='border-left:6px solid {COLOURS[verdict]}'>{head}{body}</table>"


def _text(value: float | str | None, digits: int = 6) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.{digits}g}"
