"""The report's pictures: temperatures, power and duty, impedance, dose.

Drawn once for wide and once for narrow screens, as SVG whose colours are the page's own variables, so that they
follow its light and dark dress; and once more, all together, as a PNG. Colours are told apart by the colour-blind
(Okabe & Ito), and no curve is told by its colour alone.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from rfprobe.report_data import Groups, plot_id
from rfprobe.words import NOT_A_MEDICAL_DEVICE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

PALETTE = {
    "ink": "#1b1f24",
    "faint": "#6a7280",
    "grid": "#d9dde3",
    "heating": "#fbf1e6",
    "holding": "#f9e6d2",
    "control": "#d55e00",
    "boundary": "#0072b2",
    "guard": "#00815d",
    "peak": "#a8467f",
    "power": "#b35900",
    "duty": "#56799b",
    "impedance": "#5b4fa3",
}
"""Colours in the light dress. Each is also the name of a CSS variable, which the SVG's colours are replaced by."""

ABLATION_CEM43_MIN = 240.0
SMALLEST_DOSE_MIN = 1e-3
"""Where the logarithmic dose axis begins."""


@dataclass(frozen=True)
class Layout:
    """A size for which the pictures are drawn."""

    name: str
    width_in: float
    height_in: float
    font_pt: float
    legend_columns: int


WIDE = Layout("wide", 9.4, 3.1, 8.5, 6)
NARROW = Layout("narrow", 3.7, 2.9, 8.0, 3)


@dataclass(frozen=True)
class Curve:
    """One line of a plot: which series, and how it looks."""

    group: str
    name: str
    label: str
    color: str
    style: str = "-"
    width: float = 1.6


@dataclass(frozen=True)
class Limit:
    """A horizontal line with its words."""

    value: float
    label: str
    color: str = "faint"


@dataclass(frozen=True)
class Picture:
    """All that the plots need."""

    series: Groups
    parameters: dict[str, int]
    phases: list[tuple[str, float, float]]
    """(state, begin, end) in s of each phase with RF on."""
    marks: list[tuple[float, str]]
    """(time in s, word) of what ended the run."""


def _thermal_curves(names: list[str]) -> list[Curve]:
    roles = [Curve("telemetry", f"{name}_C", name.replace("_", " "), _role_color(name)) for name in names]
    truth = [
        Curve("truth", f"{name}_C", f"{name}, tissue", _role_color(name), (0, (4, 2)), 1.1)  # pyright: ignore
        for name in ("control", "boundary", "guard")
    ]
    return roles + truth


def _role_color(name: str) -> str:
    role = name.split("_")[0]
    return role if role in PALETTE else "faint"
