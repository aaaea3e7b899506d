"""What the filter step costs on an archive of CIFAR-100's full size: ``python -m benchmarks.model.filter``.

Runs on a laptop (Linux). Makes an archive of 50,000 training and 10,000 test images in the official layout (photos of
the real archive, shifted in brightness and with noise, so that they compress like the real ones), then two programs
filter it, each in a process of its own: the pipeline's job, and the way such notebooks do it (pandas picks the rows,
`numpy.dstack` reshapes one at a time, matplotlib saves it). Prints CPU seconds of it all, imports too, and the peak
of resident memory, for two classes and for all; the job also splits, checks and digests. Files go to memory (/dev/shm,
where there is one) or else TMPDIR, so that a slow disk is not what is measured.

Both inflate the whole archive, whatever the classes, because gzip has no other way to the last image. What that alone
takes with either's inflater is printed too: it bounds the ratio that few classes can reach.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "cifar-100-python"
CLASSES = 100
ROWS = {"train": 50_000, "test": 10_000}
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


INFLATE = """
import sys, {module}
with {module}.open(sys.argv[1]) as file:
    while file.read(1 << 18):
        pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="folder of the archive")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the cheapest counts (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one document")
    parser.add_argument("--notebook", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.notebook:
        as_a_notebook(Path(arguments.notebook[0]), Path(arguments.notebook[1]), arguments.notebook[2])
        return
    with tempfile.TemporaryDirectory(prefix="scones-filter-", dir=memory_folder()) as folder:
        archive = Path(folder) / "cifar-100-python.tar.gz"
        synthesise(arguments.data / archive.name, archive)
        megabytes = archive.stat().st_size / 1e6
        results = [measure(archive, Path(folder), wanted, arguments.runs) for wanted in ("8,48", numbers(CLASSES))]
        job, notebook = (inflating(module, archive, arguments.runs) for module in ("isal.igzip", "gzip"))
    if arguments.json:
        figures = {"archive_mb": round(megabytes, 1), "job_inflates_cpu_s": job, "notebook_inflates_cpu_s": notebook}
        print(json.dumps({**figures, "runs": arguments.runs, "results": results}))
        return
    print(f"archive of {megabytes:.0f} MB, cheapest of {arguments.runs} runs each")
    print(f"inflating : job {job:6.2f} CPU s; notebook {notebook:6.2f} CPU s; ratio {notebook / job:.1f}")
    for result in results:
        print(
            f"{result['classes']:3} classes: job {result['job_cpu_s']:6.2f} CPU s, {result['job_peak_mib']:4.0f} MiB;"
            f" notebook {result['notebook_cpu_s']:6.2f} CPU s, {result['notebook_peak_mib']:4.0f} MiB;"
            f" ratio {result['ratio']:.1f}"
        )


def memory_folder() -> str | None:
    shared_memory = Path("/dev/shm")  # noqa: S108 - a fresh folder is made inside
    return str(shared_memory) if shared_memory.is_dir() else None


def numbers(count: int) -> str:
    return ",".join(map(str, range(count)))


def synthesise(real: Path, target: Path) -> None:
    """Write the archive."""
    with tarfile.open(real) as tar:
        member = tar.extractfile(f"{FOLDER}/train")
        # an archive that is trusted: the user names it
        photographs = pickle.loads(member.read() if member else b"", encoding="bytes")[b"data"]  # noqa: S301
    generator = np.random.default_rng(0)
    with tarfile.open(target, "w:gz", compresslevel=6) as tar:
        for name, count in ROWS.items():
            add(tar, name, batch(photographs.reshape(-1, 3, 1024), count, generator))
        add(tar, "meta", {b"fine_label_names": [f"class_{number:02d}".encode() for number in range(CLASSES)]})


def batch(photographs: Any, count: int, generator: np.random.Generator) -> dict[bytes, Any]:
    images = photographs[generator.integers(0, len(photographs), count)].astype(np.int16)
    images += generator.integers(-20, 21, (count, 3, 1), dtype=np.int16)
    images += generator.integers(-1, 2, images.shape, dtype=np.int16)
    labels = generator.permutation(np.repeat(np.arange(CLASSES), count // CLASSES))
    return {
        b"filenames": [f"picture_s_{number:06d}.png".encode() for number in range(count)],
        b"batch_label": b"synthesised",
        b"fine_labels": labels.tolist(),
        b"coarse_labels": (labels // 5).tolist(),
        b"data": images.clip(0, 255).astype(np.uint8).reshape(count, -1),
    }


def add(tar: tarfile.TarFile, name: str, document: dict[bytes, Any]) -> None:
    content = pickle.dumps(document, protocol=4)
    member = tarfile.TarInfo(f"{FOLDER}/{name}")
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def measure(archive: Path, folder: Path, wanted: str, runs: int) -> dict[str, float]:
    """CPU seconds and peak memory of both ways for these classes."""
    job, notebook = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=folder) as output:
            options = ["--source", str(archive), "--output", output, "--classes", wanted]
            job.append(run("-m", "processing.filter_cifar", *options))
        with tempfile.TemporaryDirectory(dir=folder) as output:
            notebook.append(run(__file__, "--notebook", str(archive), output, wanted))
    (job_cpu, job_peak), (notebook_cpu, notebook_peak) = min(job), min(notebook)
    return {
        "classes": wanted.count(",") + 1,
        "job_cpu_s": round(job_cpu, 2),
        "job_peak_mib": round(job_peak),
        "notebook_cpu_s": round(notebook_cpu, 2),
        "notebook_peak_mib": round(notebook_peak),
        "ratio": round(notebook_cpu / job_cpu, 1),
    }


def inflating(module: str, archive: Path, runs: int) -> float:
    """CPU seconds of a process that inflates the archive and nothing else."""
    return round(min(run("-c", INFLATE.format(module=module), str(archive))[0] for _ in range(runs)), 2)


def run(*arguments: str) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURE, sys.executable, *arguments]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    code, cpu_s, peak_mib = finished.stdout.split() or ["1", "0", "0"]
    if code != "0":
        sys.exit(f"{arguments[0]} {arguments[1]} failed: {finished.stderr.strip()[-500:]}")
    return float(cpu_s), float(peak_mib)


def as_a_notebook(archive: Path, output: Path, classes: str) -> None:
    """Row by row, as in the notebooks that this project replaces."""
    import matplotlib.pyplot as plt
    import pandas as pd

    wanted = [int(number) for number in classes.split(",")]
    with tarfile.open(archive) as tar:
        tar.extractall(output, filter="data")
    for split in ROWS:
        (output / split).mkdir()
        with (output / FOLDER / split).open("rb") as file:
            document = pickle.load(file, encoding="bytes")  # noqa: S301 - made above
        names = [name.decode() for name in document[b"filenames"]]
        table = pd.DataFrame({"filenames": names, "labels": document[b"fine_labels"], "row": range(len(names))})
        table = table[table["labels"].isin(wanted)]
        for row, name in zip(table["row"], table["filenames"], strict=True):
            pixels = document[b"data"][row]
            planes = (pixels[0:1024], pixels[1024:2048], pixels[2048:])
            plt.imsave(output / split / name, np.dstack([plane.reshape(32, 32) for plane in planes]))


if __name__ == "__main__":
    main()
