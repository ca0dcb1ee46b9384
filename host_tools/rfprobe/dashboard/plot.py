"""The plot in the browser: `plot.js`, fed with columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui.element import Element
from nicegui.elements.echart import EChart  # its ECharts is what plot.js imports

from rfprobe.dashboard.columns import Columns

__all__ = ["EChart", "Plot"]


class Plot(Element, component="plot.js"):
    """A viewer's own: it remembers how far this viewer has been told."""

    def __init__(self) -> None:
        super().__init__()
        self._known: tuple[Any, ...] = ()
        self._from = 0

    def news(self, columns: Columns, which: tuple[Any, ...], limits: Mapping[str, float]) -> dict[str, Any]:
        """What this viewer does not know yet; everything, where `which` is another picture than before."""
        which = (*which, columns.remade)
        told: dict[str, Any] = {}
        if which != self._known:
            told = {"names": columns.names, "limits": dict(limits)}
            self._known, self._from = which, 0
        told |= columns.since(self._from)
        self._from = max(columns.last, 0)
        return told

    def add(self, news: Mapping[str, Any]) -> None:
        """Send them."""
        self.run_method("add", news)
