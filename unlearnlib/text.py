"""Numbers as a person writes them: on cards, in tables and in figures."""

import re


def number(value: float | str) -> str:
    """Three significant digits, whole numbers from a thousand on, as a person writes them."""
    if not isinstance(value, (int, float)):
        return str(value)
    if abs(value) == float("inf"):
        return "infinite" if value > 0 else "-infinite"
    if 1000 <= abs(value) < 1e5:
        return f"{value:,.0f}"
    return re.sub(r"e([+-])0?(\d+)", lambda m: f"e{m[1].strip('+')}{m[2]}", f"{value:.3g}")
