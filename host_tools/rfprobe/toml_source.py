"""A TOML file read against a strict model, with every complaint told by file, line, key and reason.

`tomllib` and pydantic find what is wrong; neither says on which line. So on the error path alone the text is
parsed once more, by tree-sitter, whose tree knows where each key stands even when the file is broken.
"""

import difflib
import errno
import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rfprobe.errors import BadInput
from rfprobe_core import plan as device

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_FILE_BYTES = 262_144
"""A plan or a profile is a page of text. What is larger is some other file, and is not parsed."""

TOLD = "told"
"""Type of our own PydanticCustomErrors: their message is whole, nothing is to be added."""

KeyPath = tuple[str | int, ...]
"""A key's place: `("rf_stage", "max_duty")`, or with an index `("thermocouple", 1, "role")`."""

Model = TypeVar("Model", bound=BaseModel)

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOML_POSITION = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DECLARED_TWICE = re.compile(r"^Cannot declare .* twice$")
_MISSING_AND_MISSPELT = 0.6


@dataclass(frozen=True)
class Complaint:
    """One thing wrong with a file. `line` counts from 1; `gravity` orders several, the smallest first."""

    line: int
    key: str
    reason: str
    gravity: int

    def told(self, path: Path) -> str:
        """The one line a user reads."""
        return f"{path}:{self.line}: key `{self.key}`: {self.reason}"


# How grave each kind of complaint is: what may explain another comes before it.
_SYNTAX, _UNKNOWN, _TYPE, _RANGE, _MISSING, _CONTRADICTION = range(6)


def refusal(path: Path, complaints: list[Complaint]) -> BadInput:
    """The exception for these complaints: the gravest first, then in the file's order."""
    ordered = sorted(complaints, key=lambda each: (each.gravity, each.line))
    return BadInput("\n".join(each.told(path) for each in ordered))


@dataclass(frozen=True)
class Quantity:
    """Annotation of a TOML number that the device keeps as an integer: which parameter, how many to one unit.

    The limits are those of `rfprobe_core.plan.PARAMETERS`, so the host refuses what the device would.
    """

    parameter: str
    per_unit: float
    unit: str

    def stored(self, value: float) -> int:
        """`value` as the device keeps it, rounded to the nearest integer."""
        return round(value * self.per_unit)

    def shown(self, stored: int) -> str:
        """A stored value in the file's unit: `70 °C`."""
        return f"{stored / self.per_unit:.6g} {self.unit}".rstrip()

    def limits(self) -> tuple[int, int]:
        """The device's hard limits, as it keeps them."""
        _, _, low, high, _ = device.PARAMETERS[device.INDEX[self.parameter]]
        return low, high

    def limits_told(self) -> str:
        """The same in the file's unit: `38 to 95 °C`."""
        low, high = self.limits()
        return f"{low / self.per_unit:.6g} to {self.shown(high)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._within_limits, handler(source))

    def _within_limits(self, value: float) -> float:
        low, high = self.limits()
        if low <= self.stored(value) <= high:
            return value
        given = f"{value:.6g} {self.unit}".rstrip()
        raise PydanticCustomError(
            TOLD, "out of range: {given}; must be {range}", {"given": given, "range": self.limits_told()}
        )


def quantities(model: BaseModel) -> Iterator[tuple[str, Quantity, Any]]:
    """(field name, quantity, value) of each field of `model` that the device keeps."""
    for name, field in type(model).model_fields.items():
        for note in field.metadata:
            if isinstance(note, Quantity):
                yield name, note, getattr(model, name)


def quantity_keys(model: type[BaseModel], inside: KeyPath = ()) -> dict[str, tuple[KeyPath, Quantity]]:
    """parameter → (key, quantity) of every quantity in a model and the tables within it."""
    found: dict[str, tuple[KeyPath, Quantity]] = {}
    for name, field in model.model_fields.items():
        for note in field.metadata:
            if isinstance(note, Quantity):
                found[note.parameter] = ((*inside, name), note)
        within = _model_within(field.annotation)
        if within is not None:
            found.update(quantity_keys(within, (*inside, name)))
    return found


@dataclass(frozen=True)
class Source:
    """The text of a TOML file, and where its keys stand."""

    path: Path
    text: str

    def line_of(self, key: KeyPath) -> int:
        """The line of `key` (the first, of a list), or of the nearest table around it, or 1."""
        places = _places(self.text)
        for length in range(len(key), 0, -1):
            for known, line in places:
                if known[:length] == key[:length]:
                    return line
        return 1

    def key_near(self, line: int) -> str:
        """The key that a syntax error on `line` concerns: the first one on it, else the last before it."""
        places = [(known, begins) for known, begins in _places(self.text) if begins <= line and known]
        nearest = max((begins for _, begins in places), default=0)
        return next((told_key(known) for known, begins in places if begins == nearest), "(none)")

    def complain(self, key: KeyPath, reason: str) -> BadInput:
        """A contradiction found after the file was understood, told at `key`."""
        return refusal(self.path, [Complaint(self.line_of(key), told_key(key), reason, _CONTRADICTION)])


def told_key(key: KeyPath) -> str:
    """`("thermocouple", 1, "role")` → `thermocouple[1].role`; a part that is no bare TOML key is quoted."""
    told = ""
    for part in key:
        if isinstance(part, int):
            told += f"[{part}]"
        else:
            name = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            told += f".{name}" if told else name
    return told


def read_source(path: Path, first_section: str) -> Source:
    """The file's text. Raises BadInput, told at `first_section`, for what is no readable text file."""
    try:
        data = _read_regular_file(path)
    except OSError as error:
        reason = _READ_PROBLEMS.get(type(error), (error.strerror or str(error)).lower())
        raise _whole_file(path, first_section, f"cannot be read: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        reason = f"the file is too large: a plan or profile has at most {MAX_FILE_BYTES} bytes"
        raise _whole_file(path, first_section, reason)
    strange = _CONTROL_CHARACTER.search(data)
    if strange is not None:
        line = data.count(b"\n", 0, strange.start()) + 1
        reason = f"not a text file: byte 0x{strange.group()[0]:02x} at offset {strange.start()}"
        raise _whole_file(path, first_section, reason, line)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}"
        raise _whole_file(path, first_section, reason, line) from None
    if not text.strip():
        raise _whole_file(path, first_section, "missing: the file is empty")
    return Source(path, text)


def _read_regular_file(path: Path) -> bytes:
    """The first MAX_FILE_BYTES and one byte; a device or a pipe, which might never end, is not opened."""
    if not path.is_dir() and path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


_READ_PROBLEMS: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file",
    NotADirectoryError: "there is no such file",
    IsADirectoryError: "this is a directory, not a file",
    PermissionError: "no permission to read it",
}


def _whole_file(path: Path, key: str, reason: str, line: int = 1) -> BadInput:
    return refusal(path, [Complaint(line, key, reason, _SYNTAX)])


def load(path: Path, model: type[Model], first_section: str) -> tuple[Source, Model]:
    """Read `path` and validate it. Raises BadInput with all complaints, one a line, the gravest first."""
    source = read_source(path, first_section)
    try:
        table = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_refusal(source, str(error)) from None
    except RecursionError:
        raise _whole_file(path, first_section, "nested too deeply") from None
    except ValueError as error:  # a whole number of more digits than Python reads
        line = source.text.count("\n", 0, _longest_digits(source.text)) + 1
        complaint = Complaint(line, source.key_near(line), f"not valid: {error}".partition(";")[0], _SYNTAX)
        raise refusal(path, [complaint]) from None
    try:
        return source, model.model_validate(table)
    except ValidationError as error:
        raise refusal(path, _complaints(source, error, model)) from None


def _longest_digits(text: str) -> int:
    """Where the longest run of digits begins."""
    return max(re.finditer(r"\d+", text), key=lambda run: len(run.group())).start()


def _syntax_refusal(source: Source, message: str) -> BadInput:
    found = _TOML_POSITION.search(message)
    line = source.text.count("\n") + 1
    if found is not None and found["line"] is not None:
        line = int(found["line"])
    reason = _DECLARED_TWICE.sub("Cannot overwrite a value", _TOML_POSITION.sub("", message))
    plain = _PLAIN_SYNTAX.get(reason, f"not valid TOML: {reason[:1].lower()}{reason[1:]}")
    return refusal(source.path, [Complaint(line, source.key_near(line), plain, _SYNTAX)])


_PLAIN_SYNTAX = {
    "Cannot overwrite a value": "given twice",
    "Invalid value": "not a valid TOML value (text needs quotes, a number needs digits)",
    "Expected '=' after a key in a key/value pair": "not valid TOML: a key needs `= value` after it",
}


def _complaints(source: Source, error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    found: list[Complaint] = []
    for each in error.errors(include_url=False, include_input=True):
        key: KeyPath = each["loc"]
        gravity, reason = _reason(each["type"], each["msg"], each["input"], each.get("ctx", {}))
        if gravity == _UNKNOWN:
            reason += _did_you_mean(model, key)
        found.append(Complaint(source.line_of(key), told_key(key), reason, gravity))
    return [each for each in found if not _explained(each, found)]


def _reason(kind: str, message: str, given: object, context: Mapping[str, object]) -> tuple[int, str]:
    """(gravity, plain words) for one of pydantic's complaints."""
    wanted = _WANTED.get(kind)
    if wanted is not None:
        return _TYPE, f"must be {wanted}, is {_told_value(given)}"
    if kind == "extra_forbidden":
        return _UNKNOWN, "unknown key"
    if kind == "missing":
        return _MISSING, "missing"
    if kind == "finite_number":
        return _RANGE, f"must be a finite number, is {given}"
    if kind == "literal_error":
        return _RANGE, f"must be {context.get('expected')}, is {_told_value(given)}"
    if kind == TOLD:
        return _RANGE, message
    return _RANGE, f"{message[:1].lower()}{message[1:]}, is {_told_value(given)}"


_WANTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _told_value(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    told = repr(value)
    kind = "the text " if isinstance(value, str) else ""
    return kind + (told if len(told) <= 40 else told[:37] + "...")


def _did_you_mean(model: type[BaseModel], key: KeyPath) -> str:
    known = _known_keys(model, key[:-1])
    close = difflib.get_close_matches(str(key[-1]), known, n=1, cutoff=_MISSING_AND_MISSPELT)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known here: {', '.join(known)}" if known else ""


def _known_keys(model: type[BaseModel], inside: KeyPath) -> list[str]:
    """The keys that the table at `inside` may have."""
    here: type[BaseModel] | None = model
    for part in inside:
        if isinstance(part, int) or here is None:
            continue
        field = here.model_fields.get(part)
        here = None if field is None else _model_within(field.annotation)
    return [] if here is None else list(here.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `X`, `X | None` or `tuple[X, ...]` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _model_within(part)
        if found is not None:
            return found
    return None


def _explained(complaint: Complaint, found: list[Complaint]) -> bool:
    """A key that is missing because it was misspelt needs no line of its own."""
    if complaint.gravity != _MISSING:
        return False
    name = complaint.key.rpartition(".")[2]
    return any(each.gravity == _UNKNOWN and each.reason.endswith(f"did you mean `{name}`?") for each in found)


Place = tuple[KeyPath, int]
"""A key and the line it begins on."""

_KEY_NODES = ("bare_key", "quoted_key", "dotted_key")
_DEEPEST = 20


def _places(text: str) -> list[Place]:
    """Every key and table of a TOML text, broken or not, in the file's order."""
    from tree_sitter import Language, Parser
    from tree_sitter_toml import language

    tree = Parser(Language(language())).parse(text.encode())
    places: list[Place] = []
    _note_tables(tree.root_node, places)
    return places


def _note_tables(root: "Node", places: list[Place]) -> None:
    """Walk the top level: pairs before any table, tables, and the pieces the parser could make nothing of."""
    section: KeyPath = ()
    for node in root.children:
        if node.type in ("table", "table_array_element"):
            section = _section_of(node, places)
            places.append((section, node.start_point.row + 1))
            _note_inside(node, section, places)
        elif node.type == "ERROR":
            section = _note_broken(node, section, places)
        elif node.type == "pair":
            _note_pair(node, section, places)


def _section_of(table: "Node", places: list[Place]) -> KeyPath:
    """The path of `[a.b]`, or with its index that of one more `[[a.b]]`."""
    section: KeyPath = tuple(part for child in table.children[:2] for part in _key_parts(child))
    if table.type == "table":
        return section
    index = sum(1 for known, _ in places if known[:-1] == section and isinstance(known[-1], int))
    return (*section, index)


def _note_inside(node: "Node", inside: KeyPath, places: list[Place]) -> None:
    """Note the pairs within a table, a value or a list."""
    index = 0
    for child in node.children:
        if child.type == "pair":
            _note_pair(child, inside, places)
        elif child.type == "ERROR":
            _note_broken(child, inside, places)
        elif node.type == "array" and child.is_named and len(inside) < _DEEPEST:
            _note_inside(child, (*inside, index), places)
            index += 1


def _note_pair(pair: "Node", inside: KeyPath, places: list[Place]) -> None:
    key: KeyPath = (*inside, *_key_parts(pair.children[0]))
    places.append((key, pair.start_point.row + 1))
    for value in pair.children[1:]:
        if value.type in ("inline_table", "array") and len(key) < _DEEPEST:
            _note_inside(value, key, places)


def _note_broken(error: "Node", section: KeyPath, places: list[Place]) -> KeyPath:
    """Note the keys in a broken piece; return the section that follows from it (`[plan` without its `]`)."""
    before = ""
    for child in error.children:
        if child.type in _KEY_NODES:
            key: KeyPath = tuple(_key_parts(child))
            section = key if before in ("[", "[[") else section
            places.append((key if before in ("[", "[[") else (*section, *key), child.start_point.row + 1))
        elif child.type == "pair":
            _note_pair(child, section, places)
        before = child.type
    return section


def _key_parts(node: "Node") -> list[str]:
    """`a."b c".d` → ["a", "b c", "d"]."""
    if node.type == "dotted_key":
        sound = itertools.takewhile(lambda child: child.type != "ERROR", node.children)
        return [part for child in sound for part in _key_parts(child)]
    if node.type not in _KEY_NODES or node.text is None:
        return []
    return [node.text.decode(errors="replace").strip("\"'")]
