"""Numbers as text, for cards, tables and figures."""

import re


def number(value: float | str) -> str:
    """Return a number as text: three significant digits, or a whole number from 1,000 to 99,999.

    A text is returned as it is.
    """
    if not isinstance(value, (int, float)):
        return str(value)
    if abs(value) == float("inf"):
        return "infinite" if value > 0 else "-infinite"
    if 1000 <= abs(value) < 1e5:
        return f"{value:,.0f}"
    return re.sub(r"e([+-])0?(\d+)", lambda m: f"e{m[1].strip('+')}{m[2]}", f"{value:.3g}")
