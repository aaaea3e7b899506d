"""Sets up ``.venv`` with the locked packages: ``python -m scones.installation run`` (or ``build``: test tools as well).

Run by the make targets on a bare Python, so it needs the standard library alone. It installs uv from the package
registry and lets uv install what ``requirements/`` locks, each file by its digest; where uv is not to be had for this
platform, and with ``INSTALLER=pip``, pip does the same. pip's configuration (index, find-links, proxy) holds for both.
torch is taken without CUDA where that build can be had: from pip's find-links, from PyTorch's own index, or else from
the registry, whose build for Linux brings NVIDIA's libraries. ``LOCKED=1`` takes nothing that no digest is known of.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scones.unread_files import take_out

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
UNREACHABLE = "the package registry cannot be reached"
LEAST_FREE_MB = 50
CPU_TIMEOUT_S = 10  # an index that is silent for longer is taken for one that cannot be reached
# What an installer prints when it fails, and what a person can do about it; the first that is found counts.
CAUSES: Mapping[str, str] = {
    r"No space left on device|os error 28|Errno 28": (
        "the disk is full: {free} MB are free below {venv}, {needed} are needed"
    ),
    r"ensurepip is not": "this Python lacks what makes environments; install it (python3-venv on Debian and Ubuntu)",
    r"Disk quota exceeded": "your disk quota is used up: about {needed} MB are needed below {venv}",
    r"(?i)proxy|tunnel": "the proxy does not lead to the registry; check HTTPS_PROXY",
    r"(?i)hash(es)? (mismatch|do not match)|DO NOT MATCH": "a file is not the one that is locked: {line}",
    r"(?i)(name or service not known|name resolution|resolve host|dns error|connection refused|timed out|unreachable"
    r"|newconnectionerror|error sending request|client error|failed to establish|was not found in the cache"
    r"|network was disabled|network connectivity is disabled)": (
        "the package registry cannot be reached; check the network, a proxy (HTTPS_PROXY) and `pip config list`"
    ),
    r"(?i)no matching distribution|no version of|no wheels|not found in the package|not compatible|no solution": (
        "the registry has no file of a package for {platform}: {line}"
    ),
}


class InstallationError(Exception):
    """The set-up cannot go on; the message is one line for a person."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of this project. ``kind``: the file below requirements/ that it gets."""

    venv: Path
    kind: str
    locked: bool

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def tool(self) -> Path:
        """The folder of the installer, which stays beside the environment: what runs does not need it."""
        return self.venv.resolve().parent / "build" / "uv"

    @property
    def file(self) -> Path:
        """What is installed, but for torch."""
        return REQUIREMENTS / f"{self.kind}.txt"


def main(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Set the environment up, or say in one line why not. Returns the exit code."""
    place = Environment(Path(environ.get("VENV") or ROOT / ".venv"), words[0], bool(environ.get("LOCKED")))
    started = time.monotonic()
    try:
        set_up(place, environ.get("INSTALLER", "uv"))
    except InstallationError as error:
        print(f"Set-up failed: {error}. Then run make again: it goes on from here.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Set-up failed: {cause(str(error), place)}. Then run make again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Set-up was interrupted. Run make again: it goes on from here.", file=sys.stderr)
        return 130
    print(f"Set up in {time.monotonic() - started:.0f} s.")
    return 0


def set_up(place: Environment, installer: str) -> None:
    """The environment with everything in it. Raises InstallationError."""
    print(f"Setting up {place.venv.name} (once): {said(place.file)}", flush=True)
    make_venv(place)
    settings = pip_settings(place)
    install = [*(uv_command(place, settings) if installer == "uv" else pip_command(place)), "--no-deps"]
    if not installed(place, "setuptools"):
        prepare(place, "setuptools")  # builds what comes as source, and this project
    run_or_cached([*install, "--require-hashes", "--no-build-isolation", "--requirement", str(place.file)], place)
    if not installed(place, "torch"):
        install_torch(place, install, settings)
    run([*install, "--no-build-isolation", "--no-index", "--editable", str(ROOT)], place)
    for packages in place.venv.glob("lib/*/site-packages"):
        take_out(packages)


def make_venv(place: Environment) -> None:
    """A virtual environment of this Python; one of another Python, or half made, is replaced."""
    found = version_of(place)
    if found == platform.python_version():
        return
    if place.venv.exists():
        print(
            f"Replacing {place.venv.name}, which is of Python {found or 'none'}, by one of {platform.python_version()}."
        )
        shutil.rmtree(place.venv)
    run([sys.executable, "-m", "venv", str(place.venv)], place)


def version_of(place: Environment) -> str:
    """The version of the environment's Python; empty where it has none that runs, or no pip that is complete."""
    listed = "importlib.metadata.distribution('pip').read_text('RECORD')"  # what an installation writes last
    told = f"import importlib.metadata, platform; print(platform.python_version() if {listed} else '')"
    try:
        done = subprocess.run([place.python, "-c", told], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def pip_settings(place: Environment) -> dict[str, str]:
    """What pip is configured to do, by option; later sources win, the environment's variables last."""
    done = subprocess.run(
        [place.python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, env=quiet()
    )
    found: dict[str, str] = {}
    for key, value in re.findall(r"^[\w:]+\.([\w-]+)=('.*'|\".*\")$", done.stdout, re.MULTILINE):
        found |= {key: str(ast.literal_eval(value))}
    return found


def uv_command(place: Environment, settings: Mapping[str, str]) -> list[str]:
    """uv, itself installed as it is locked, set to install as pip would; pip where there is none for this platform."""
    try:
        if not [*place.tool.glob(f"uv-{locked_version('uv')}.dist-info/RECORD")]:
            shutil.rmtree(place.tool, ignore_errors=True)
            prepare(place, "uv", "--target", str(place.tool))
    except InstallationError as error:
        if "has no file" not in str(error):
            raise
        print("uv is not to be had for this platform: pip installs, which takes longer.")
        return pip_command(place)
    return [str(place.tool / "bin" / "uv"), "pip", "install", "--python", str(place.python), *index_options(settings)]


def prepare(place: Environment, name: str, *options: str) -> None:
    """One package that the set-up itself needs, by pip. Raises InstallationError."""
    wanted = place.venv / f"{name}.txt"
    wanted.write_text(block(name), encoding="utf-8")
    only = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(wanted)]
    run([*pip_command(place), *only, *options], place)


def installed(place: Environment, name: str) -> bool:
    """Whether the environment has the version of a package that is locked, torch in whichever build."""
    return any([*place.venv.glob(f"lib/*/site-packages/{name}-{locked_version(name)}*.dist-info/RECORD")])


def locked_version(name: str) -> str:
    """The version of a package that is locked."""
    return block(name).split()[0].partition("==")[2]


def index_options(settings: Mapping[str, str]) -> list[str]:
    """pip's configuration in uv's words; digests are locked, so any index may bring any package, as with pip."""
    options = ["--index-strategy", "unsafe-best-match"]
    names = {"index-url": "--default-index", "extra-index-url": "--index", "trusted-host": "--allow-insecure-host"}
    for name, option in {**names, "find-links": "--find-links"}.items():
        for value in settings.get(name, "").split():
            options += [option, value]
    return options + (["--no-index"] if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"} else [])


def pip_command(place: Environment) -> list[str]:
    """The environment's pip."""
    return [str(place.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--retries", "2"]


def install_torch(place: Environment, install: Sequence[str], settings: Mapping[str, str]) -> None:
    """torch's smallest build that can be had. Raises InstallationError when there is none at all."""
    at_once = {"UV_HTTP_TIMEOUT": str(CPU_TIMEOUT_S), "UV_HTTP_RETRIES": "0"}
    cpu = REQUIREMENTS / "torch-cpu.txt"
    wanted = ["--require-hashes", "--requirement", str(cpu)] if place.locked else [block("torch").split()[0]]
    for options in cpu_sources(install, settings):
        try:
            return run([*install, *options, *wanted], place, at_once)
        except InstallationError as error:
            if "disk" in str(error):
                raise
    file = REQUIREMENTS / "torch.txt"
    print(f"torch from the package registry: {said(file)}", flush=True)
    return run([*install, "--require-hashes", "--requirement", str(file)], place)


def cpu_sources(install: Sequence[str], settings: Mapping[str, str]) -> list[list[str]]:
    """Options that find torch's CPU build, nearest first; none on macOS, where the registry has no other build."""
    if platform.system() != "Linux":
        return []
    near = [["--no-index"]] if settings.get("find-links") else []
    return near + ([["--torch-backend", "cpu"]] if install[1] == "pip" else [])


def run_or_cached(command: Sequence[str], place: Environment) -> None:
    """Run uv's command; without a network from what its cache holds. Raises InstallationError with the first cause."""
    try:
        run(command, place)
    except InstallationError as error:
        if command[1] != "pip" or UNREACHABLE not in str(error):
            raise
        try:
            run([*command, "--offline"], place)
        except InstallationError:
            raise error from None


def run(command: Sequence[str | Path], place: Environment, more: Mapping[str, str] | None = None) -> None:
    """Run a command quietly. Raises InstallationError with the cause that its output names."""
    environ = {**quiet(), **(more or {})}
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, errors="replace"
    )
    if done.returncode:
        raise InstallationError(cause(done.stdout, place))


def quiet() -> dict[str, str]:
    """The environment's variables without what would turn an installer to another place or to colours."""
    dropped = {"PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PYTHON"}
    return {**{key: value for key, value in os.environ.items() if key not in dropped}, "NO_COLOR": "1"}


def cause(output: str, place: Environment) -> str:
    """The one line for a person: what went wrong, and what to do."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["nothing was printed"]
    for pattern, message in CAUSES.items():
        hits = [line for line in lines if re.search(pattern, line)]
        if hits:
            return message.format(**words_about(place), line=hits[-1].removeprefix("cause: ")[:200])
    words = words_about(place)
    if int(words["free"]) < LEAST_FREE_MB:  # some installers swallow the reason
        return next(iter(CAUSES.values())).format(**words)
    return f"the installer stopped with: {lines[-1][:300]}"


def words_about(place: Environment) -> dict[str, str]:
    """What messages say about this machine."""
    parent = next(folder for folder in (place.venv, *place.venv.resolve().parents) if folder.exists())
    return {
        "free": str(shutil.disk_usage(parent).free // 1_000_000),
        "needed": "1,500",
        "venv": str(place.venv),
        "platform": f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    }


def block(name: str) -> str:
    """The lines of one package among what is locked."""
    text = "".join((REQUIREMENTS / f"{file}.txt").read_text(encoding="utf-8") for file in ("build", "torch"))
    found: list[str] = re.findall(rf"^{re.escape(name)}==.*(?:\n    .*)*\n", text, re.MULTILINE)
    return found[0]


def said(file: Path) -> str:
    """What a locked file says of its own size, in its second line."""
    return file.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
