"""Takes out of an environment what nothing here reads: packages' own tests, and headers that extensions are built with.

A quarter of a gigabyte. The set-up calls it, so it needs the standard library alone. Packages stay whole for their
installers: what is gone is gone from a package's RECORD as well, so that pip and uv replace and remove it as ever.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

# By distribution, patterns below site-packages. torch needs its headers only where it compiles (`torch.compile`).
UNREAD: Mapping[str, tuple[str, ...]] = {
    "matplotlib": ("matplotlib/tests",),
    "networkx": ("networkx/**/tests",),
    "numpy": ("numpy/**/tests",),
    "onnx": ("onnx/backend/test", "onnx/test"),
    "pandas": ("pandas/tests",),
    "pyarrow": ("pyarrow/include", "pyarrow/tests"),
    "sympy": ("sympy/**/tests",),
    "torch": ("torch/bin/*Test", "torch/bin/protoc*", "torch/bin/test_*", "torch/include", "torch/test"),
}


def take_out(packages: Path) -> None:
    """Remove them below a site-packages folder. Can be repeated, also after a run that was interrupted."""
    for name, patterns in UNREAD.items():
        for record in packages.glob(f"{name}-*.dist-info/RECORD"):
            for path in [path for pattern in patterns for path in packages.glob(pattern)]:
                _remove(path)
            _shorten(record, packages)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shorten(record: Path, packages: Path) -> None:
    """Leave files that exist. Written anew: the file may be linked with the one in uv's cache."""
    with record.open(encoding="utf-8", newline="") as file:
        rows = [*csv.reader(file)]
    kept = [row for row in rows if (packages / row[0]).exists()]
    if len(kept) < len(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(kept)
        beside = record.with_name("RECORD.new")
        beside.write_text(text.getvalue(), encoding="utf-8")
        beside.replace(record)
