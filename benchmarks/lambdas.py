"""The size of each function's zip, and the time to import its handler in a fresh process.

`python benchmarks/lambdas.py`, on a machine with nothing else to do: `import_s` is wall time, `cpu_s` the processor's.
Each import runs in a process of its own, as a cold start does: the unpacked zip first on the path, then Powertools and
boto3 as installed here. `traced` adds the X-Ray SDK, which a function imports once an invocation is sampled.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from scones.artifacts import build as artifacts

ZIP_LIMIT_BYTES, IMPORT_LIMIT_S = 20_000, 0.5
IMPORT = """
import json, time
start, cpu = time.perf_counter(), time.process_time()
import lambdas.{handler}
if {traced}:
    from lambdas.inference import telemetry
    telemetry._tracer()
print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]))
"""


def import_s(handler: str, folder: str, traced: bool) -> list[float]:
    """Wall and processor seconds to import the handler in a fresh process."""
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= {"PYTHONPATH": folder, "AWS_EC2_METADATA_DISABLED": "true"}
    code = IMPORT.format(handler=handler, traced=traced)
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(finished.stdout)
    return found


def measure(handler: str, rounds: int) -> dict[str, object]:
    zipped = artifacts.function_zip(handler).data
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            archive.extractall(folder)
        telling = Path(folder, "lambdas/inference/telemetry.py").exists()
        times = [import_s(handler, folder, traced=False) for _ in range(rounds)]
        traced = [import_s(handler, folder, traced=True) for _ in range(rounds)] if telling else []
    row: dict[str, object] = {"function": handler, "zip_bytes": len(zipped)}
    row |= {"import_s": _median(times, 0), "cpu_s": _median(times, 1)}
    return row | ({"traced_s": _median(traced, 0), "traced_cpu_s": _median(traced, 1)} if traced else {})


def _median(times: list[list[float]], which: int) -> float:
    return round(statistics.median(pair[which] for pair in times), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rows = [measure(handler, parser.parse_args().rounds) for handler in artifacts.handlers()]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for row in rows:
        print(json.dumps(row))
    late = [row["function"] for row in rows if float(str(row["import_s"])) >= IMPORT_LIMIT_S]
    large = [row["function"] for row in rows if int(str(row["zip_bytes"])) >= ZIP_LIMIT_BYTES]
    print(f"zips of {ZIP_LIMIT_BYTES} bytes or more: {', '.join(map(str, large)) or 'none'}")
    print(f"imports of {IMPORT_LIMIT_S} s or more: {', '.join(map(str, late)) or 'none'}")


if __name__ == "__main__":
    main()
