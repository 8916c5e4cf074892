"""Charts of an evaluation as SVG to stand inside a page; colours are the page's own, so they follow its theme."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]

# Colours that stand for the page's variables until the SVG is done.
_TEXT, _MUTED, _LINE = "#010101", "#020202", "#030303"
_SERIES = ("#040404", "#050505", "#060606", "#070707")
_VARIABLES = {
    _TEXT: "var(--text)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _SERIES[0]: "var(--a)",
    _SERIES[1]: "var(--b)",
    _SERIES[2]: "var(--good)",
    _SERIES[3]: "var(--warn)",
}
_STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
"""Lines are told apart by pattern too."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "sightline",
    "text.color": _TEXT,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _LINE,
    "grid.linewidth": 1.0,
    "lines.linewidth": 2.0,
}
_MOST_LINES = len(_SERIES)
_FEWEST_MATCHES = 20
"""Parts of the clock with fewer matches are in the tables only."""


def by_clock(report: Json, measure: str, names: Sequence[str]) -> str:
    """A figure by five minutes of game clock, with intervals, of at most four predictors."""
    with _styled():
        figure, axes = _figure(6.4, 3.2)
        ends = []
        for number, name in enumerate(names[:_MOST_LINES]):
            buckets = [b for b in report["buckets"] if b["matches"] >= _FEWEST_MATCHES] or report["buckets"]
            buckets = [b for b in buckets if b["predictors"][name][measure] is not None]
            minutes = [bucket["from_min"] + 2.5 for bucket in buckets]
            values = [bucket["predictors"][name][measure] for bucket in buckets]
            bounds = [
                bucket["intervals"][name][measure] or (value, value)
                for bucket, value in zip(buckets, values, strict=True)
            ]
            axes.plot(minutes, values, color=_SERIES[number], linestyle=_STYLES[number])
            if number == 0:
                low, high = zip(*bounds, strict=True)
                axes.fill_between(minutes, low, high, color=_SERIES[number], alpha=0.18, linewidth=0)
            ends.append((minutes[-1], values[-1], report["predictors"][name], number))
        _direct_labels(axes, ends)
        axes.set_xlabel("game clock, minutes")
        axes.set_ylabel(measure.replace("_", "-"))
        axes.yaxis.set_major_locator(_ticks(4))
        return _svg(figure, f"{measure.replace('_', '-')} by game clock; the table below has the figures")


def reliability(report: Json, names: Sequence[str]) -> str:
    """How often A won when so much was said, with the diagonal where both agree, of at most two predictors."""
    with _styled():
        figure, axes = _figure(4.4, 4.0)
        axes.plot([0, 1], [0, 1], color=_LINE, linewidth=1.5)
        ends = []
        for number, name in enumerate(names[:2]):
            rows = report["reliability"][name]
            said, won = [row["said"] for row in rows], [row["won"] for row in rows]
            axes.plot(said, won, color=_SERIES[number], linestyle=_STYLES[number], marker="os"[number], markersize=4)
            if number == 0:
                axes.vlines(
                    said,
                    [row["won_low"] for row in rows],
                    [row["won_high"] for row in rows],
                    color=_SERIES[0],
                    alpha=0.5,
                    linewidth=1.5,
                )
            ends.append((said[-1], won[-1], report["predictors"][name], number))
        for number, (_, _, words, series) in enumerate(ends):
            axes.text(0.04, 0.95 - 0.08 * number, words, color=_SERIES[series], transform=axes.transAxes)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("said: A wins")
        axes.set_ylabel("A won")
        axes.xaxis.set_major_locator(_ticks(5))
        axes.yaxis.set_major_locator(_ticks(3))
        return _svg(figure, "reliability: what was said against what came true")


def differences(report: Json, measure: str = "log_loss") -> str:
    """Each predictor's log-loss minus the reference's, with the 95 % interval of pairs; right of zero is worse."""
    rows = [(report["predictors"][n], d[measure]) for n, d in report["differences"].items() if d[measure] is not None]
    rows.sort(key=lambda row: -row[1][0])
    with _styled():
        figure, axes = _figure(6.4, 0.8 + 0.3 * len(rows))
        for place, (words, (value, low, high)) in enumerate(rows):
            worse = _SERIES[1] if low > 0 else _SERIES[0] if high < 0 else _MUTED
            axes.hlines(place, low, high, color=worse, linewidth=2)
            axes.plot([value], [place], color=worse, marker="o", markersize=5)
            axes.annotate(words, (0, place), xycoords=("axes fraction", "data"), xytext=(-8, 0),
                          textcoords="offset points", ha="right", va="center")  # fmt: skip
        axes.axvline(0, color=_TEXT, linewidth=1)
        axes.grid(visible=False)
        axes.set_yticks([])
        axes.set_xlabel(
            f"{measure.replace('_', '-')} minus that of {report['predictors'][report['reference']]}; right: worse"
        )
        return _svg(figure, "differences in log-loss with 95 % intervals")


def curves(lines: Mapping[str, Sequence[float]], *, across: str, upwards: str, title: str) -> str:
    """Some named lines over 1, 2, 3, …: of at most four, the first is the one that counts."""
    with _styled():
        figure, axes = _figure(6.4, 3.2)
        ends = []
        for number, (name, values) in enumerate(list(lines.items())[:_MOST_LINES]):
            places = list(range(1, len(values) + 1))
            axes.plot(places, values, color=_SERIES[number], linestyle=_STYLES[number], marker="o", markersize=4)
            ends.append((float(places[-1]), values[-1], name, number))
        _direct_labels(axes, ends)
        axes.set_xlabel(across)
        axes.set_ylabel(upwards)
        axes.xaxis.set_major_locator(_ticks(6, whole=True))
        axes.yaxis.set_major_locator(_ticks(4))
        return _svg(figure, title)


def _styled() -> Any:
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """A figure of its own: pyplot would keep it alive and look for a screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.tick_params(length=0)
    return figure, axes


def _ticks(most: int, *, whole: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, integer=whole)


def _direct_labels(axes: Axes, ends: Sequence[tuple[float, float, str, int]]) -> None:
    """Names at the right end of their lines, pushed apart where lines end together."""
    low, high = axes.get_ylim()
    gap, taken = (high - low) * 0.09, -float("inf")
    for x, y, words, series in sorted(ends, key=lambda end: end[1]):
        taken = max(y, taken + gap)
        axes.annotate(words, (x, taken), xytext=(8, 0), textcoords="offset points", va="center", color=_SERIES[series])


def _svg(figure: Figure, title: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    # Names of clip paths are random but for the salt; sizes give way to the page's width.
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)width="([0-9.]+)pt"', r'<svg \1style="max-width:\g<2>pt" role="img"', svg, count=1)
    return svg
