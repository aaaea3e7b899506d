"""A user's processing script: holds the last rows back for a test."""

import argparse
from pathlib import Path

BASE = Path("/opt/ml/processing")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--held-back", type=int)
    count = parser.parse_args().held_back
    rows = (BASE / "raw" / "line.csv").read_text().split()
    for name, part in (("train", rows[:-count]), ("test", rows[-count:])):
        (BASE / name / "line.csv").write_text("\n".join(part) + "\n")
