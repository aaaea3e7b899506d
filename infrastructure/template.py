"""The stage's template, which is written in parts: `templates/stage/*.yaml`, a file for each concern.

Runs on a laptop or in CodeBuild. Reads the parts and returns one plain CloudFormation template: the sections of the
parts one below another, with their comments. A name that two parts give is an error, as it is within one file.
"""

from __future__ import annotations

import re
from pathlib import Path

from scones.errors import SconesError

PARTS = Path(__file__).parent / "templates" / "stage"
# In the order in which a reader expects them (CloudFormation user guide, template sections).
_SECTIONS = ("Metadata", "Parameters", "Mappings", "Rules", "Conditions", "Resources", "Outputs")
_SECTION_LINE = re.compile(r"(?P<section>[A-Za-z]+):")
_NAME_LINE = re.compile(r"  (?P<name>[A-Za-z0-9]+):")


class TemplatePartsError(SconesError):
    """Parts that do not make a template."""


def stage_template(parts: Path = PARTS) -> str:
    """Join all parts into one template. Raises TemplatePartsError for a name given twice and an unknown section."""
    head: list[str] = []
    sections: dict[str, list[str]] = {section: [] for section in _SECTIONS}
    owners: dict[tuple[str, str], Path] = {}
    for path in sorted(parts.glob("*.yaml")):
        current = head
        section = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := _SECTION_LINE.match(line):
                section = found["section"]
                current = sections.get(section, head)
                if current is not head:
                    continue
                if section not in ("AWSTemplateFormatVersion", "Description"):
                    raise TemplatePartsError(
                        f"{path.name}: {section} is no section of a template: {', '.join(_SECTIONS)}"
                    )
            elif section in sections and (found := _NAME_LINE.match(line)):
                owner = owners.setdefault((section, found["name"]), path)
                if owner is not path:
                    raise TemplatePartsError(f"{section} {found['name']} stands in {owner.name} and in {path.name}")
            current.append(line)
    lines = [*_without_comments(head)]
    for section, content in sections.items():
        if content:
            lines += ["", f"{section}:", *content]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _without_comments(head: list[str]) -> list[str]:
    """What a part says of itself above its first section is for whoever edits it."""
    return [line for line in head if line and not line.startswith("#")]
