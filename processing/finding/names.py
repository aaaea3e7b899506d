"""What classes and files may be called, and how names are shown; they come from somebody's disk, tar file or list.

Runs in the filter job and on a laptop. A class's name becomes part of file names, of S3 keys, and of lists between
commas. Unicode writes some letters in two ways, of which macOS takes one and Linux the other; ours is the composed one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from reporting.job import JobError

LONGEST_BYTES = 200
"""Of a class's name in UTF-8; the name of a picture's file has at most 255, with a number and a suffix."""
BESIDE_LETTERS = " .()&'+-\u200c\u200d"
"""The last two, which cannot be seen, join letters in Persian and Hindi or keep them apart."""
ACCENTS = ("Mn", "Mc", "Pc")
"""Categories of Unicode: marks above, below and beside letters, and what joins words, such as ``_``."""
RULE = f"start with a letter or digit, go on with those, space and _ . - ( ) & ' +, at most {LONGEST_BYTES} bytes"


def class_name(text: str) -> str:
    """A class's name as this project writes it: letters composed, no spaces around it."""
    return unicodedata.normalize("NFC", text).strip(" ")


def check_class_names(names: Iterable[str]) -> None:
    """Raises JobError for a name that suits no file, and for two that one disk or reader takes for the same."""
    seen: dict[str, str] = {}
    for name in names:
        if not _suits(name):
            raise JobError(f"class name {_short(name)!a} does not suit file names: {RULE}")
        if other := seen.get(_alike(name)):
            what = "is named twice" if other == name else f"and {name!r} differ only in case, width or spaces"
            raise JobError(f"class {other!r} {what}: give each class one name")
        seen[_alike(name)] = name


def _suits(name: str) -> bool:
    size = len(name.encode("utf-8", "surrogatepass"))
    return 0 < size <= LONGEST_BYTES and (name[0].isalnum() or name[0] == "_") and all(map(_belongs, name))


def _belongs(letter: str) -> bool:
    return letter.isalnum() or letter in BESIDE_LETTERS or unicodedata.category(letter) in ACCENTS


def _alike(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _short(name: str) -> str:
    most = LONGEST_BYTES // 4
    return name if len(name) <= most else f"{name[:most]}..."


def shown(place: PurePath | str) -> str:
    """A file's name for messages: what a terminal would act on, or cannot show, is written as its number."""
    text = place.as_posix() if isinstance(place, PurePath) else place
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_utf8(name: str) -> bool:
    """Whether it is text: Linux lets files be called by any bytes, S3 does not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
