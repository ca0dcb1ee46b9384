"""The plans, probes and boards that come with rfprobe: in the repository, or inside the installed package."""

from pathlib import Path

from rfprobe.errors import BadInput

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGED = Path(__file__).resolve().parent / "data"


def shipped(kind: str) -> Path:
    """The folder of the shipped `plans`, `probes`, `boards` or `firmware`."""
    in_repository = (_REPOSITORY / "pyproject.toml").is_file() and (_REPOSITORY / kind).is_dir()
    return (_REPOSITORY if in_repository else _PACKAGED) / kind


def names(kind: str) -> list[str]:
    """Names of the shipped TOML files of one kind, sorted: what `find` takes beside a path."""
    return sorted(path.stem for path in shipped(kind).glob("*.toml"))


def find(kind: str, name: str) -> Path:
    """The file `name` means: one that is there, else a shipped one of that name, with or without `.toml`.

    What looks like a path is handed back as it is, so that its reader says what is wrong with it. Raises
    BadInput for a bare name that means nothing.
    """
    path = Path(name)
    bare = len(path.parts) == 1 and not path.exists()
    stem = path.stem if path.suffix == ".toml" else name
    if bare and stem in names(kind):
        return shipped(kind) / f"{stem}.toml"
    if bare and not path.suffix:
        raise BadInput(f"{name}: neither a file nor one of the shipped {kind}: {', '.join(names(kind))}")
    return path
