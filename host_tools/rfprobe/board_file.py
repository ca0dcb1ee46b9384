"""A board's `board.toml`: how it is flashed and found."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rfprobe.errors import BadInput
from rfprobe.resources import shipped


@dataclass(frozen=True)
class BoardFile:
    """What the tools need of it."""

    name: str
    folder: Path
    mcu: str
    usb: tuple[int, int]
    """Vendor and product id that the running board shows."""
    flash: dict[str, Any]
    """The table [flash]: method, and what that method needs."""
    micropython: dict[str, Any]
    """The table [micropython]: port, architecture, and what an image is made with."""
    modules: tuple[Path, ...]
    """Files of other folders that go onto the board beside its own."""


def board_names() -> list[str]:
    """The boards that are shipped."""
    return sorted(path.parent.name for path in shipped("boards").glob("*/board.toml"))


def read_board(name: str) -> BoardFile:
    """The board of this name. Raises BadInput if there is none."""
    folder = shipped("boards") / name
    if name not in board_names():
        raise BadInput(f"--board {name}: must be one of {', '.join(board_names())}")
    told: dict[str, Any] = tomllib.loads((folder / "board.toml").read_text(encoding="utf-8"))
    usb, micropython = cast(dict[str, int], told["usb"]), cast(dict[str, Any], told["micropython"])
    more = cast(list[str], micropython.get("modules", []))
    modules = tuple((folder / each).resolve() for each in more)
    ids = (usb["vendor_id"], usb["product_id"])
    return BoardFile(name, folder, str(told["board"]["mcu"]), ids, told["flash"], micropython, modules)
