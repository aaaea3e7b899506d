"""The diagrams of docs/ as pictures for the site, which needs no network and no script to show them.

    npm install --prefix build/mermaid mermaid@11
    python -m benchmarks.pages.diagrams

Pages keep their diagrams as Mermaid's text, which GitHub draws. This draws each one with Chromium (`--chromium PATH`)
into docs/pictures/diagrams/, named by a digest of its text; `make docs` puts the pictures in the texts' places. A test
says which diagrams have to be drawn again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures" / "diagrams"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DRAWN = re.compile(r"<svg.*?</svg>", re.DOTALL)
SETTINGS = {"startOnLoad": False, "theme": "neutral", "flowchart": {"wrappingWidth": 400}}
PAGE = """<!doctype html><meta charset="utf-8"><script src="{script}"></script><div id="there"></div><script>
mermaid.initialize({settings});
mermaid.render("{name}", {text}).then(({{svg}}) => {{ document.getElementById("there").innerHTML = svg; }});
</script>"""


def main() -> None:
    """Draw what is not drawn yet, and remove what no page has any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="chromium", help="the browser's program")
    parser.add_argument("--mermaid", type=Path, default=ROOT / "build/mermaid/node_modules/mermaid/dist/mermaid.min.js")
    arguments = parser.parse_args()
    wanted = {picture_of(text): text for text in diagrams()}
    for path in set(FOLDER.glob("*.svg")) - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        if not path.is_file():
            picture = drawn(arguments.chromium, arguments.mermaid.resolve(), text, f"diagram-{path.stem}")
            path.write_text(picture + "\n", encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def diagrams() -> Iterator[str]:
    """The texts of every diagram of the site's pages."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        yield from BLOCK.findall(path.read_text(encoding="utf-8"))


def picture_of(text: str) -> Path:
    """The file of a diagram's picture."""
    return FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.svg"


def drawn(chromium: str, script: Path, text: str, name: str) -> str:
    """The picture, as a browser without a window draws it; its styles hold below ``name``. Raises SystemExit."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        words = {"settings": json.dumps(SETTINGS), "text": json.dumps(text), "name": name}
        filled = PAGE.format(script=script.as_uri(), **words)
        page.write_text(filled, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}/profile"]
        command = [chromium, *options, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = DRAWN.search(done.stdout)
    if found is None or 'aria-roledescription="error"' in found[0]:
        raise SystemExit(f"no picture came of the diagram that begins {text[:80]!r}")
    # One line, which Markdown leaves as it is, with its HTML as XML.
    return " ".join(found[0].split()).replace("<br>", "<br/>")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put pictures in the places of diagrams, of those that are drawn; MkDocs calls it for each page of the site."""

    def picture(found: re.Match[str]) -> str:
        path = picture_of(found[1])
        return f'<div class="diagram">{path.read_text(encoding="utf-8").strip()}</div>' if path.is_file() else found[0]

    return BLOCK.sub(picture, markdown)


if __name__ == "__main__":
    main()
