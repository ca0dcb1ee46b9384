"""The compiler and the sources that a MicroPython image for RP2040 is built from, out of Debian's packages.

Nothing is installed: the packages are fetched with the machine's own apt, into package lists and a cache of
their own, checked by apt against the archive's signed Release file, and unpacked below the cache. Works
without root. The mirror is the one that the machine's own apt sources name; only the suite is changed.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rfprobe import micropython_mends
from rfprobe.errors import EnvironmentProblem, reason_of

COMPILER_SUITE = "bookworm"
SOURCE_SUITE = "trixie"

COMPILER_PACKAGES = (
    "gcc-arm-none-eabi",
    "binutils-arm-none-eabi",
    "libnewlib-arm-none-eabi",
    "libnewlib-dev",
    "libstdc++-arm-none-eabi-dev",
    # Shared libraries of the compiler's, for a machine that has no compiler of its own.
    "libgmp10",
    "libisl23",
    "libmpc3",
    "libmpfr6",
)
LIBRARY_PACKAGES = ("pico-sdk-source", "tinyusb-source")
SOURCE_PACKAGES = ("micropython", "mbedtls")

EXPECTED_UPSTREAM = {
    "micropython": "1.25.",
    "pico-sdk-source": "2.1.1",
    "tinyusb-source": "0.18.",
    "mbedtls": "3.6.",
}
"""What the build was tried with, by package: how the upstream version starts. Debian revisions may change."""

_DEBIAN_SUITES = re.compile(r"^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$")
_DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# RP2040 is an ARMv6-M without floating point. Of 700 MB of run-time libraries the other ARMs' stay packed.
_MULTILIB = "thumb/v6-m/nofp"
_OTHER_MULTILIBS = re.compile(
    r"^(?:usr/lib/arm-none-eabi/newlib|usr/lib/gcc/arm-none-eabi/[^/]+"
    r"|usr/include/newlib/c\+\+/[^/]+/arm-none-eabi)/(?:arm|thumb)/(?!v6-m(?:/|$))"
)
_UNUSED = re.compile(r"^usr/(?:share|lib/gcc/arm-none-eabi/[^/]+/(?:lto1|plugin|.*\.py$))")


@dataclass(frozen=True)
class Mirror:
    """Where Debian packages come from."""

    uri: str
    """Base URI of the archive, as apt takes it."""
    signed_by: str | None
    """Keyring path or inline key block that must have signed it; None leaves it to apt's trusted keys."""


@dataclass(frozen=True)
class Toolchain:
    """An unpacked toolchain."""

    root: Path
    versions: Mapping[str, str]
    """Debian version by package."""

    @property
    def compiler_bin(self) -> Path:
        """Folder of arm-none-eabi-gcc and its tools."""
        return self.root / "usr" / "bin"

    @property
    def libraries(self) -> Path:
        """Folder of the shared libraries that the compiler needs."""
        return self.root / "host_libraries"

    @property
    def pico_sdk(self) -> Path:
        """The Pico SDK's sources."""
        return self.root / "usr" / "src" / "pico-sdk"

    @property
    def micropython(self) -> Path:
        """MicroPython's sources, with tinyusb and mbedtls in their places and mpy-cross built."""
        return self.root / "micropython"


def say(line: str) -> None:
    """Report progress on stderr."""
    print(f"image: {line}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its output; EnvironmentProblem with one line when it cannot run or fails.

    The whole output goes to `log`, if given, which the fault names.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise EnvironmentProblem(f"{what}: cannot run {command[0]}: {reason_of(error)}") from error
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode != 0:
        where = "" if log is None else f" (all of it in {log})"
        raise EnvironmentProblem(f"{what} failed: {telling_line(done.stdout)}{where}")
    return done.stdout


def telling_line(output: str) -> str:
    """Return the line of a tool's output that most likely says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"\b(?:fatal )?error\b|^E: ", r"^Err:|\bfailed\b"):
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return line
    return lines[-1] if lines else "no output"


def find_tool(name: str, package: str) -> Path:
    """Return the path of a program beside this Python or on PATH; EnvironmentProblem names its package."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise EnvironmentProblem(f"{name} is needed and not installed (Debian package: {package})")
    return Path(found)


# The machine's own mirror


def find_mirror(override: str | None = None, apt_folder: Path = Path("/etc/apt")) -> Mirror:
    """Return the Debian mirror of this machine's apt sources, or `override`."""
    default_key = str(_DEBIAN_KEYRING) if _DEBIAN_KEYRING.is_file() else None
    if override is not None:
        return Mirror(override, default_key)
    for uri, suites, signed_by in _read_sources(apt_folder):
        if any(_DEBIAN_SUITES.match(suite) for suite in suites):
            return Mirror(uri, signed_by or default_key)
    raise EnvironmentProblem(
        "no Debian archive among this machine's apt sources: name one with --mirror or RFPROBE_DEBIAN_MIRROR"
    )


def _read_sources(apt_folder: Path) -> Iterator[tuple[str, list[str], str | None]]:
    """Yield URI, suites and signing key of each source of binary packages with component main."""
    parts = apt_folder / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        yield from _read_deb822(path.read_text(errors="replace"))
    for path in [apt_folder / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from _read_one_line(path.read_text(errors="replace"))


def _read_deb822(text: str) -> Iterator[tuple[str, list[str], str | None]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        usable = (
            "deb" in fields.get("types", "").split()
            and "main" in fields.get("components", "").split()
            and fields.get("enabled", "yes").lower() not in ("no", "false", "0")
        )
        for uri in fields.get("uris", "").split() if usable else ():
            yield uri, fields.get("suites", "").split(), fields.get("signed-by") or None


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of one deb822 stanza, names in lower case, continuation lines joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _read_one_line(text: str) -> Iterator[tuple[str, list[str], str | None]]:
    for line in text.splitlines():
        match = re.match(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.*)$", line)
        if match and "main" in match["rest"].split():
            signed = re.search(r"signed-by=(\S+)", match["options"] or "")
            yield match["uri"], [match["suite"]], signed[1] if signed else None


# apt, with lists and a cache of its own


class PackageSource:
    """apt with the machine's own network settings and with lists, cache and sources of its own."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        """Write apt's configuration below `folder`."""
        for tool in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
            find_tool(tool, "apt")
        self._folder = folder
        for part in ("state/lists/partial", "cache/archives/partial", "packages", "sources", "parts"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._write_sources(mirror)
        self._write_configuration()
        self._env = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"}

    def _write_sources(self, mirror: Mirror) -> None:
        signed_by = mirror.signed_by
        if signed_by is not None and "\n" in signed_by:
            key = self._folder / "archive-key.asc"
            key.write_text("\n".join("" if line == "." else line for line in signed_by.strip().splitlines()) + "\n")
            signed_by = str(key)
        options = f"[signed-by={signed_by}] " if signed_by else ""
        lines = [
            f"{kind} {options}{mirror.uri} {suite} main\n"
            for kind, suite in (("deb", COMPILER_SUITE), ("deb", SOURCE_SUITE), ("deb-src", SOURCE_SUITE))
        ]
        (self._folder / "sources.list").write_text("".join(lines))

    def _write_configuration(self) -> None:
        """Take the machine's Acquire settings (proxies, certificates) and leave its hooks and pins out."""
        acquire = run([find_tool("apt-config", "apt"), "dump", "Acquire"], what="reading apt's configuration")
        kept = [line for line in acquire.splitlines() if "::AllowInsecure" not in line and "Weak" not in line]
        own = {
            "Dir::State": self._folder / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self._folder / "cache",
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": self._folder / "parts",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": self._folder / "parts",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self._folder / "parts",
            "APT::Sandbox::User": "",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        lines = [*kept, *(f'{name} "{value}";' for name, value in own.items())]
        (self._folder / "apt.conf").write_text("\n".join(lines) + "\n")

    def update(self) -> None:
        """Fetch the package lists, whose signatures apt checks."""
        run(
            ["apt-get", "-o", "APT::Update::Error-Mode=any", "update"],
            what="fetching Debian's package lists",
            env=self._env,
            log=self._folder / "update.log",
        )

    def fetch_binary(self, packages: Sequence[str], suite: str) -> list[Path]:
        """Download binary packages, checked against the signed lists, and return their files."""
        folder = self._folder / "packages"
        self._apt(["download", *(f"{name}/{suite}" for name in packages)], folder, f"fetching from {suite}")
        return [self._downloaded(folder, name) for name in packages]

    def fetch_source(self, package: str) -> tuple[Path, str]:
        """Download a source package; return its upstream archive and its Debian version."""
        folder = self._folder / "sources"
        self._apt(["source", "--download-only", package], folder, f"fetching the source of {package}")
        listing = run(["apt-cache", "showsrc", "--only-source", package], what="apt-cache", env=self._env)
        fields = _fields(listing.strip().split("\n\n")[0])
        names = [line.split()[-1] for line in fields.get("checksums-sha256", "").splitlines() if line.split()]
        upstream = [name for name in names if re.search(r"\.orig\.tar\.\w+$", name)]
        if not upstream:
            raise EnvironmentProblem(f"Debian's source package {package} has no upstream archive")
        return folder / upstream[0], fields["version"]

    def _apt(self, arguments: Sequence[str], folder: Path, what: str) -> None:
        run(
            ["apt-get", "--quiet=2", *arguments],
            what=what,
            cwd=folder,
            env=self._env,
            log=self._folder / "fetch.log",
        )

    @staticmethod
    def _downloaded(folder: Path, name: str) -> Path:
        found = sorted(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise EnvironmentProblem(f"Debian package {name} was fetched but its file is not in {folder}")
        return found[-1]


# Unpacking


def unpack_deb(package: Path, destination: Path) -> None:
    """Unpack what the build needs of a .deb below `destination`."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacker:
        assert unpacker.stdout is not None
        _extract(unpacker.stdout, destination)
    if unpacker.returncode != 0:
        raise EnvironmentProblem(f"{package.name} is not a whole Debian package")


def _extract(stream: IO[bytes], destination: Path) -> None:
    linked: list[tarfile.TarInfo] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        _confine(archive)
        for member in archive:
            name = member.name.removeprefix("./")
            if _OTHER_MULTILIBS.match(name) or _UNUSED.match(name):
                continue
            if member.islnk():
                linked.append(member)
            else:
                archive.extract(member, destination)
    for member in linked:
        target = destination / member.linkname.removeprefix("./")
        path = destination / member.name.removeprefix("./")
        if target.is_file() and not path.exists():
            path.hardlink_to(target)


def _confine(archive: tarfile.TarFile) -> None:
    """Let nothing be unpacked outside the destination, where this Python (3.11.4 or newer) knows how."""
    archive.extraction_filter = getattr(tarfile, "tar_filter", lambda member, _path: member)  # pyright: ignore


def unpack_upstream(archive: Path, destination: Path) -> None:
    """Unpack an upstream archive, whose one top folder becomes `destination`."""
    parent = destination.parent / (destination.name + ".unpacking")
    parent.mkdir()
    with tarfile.open(archive) as opened:
        _confine(opened)
        opened.extractall(parent)
    (top,) = parent.iterdir()
    top.rename(destination)
    parent.rmdir()


def deb_version(package: Path) -> str:
    """Return the version that a .deb states."""
    return run(["dpkg-deb", "--field", package, "Version"], what=f"reading {package.name}").strip()


# The whole


def toolchain_key() -> str:
    """Return the digest of everything that decides what the unpacked toolchain holds: this file and the mends."""
    deciding = (Path(__file__), Path(micropython_mends.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in deciding)).hexdigest()


def provide_toolchain(cache: Path, mirror: str | None) -> Toolchain:
    """Return the unpacked toolchain from below `cache`; fetch and unpack it first if it is missing."""
    root = cache / f"toolchain-{toolchain_key()[:16]}"
    stamp = root / "versions.json"
    if not stamp.is_file():
        _make_toolchain(cache, root, find_mirror(mirror))
    versions: dict[str, str] = json.loads(stamp.read_text())
    return Toolchain(root, versions)


def _make_toolchain(cache: Path, root: Path, mirror: Mirror) -> None:
    make, compiler = find_tool("make", "make"), find_tool("cc", "gcc")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    versions = _fetch_and_unpack(PackageSource(cache / "apt", mirror), root)
    _arrange(root)
    _check_compiler(root)
    say("building mpy-cross")
    run(
        [make, "-C", root / "micropython" / "mpy-cross", f"-j{os.cpu_count() or 1}", f"CC={compiler}"],
        what="building mpy-cross",
        log=root / "mpy-cross.log",
    )
    # The lists are 170 MB and stale tomorrow; the packages stay, for the next version of this file.
    for part in ("state", "cache"):
        shutil.rmtree(cache / "apt" / part, ignore_errors=True)
    (root / "versions.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


def _fetch_and_unpack(source: PackageSource, root: Path) -> dict[str, str]:
    say(f"fetching the package lists of {COMPILER_SUITE} and {SOURCE_SUITE}")
    source.update()
    say("fetching the compiler and the sources, about 110 MB")
    versions: dict[str, str] = {}
    for packages, suite in ((COMPILER_PACKAGES, COMPILER_SUITE), (LIBRARY_PACKAGES, SOURCE_SUITE)):
        for name, path in zip(packages, source.fetch_binary(packages, suite), strict=True):
            versions[name] = _expected(name, deb_version(path))
            unpack_deb(path, root)
    for name in SOURCE_PACKAGES:
        archive, version = source.fetch_source(name)
        versions[name] = _expected(name, version)
        unpack_upstream(archive, root / name)
    return versions


def _expected(package: str, version: str) -> str:
    """Return the version, unless it is one that the build was not made for."""
    upstream = re.sub(r"^\d+:", "", version)
    if not upstream.startswith(EXPECTED_UPSTREAM.get(package, "")):
        raise EnvironmentProblem(
            f"Debian's {package} is {version}; this build is made for {EXPECTED_UPSTREAM[package]}*"
        )
    return version


def _arrange(root: Path) -> None:
    """Put what was unpacked where MicroPython's build and the moved compiler look for it."""
    micropython = root / "micropython"
    micropython_mends.mend_sources(micropython)
    for name, origin in (("tinyusb", root / "usr" / "src" / "tinyusb"), ("mbedtls", root / "mbedtls")):
        shutil.rmtree(micropython / "lib" / name, ignore_errors=True)
        shutil.copytree(origin, micropython / "lib" / name, symlinks=True)
    # The build only asks whether this file is there; nothing of micropython-lib is used.
    library = micropython / "lib" / "micropython-lib"
    library.mkdir(parents=True, exist_ok=True)
    (library / "README.md").touch()

    # Debian's compiler looks for newlib below /usr by absolute path; moved, it looks beside itself.
    target = root / "usr" / "lib" / "arm-none-eabi"
    (target / "lib").symlink_to("newlib")
    (target / "include").symlink_to("../../include/newlib")
    # g++ does the linking and asks for -lstdc++, of which this C program uses nothing: an empty archive
    # saves fetching 300 MB. The linker would name any symbol that is missing.
    (target / "newlib" / _MULTILIB / "libstdc++.a").write_bytes(b"!<arch>\n")

    libraries = root / "host_libraries"
    libraries.mkdir()
    for path in (root / "usr" / "lib").glob("*-linux-gnu*/lib*.so.*"):
        path.rename(libraries / path.name)


def compiler_environment(toolchain_root: Path) -> dict[str, str]:
    """Return the environment in which the unpacked compiler runs."""
    path = f"{toolchain_root / 'usr' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ,
        "PATH": path,
        "LD_LIBRARY_PATH": str(toolchain_root / "host_libraries"),
        "LC_ALL": "C",
    }


def _check_compiler(root: Path) -> None:
    """Compile and link one line, so that a machine on which the compiler cannot run is told so early."""
    source, program = root / "probe.c", root / "probe.elf"
    source.write_text("#include <stdint.h>\nint main(void) { return (int)(int8_t)0; }\n")
    target = ["-mcpu=cortex-m0plus", "-mthumb", "--specs=nosys.specs"]
    run(
        ["arm-none-eabi-g++", *target, "-x", "c", source, "-o", program],
        what="trying the unpacked compiler",
        env=compiler_environment(root),
    )
