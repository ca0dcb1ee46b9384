"""The report's pictures: temperatures, power and duty, impedance, dose.

Drawn once for wide and once for narrow screens, as SVG whose colours are the page's own variables, so that
they follow its light and dark dress; and once more, all together, as a PNG. Colours are told apart by the
colour-blind (after Okabe and Ito), and no curve is told by its colour alone.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from rfprobe.report_data import BOX_TRIPPED, Groups, Series, Trip, plot_id
from rfprobe.words import NOT_A_MEDICAL_DEVICE
from rfprobe_core.dose import DOSE_MAX_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = {
    "ink": "#1b1f24",
    "faint": "#667080",
    "grid": "#dfe3e8",
    "heating": "#fcf3ea",
    "holding": "#f8e4cf",
    "control": "#cc5200",
    "boundary": "#0072b2",
    "guard": "#00805c",
    "peak": "#a3427c",
    "power": "#99500d",
    "duty": "#4f7396",
    "impedance": "#5a4ea2",
}
"""Colours of the light dress. Each is also the name of a CSS variable, which takes its place in the SVG."""

PHASE_COLORS = {"RAMP": "heating", "HOLD": "holding"}
PHASE_WORDS = {"RAMP": "heating", "HOLD": "holding"}
ABLATION_CEM43_MIN = 240.0
GUARD_CEM43_MIN = 2.0
SMALLEST_DOSE_MIN = 1e-3
"""Where the logarithmic dose axis begins."""

LineStyle = tuple[float, tuple[float, ...]] | Literal["-"]
DASHED: LineStyle = (0.0, (4.0, 2.0))
DOTTED: LineStyle = (0.0, (1.0, 1.6))
DASH_DOT: LineStyle = (0.0, (6.0, 2.0, 1.0, 2.0))


@dataclass(frozen=True)
class Layout:
    """A size for which the pictures are drawn."""

    name: str
    width_in: float
    height_in: float
    font_pt: float
    legend_columns: int
    left_in: float = 0.0
    right_in: float = 0.0
    """Margins, the same for every plot, so that their time axes stand below one another."""


WIDE = Layout("wide", 9.4, 2.9, 8.5, 6, left_in=0.42, right_in=0.42)
NARROW = Layout("narrow", 3.7, 3.0, 7.8, 2, left_in=0.36, right_in=0.4)
PICTURE = Layout("picture", 9.4, 11.0, 8.5, 6)
_POINTS_PER_INCH = 72.0


@dataclass(frozen=True)
class Curve:
    """One line of a plot: which series, and how it looks. Without a label it is not in the legend."""

    group: str
    name: str
    color: str
    label: str = ""
    style: LineStyle = "-"
    width: float = 1.7
    alpha: float = 1.0
    marker: str = ""
    """Of each sample; without a line between them where `width` is 0."""


@dataclass(frozen=True)
class Limit:
    """A horizontal line, with its words."""

    value: float
    label: str
    color: str = "faint"


@dataclass(frozen=True)
class Scene:
    """All that the plots need beside their layout."""

    series: Groups
    parameters: dict[str, int]
    phases: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    """(state, begin in s, end in s) of each phase with RF on."""
    end_s: float | None = None
    """When the run ended."""
    end_word: str = ""
    trip: Trip | None = None

    @property
    def simulated(self) -> bool:
        return "truth" in self.series


@dataclass(frozen=True)
class View:
    """What part of time and value a plot shows, for several that are to have the same axes."""

    first_s: float
    last_s: float
    low: float
    high: float

    def around(self, other: "View") -> "View":
        """The view that takes both in."""
        return View(
            min(self.first_s, other.first_s),
            max(self.last_s, other.last_s),
            min(self.low, other.low),
            max(self.high, other.high),
        )


@dataclass(frozen=True)
class Panel:
    """One plot: its curves, on a right-hand axis too, and its limits."""

    key: str
    title: str
    unit: str
    curves: list[Curve]
    limits: list[Limit]
    logarithmic: bool = False
    note: str = ""
    right: tuple[Curve, ...] = ()
    right_unit: str = ""
    zoomed: bool = False
    """Only the time of its own curves, which are no part of the whole run's axis."""


def panels(scene: Scene) -> list[Panel]:
    """The four plots of the run and those of its black box, with the curves that have data."""
    every = [_temperatures(scene), _power(scene), _impedance(scene), _dose(scene), *_box_panels(scene)]
    return [panel for panel in every if any(_has(scene, curve) for curve in panel.curves)]


def _has(scene: Scene, curve: Curve) -> bool:
    return curve.name in scene.series.get(curve.group, {})


def _names(series: Series, ending: str) -> list[str]:
    """`control`, `guard_2`, … of the columns `control_C`, …"""
    return [name.removesuffix(ending) for name in series if name.endswith(ending) and name != f"setpoint{ending}"]


def _role_color(name: str) -> str:
    role = name.split("_", maxsplit=1)[0]
    return role if role in PALETTE else "faint"


def _measured(scene: Scene, group: str, name: str, color: str, label: str) -> Curve:
    """A measured curve: broad and pale where the truth is drawn over it."""
    width, alpha = (3.0, 0.45) if scene.simulated else (1.7, 1.0)
    return Curve(group, name, color, label, width=width, alpha=alpha)


def _true(group: str, name: str, color: str, label: str = "", style: LineStyle = DASHED) -> Curve:
    return Curve(group, name, color, label, style=style, width=1.2)


def _temperatures(scene: Scene) -> Panel:
    names = _names(scene.series.get("telemetry", {}), "_C")
    curves = [Curve("telemetry", "setpoint_C", "ink", "set-point", style=DASH_DOT, width=1.0)]
    curves += [_measured(scene, "telemetry", f"{name}_C", _role_color(name), name.replace("_", " ")) for name in names]
    truth = _names(scene.series.get("truth", {}), "_C")
    curves += [_true("truth", f"{name}_C", _role_color(name)) for name in truth if name != "peak"]
    curves.append(_true("truth", "peak_C", "peak", "hottest tissue", DOTTED))
    limits = _parameter_limits(
        scene,
        (("max_temperature_mC", "limit", "°C", "faint"), ("guard_trip_mC", "guard trip", "°C", "guard")),
    )
    if not any(name.startswith("guard") for name in names):
        limits = limits[:1]
    return Panel("temperatures", "Temperatures, °C", "°C", curves, limits)


def _power(scene: Scene) -> Panel:
    curves = [
        _measured(scene, "telemetry", "power_W", "power", "power"),
        Curve("telemetry", "demand_W", "ink", "asked for", style=DOTTED, width=1.0),
        _true("truth", "power_W", "power"),
    ]
    duty = Curve("telemetry", "duty", "duty", "duty", width=1.0)
    limits = _parameter_limits(scene, (("max_power_mW", "limit", "W", "faint"),))
    return Panel("power", "Power, W, and duty, %", "W", curves, limits, right=(duty,), right_unit="duty")


def _impedance(scene: Scene) -> Panel:
    curves = [
        _measured(scene, "telemetry", "impedance_ohm", "impedance", "impedance"),
        _true("truth", "impedance_ohm", "impedance"),
    ]
    limits = _parameter_limits(
        scene, (("min_impedance_mohm", "least", "Ω", "faint"), ("max_impedance_mohm", "most", "Ω", "faint"))
    )
    return Panel("impedance", "Impedance, Ω", "Ω", curves, limits)


def _dose(scene: Scene) -> Panel:
    ending = "_cem43_min"
    names = _names(scene.series.get("dose", {}), ending)
    curves = [_measured(scene, "dose", f"{name}{ending}", _role_color(name), name.replace("_", " ")) for name in names]
    truth = _names(scene.series.get("truth_dose", {}), ending)
    curves += [_true("truth_dose", f"{name}{ending}", _role_color(name)) for name in truth]
    limits = [
        Limit(ABLATION_CEM43_MIN, f"{ABLATION_CEM43_MIN:g} min: ablated"),
        Limit(GUARD_CEM43_MIN, f"{GUARD_CEM43_MIN:g} min: guard trip", "guard"),
    ]
    note = f"The device counts no further than {DOSE_MAX_MS / 60_000:.0f} min."
    return Panel("dose", "Thermal dose, min at 43 °C", "min at 43 °C", curves, limits, logarithmic=True, note=note)


def _box_panels(scene: Scene) -> list[Panel]:
    """The last seconds before the end, at full tick rate: the row that tripped first."""
    return [_box_tripped(scene), _box_temperatures(scene), _box_power(scene), _box_impedance(scene)]


def _box_tripped(scene: Scene) -> Panel:
    trip = scene.trip
    curves = [
        Curve(BOX_TRIPPED, "value", "ink", "as judged", width=1.2, marker="."),
        Curve(BOX_TRIPPED, "beyond", "peak", "the samples that tripped", width=0.0, marker="o"),
    ]
    if trip is None:
        return Panel("box-tripped", "", "", [], [])
    unit = f", {trip.unit}" if trip.unit else ""
    limits = [Limit(trip.limit, f"limit {trip.limit:g} {trip.unit}".rstrip())]
    note = f"Beyond its limit from {trip.first_s:.2f} s; RF was switched off at {trip.at_s:.2f} s."
    return Panel("box-tripped", f"Black box: {trip.row}{unit}", trip.unit, curves, limits, note=note, zoomed=True)


def _box_temperatures(scene: Scene) -> Panel:
    names = [group.removeprefix("box_") for group in scene.series if group.startswith("box_") and group != BOX_TRIPPED]
    curves = [
        Curve(f"box_{name}", f"{name}_C", _role_color(name), name.replace("_", " "), width=1.2, marker=".")
        for name in names
    ]
    return Panel("box-temperatures", "Black box: each sample of the thermocouples, °C", "°C", curves, [], zoomed=True)


def _box_power(scene: Scene) -> Panel:
    curves = [
        Curve("box", "power_W", "power", "power", width=1.2),
        Curve("box", "demand_W", "ink", "asked for", style=DOTTED, width=1.0),
    ]
    duty = Curve("box", "duty", "duty", "duty", width=1.0)
    limits = _parameter_limits(scene, (("max_power_mW", "limit", "W", "faint"),))
    title = "Black box: power, W, and duty, %, of each tick"
    return Panel("box-power", title, "W", curves, limits, right=(duty,), right_unit="duty", zoomed=True)


def _box_impedance(scene: Scene) -> Panel:
    curves = [Curve("box", "impedance_ohm", "impedance", "impedance", width=1.2)]
    limits = _parameter_limits(
        scene, (("min_impedance_mohm", "least", "Ω", "faint"), ("max_impedance_mohm", "most", "Ω", "faint"))
    )
    return Panel("box-impedance", "Black box: impedance of each tick, Ω", "Ω", curves, limits, zoomed=True)


def _parameter_limits(scene: Scene, rows: tuple[tuple[str, str, str, str], ...]) -> list[Limit]:
    """Limits that the device was configured with: (parameter in thousandths, word, unit, colour)."""
    found: list[Limit] = []
    for parameter, word, unit, color in rows:
        if parameter in scene.parameters:
            value = scene.parameters[parameter] / 1000
            found.append(Limit(value, f"{word} {value:g} {unit}", color))
    return found


def view_of(scene: Scene, panel: Panel, layout: Layout) -> View:
    """What `svg` would show of it by itself."""
    with mpl.rc_context(_settings(layout)):
        axes = Figure(figsize=(layout.width_in, layout.height_in)).add_subplot()
        _draw(axes, scene, panel, layout)
        return View(*axes.get_xlim(), *axes.get_ylim())


def svg(scene: Scene, panel: Panel, layout: Layout, view: View | None = None) -> str:
    """One plot as an `<svg>` element: no size of its own, no font of its own, colours by CSS variable."""
    settings: dict[Any, Any] = {**_settings(layout), "svg.hashsalt": f"{layout.name}-{panel.key}"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(layout.width_in, layout.height_in), facecolor="none")
        axes = figure.add_subplot()
        entries = _draw(axes, scene, panel, layout)
        if view is not None:
            axes.set_xlim(view.first_s, view.last_s)
            axes.set_ylim(view.low, view.high)
        rows = math.ceil(entries / layout.legend_columns)
        line_in = 1.6 * layout.font_pt / _POINTS_PER_INCH
        figure.subplots_adjust(
            left=layout.left_in / layout.width_in,
            right=1.0 - layout.right_in / layout.width_in,
            bottom=2.7 * line_in / layout.height_in,
            top=1.0 - (rows * line_in + 0.1) / layout.height_in,
        )
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), f"{layout.name}-{panel.key}", panel.title)


def png(scenes: Sequence[Scene], title: str, titles: Sequence[str], dpi: int = 110) -> bytes:
    """As `picture`, as a PNG."""
    with mpl.rc_context(_settings(PICTURE)):
        figure = picture(scenes, title, titles)
        file = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def picture(scenes: Sequence[Scene], title: str, titles: Sequence[str]) -> Figure:
    """All plots below one another, in the light dress; each of several scenes has a column, with one of `titles`."""
    drawn = [{panel.key: panel for panel in panels(scene)} for scene in scenes]
    keys = [key for key in _ORDER if any(key in each for each in drawn)]
    rows, columns = max(1, len(keys)), len(scenes)
    with mpl.rc_context(_settings(PICTURE)):
        size = (PICTURE.width_in * columns, PICTURE.height_in * rows / 4)
        figure = Figure(figsize=size, facecolor="white")
        figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold", color=PALETTE["ink"])
        figure.text(0.5, 0.012, NOT_A_MEDICAL_DEVICE, ha="center", fontsize=8, color=PALETTE["faint"])
        for row, key in enumerate(keys):
            for column, (scene, each) in enumerate(zip(scenes, drawn, strict=True)):
                if key in each:
                    _draw(figure.add_subplot(rows, columns, row * columns + column + 1), scene, each[key], PICTURE)
        top = 1.0 - 0.32 / rows if columns == 1 else _TITLE_AT - 0.8 / size[1]
        figure.subplots_adjust(0.08 / columns, 0.22 / rows + 0.01, 1.0 - 0.08 / columns, top, hspace=0.45)
        for column, told in enumerate(titles) if columns > 1 else ():
            where = ((column + 0.08) / columns, _TITLE_AT - 0.45 / size[1])
            figure.text(*where, told, fontsize=11, fontweight="bold", color=PALETTE["ink"])
    return figure


_TITLE_AT = 0.98
"""Top of a figure's title, of its height: matplotlib's own."""


_ORDER = (
    "temperatures",
    "power",
    "impedance",
    "dose",
    "box-tripped",
    "box-temperatures",
    "box-power",
    "box-impedance",
)
"""Keys of the panels, from top to bottom."""


def _settings(layout: Layout) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "font.size": layout.font_pt,
        "axes.edgecolor": PALETTE["faint"],
        "axes.labelcolor": PALETTE["ink"],
        "text.color": PALETTE["ink"],
        "xtick.color": PALETTE["faint"],
        "ytick.color": PALETTE["faint"],
        "xtick.labelcolor": PALETTE["ink"],
        "ytick.labelcolor": PALETTE["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "grid.color": PALETTE["grid"],
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }


def _draw(axes: "Axes", scene: Scene, panel: Panel, layout: Layout) -> int:
    """One plot on its axes. Returns how many entries its legend has."""
    axes.set_facecolor("none")
    axes.grid(axis="y")
    lines = [_draw_curve(axes, scene, curve, layout) for curve in panel.curves if _has(scene, curve)]
    if panel.logarithmic:
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_minor_formatter(NullFormatter())
    _draw_limits(axes, panel)
    axes.margins(x=0.0)
    _draw_phases(axes, scene, panel, panel.key == "temperatures" and layout.width_in >= WIDE.width_in)
    lines += _draw_right(axes, scene, panel, layout)
    if layout is PICTURE:
        axes.set_ylabel(panel.unit)
        if panel.zoomed:
            axes.set_title(panel.title, loc="right", fontsize="medium", color=PALETTE["ink"])
    axes.set_xlabel("time, s")
    axes.xaxis.set_major_locator(MaxNLocator(10 if layout.width_in >= WIDE.width_in else 5, integer=True))
    return _draw_legend(axes, panel, scene, lines, layout)


def _draw_phases(axes: "Axes", scene: Scene, panel: Panel, with_words: bool) -> None:
    """What the run was doing, as shades behind the curves; and its end, as a line."""
    first_s, last_s = axes.get_xlim()
    for state, begin_s, end_s in _within(scene.phases, first_s, last_s) if panel.zoomed else scene.phases:
        axes.axvspan(begin_s, end_s, facecolor=PALETTE[PHASE_COLORS[state]], edgecolor="none", zorder=0)
        if with_words and end_s - begin_s > _WORD_SHARE * (last_s - first_s):
            _word_at_top(axes, (begin_s + end_s) / 2, PHASE_WORDS[state], "center")
    if scene.end_s is None or panel.zoomed:
        return
    axes.axvline(scene.end_s, color=PALETTE["ink"], linewidth=0.9, zorder=1.5)
    if with_words:
        late = scene.end_s > (first_s + last_s) / 2
        _word_at_top(axes, scene.end_s, f" {scene.end_word} ", "right" if late else "left")


def _within(phases: list[tuple[str, float, float]], first_s: float, last_s: float) -> list[tuple[str, float, float]]:
    """What of them lies in a stretch of time."""
    cut = [(state, max(begin_s, first_s), min(end_s, last_s)) for state, begin_s, end_s in phases]
    return [phase for phase in cut if phase[1] < phase[2]]


_WORD_SHARE = 0.25
"""Least share of the time axis that a phase needs for its word."""


def _word_at_top(axes: "Axes", time_s: float, word: str, where: Literal["left", "center", "right"]) -> None:
    axes.text(
        time_s,
        0.985,
        word,
        transform=axes.get_xaxis_transform(),
        ha=where,
        va="top",
        color=PALETTE["faint"],
        fontsize="small",
    )


def _draw_curve(axes: "Axes", scene: Scene, curve: Curve, layout: Layout) -> Line2D:
    series = scene.series[curve.group]
    (line,) = axes.plot(
        [math.nan if value is None else value for value in series["t_s"]],
        [math.nan if value is None else value for value in series[curve.name]],
        marker=curve.marker or "None",
        markersize=2.5 * len(curve.marker) + (2.5 if curve.width == 0.0 else 0.0),
        color=PALETTE[curve.color],
        linestyle=curve.style if curve.width else "None",
        linewidth=curve.width,
        alpha=curve.alpha,
        label=curve.label or "_",
        solid_capstyle="butt",
    )
    line.set_gid(plot_id(layout.name, curve.group, curve.name))
    return line


def _draw_limits(axes: "Axes", panel: Panel) -> None:
    """Limits within the axis as lines; those far from the curves as words at its edge.

    Sets the axis' range.
    """
    low, high = _range(axes, panel)
    axes.set_ylim(low, high)
    for limit in panel.limits:
        if low < limit.value < high:
            axes.axhline(limit.value, color=PALETTE[limit.color], linestyle=DOTTED, linewidth=1.1, zorder=1.6)
            _limit_word(axes, limit, limit.label, limit.value, 2.0)
        elif limit.value >= high:
            _limit_word(axes, limit, f"↑ {limit.label}", high, -11.0)
        else:
            _limit_word(axes, limit, f"↓ {limit.label}", low, 2.0)


def _limit_word(axes: "Axes", limit: Limit, word: str, at: float, above_pt: float) -> None:
    axes.annotate(
        word,
        (0.0, at),
        xycoords=("axes fraction", "data"),
        xytext=(4.0, above_pt),
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize="small",
        color=PALETTE[limit.color],
    )


def _range(axes: "Axes", panel: Panel) -> tuple[float, float]:
    """The curves with room around them. Temperatures and power take their limits in, impedance does not."""
    low, high = axes.get_ylim()
    if panel.key == "dose":
        return SMALLEST_DOSE_MIN, max(high, 10 * ABLATION_CEM43_MIN)
    if panel.key.endswith("impedance"):
        return 0.8 * low, 1.2 * high
    high = max([high, *(limit.value for limit in panel.limits)])
    low = 0.0 if panel.key.endswith("power") else low
    return low, high + 0.1 * (high - low)


def _draw_right(axes: "Axes", scene: Scene, panel: Panel, layout: Layout) -> list[Line2D]:
    curves = [curve for curve in panel.right if _has(scene, curve)]
    if not curves:
        return []
    right = axes.twinx()
    right.set_facecolor("none")
    right.spines["right"].set_visible(True)
    right.set_ylim(0.0, 1.06)
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.tick_params(axis="y", labelcolor=PALETTE["duty"])
    if layout is PICTURE:
        right.set_ylabel(panel.right_unit, color=PALETTE["duty"])
    right.margins(x=0.0)
    return [_draw_curve(right, scene, curve, layout) for curve in curves]


def _draw_legend(axes: "Axes", panel: Panel, scene: Scene, lines: list[Line2D], layout: Layout) -> int:
    handles = [line for line in lines if not str(line.get_label()).startswith("_")]
    if scene.simulated and not panel.zoomed:
        truth = Line2D([], [], color=PALETTE["faint"], linestyle=DASHED, linewidth=1.2, label="simulated truth")
        handles.append(truth)
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=layout.legend_columns,
        frameon=False,
        borderaxespad=0.2,
        handlelength=2.4,
        columnspacing=1.4,
        labelspacing=0.3,
    )
    return len(handles)


# matplotlib names every group the same in every picture; only the curves' names are ours.
_NAMELESS = re.compile(r'<g id="(?!(?:wide|narrow)-)[^"]*">')
_COLOR = re.compile(r"\b(stroke|fill): (#[0-9a-f]{6})")
_VARIABLE = {color: f"var(--{name})" for name, color in PALETTE.items()}


def _inline(text: str, name: str, title: str) -> str:
    """What matplotlib wrote, as an element of an HTML page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = _NAMELESS.sub("<g>", text)
    text = _COLOR.sub(lambda found: f"{found[1]}: {_VARIABLE.get(found[2], found[2])}", text)
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    return f'<svg class="{name}" {box[0]} role="img" aria-label="{title}">{rest}'
