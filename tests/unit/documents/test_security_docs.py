"""docs/security.md, aws.md and deployments.md against what they speak of: the templates' roles, tests, verbs and costs.

``python -m tests.unit.documents.test_security_docs`` writes the tables of roles anew.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infrastructure.delivery import delivery_template
from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from scones.cli import VERBS
from scones.commands.stages.cost import estimated
from scones.cost.assumptions import Assumptions
from scones.lazy_verbs import whole_group
from scones.stage.settings import PROJECT_ROOT, Settings

DOCS = {name: PROJECT_ROOT / "docs" / name for name in ("aws.md", "deployments.md", "security.md")}
TEMPLATES = {"stage": stage_template, "delivery": delivery_template}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: found for name, found in template["Resources"].items() if found["Type"] == kind}


def may(document: dict[str, Any]) -> Iterator[str]:
    """Each statement's name, which says what it is for, and its actions."""
    for statement in document["Statement"]:
        chosen = statement["Fn::If"][1] if "Fn::If" in statement else statement
        actions = ", ".join(as_list(chosen["Action"]))
        places = ", ".join(dict.fromkeys(map(place, as_list(chosen["Resource"]))))
        yield f"{'never ' if chosen['Effect'] == 'Deny' else ''}{chosen['Sid']} (`{actions}` on `{places}`)"


def place(resource: Any) -> str:
    """A resource without what every ARN begins with: the names in the template, and the path below them."""
    if isinstance(resource, str):
        return resource
    if "Fn::If" in resource:
        return place(resource["Fn::If"][1])
    if "Fn::Sub" not in resource:
        return str(resource.get("Ref") or resource["Fn::GetAtt"][0])
    path: str = resource["Fn::Sub"]
    if path.startswith("arn:"):
        path = re.sub(r"\$\{AWS::\w+\}", "", path).split(":", 5)[5]
    return re.sub(r"\$\{!?([\w:/.]+)\}", r"\1", path)


def attached(role: dict[str, Any]) -> Iterator[str]:
    for arn in role["Properties"].get("ManagedPolicyArns", []):
        chosen, condition = (arn["Fn::If"][1], arn["Fn::If"][0]) if "Fn::If" in arn else (arn, "")
        yield f"{chosen['Ref']}{f' if {condition}' if condition else ''}"


def roles_table(template: dict[str, Any]) -> str:
    """Markdown: each role and each policy that roles share."""
    lines = ["| role | taken by | may do, beside the shared policies |", "| --- | --- | --- |"]
    for name, role in resources(template, "AWS::IAM::Role").items():
        properties = role["Properties"]
        takers = {
            service
            for statement in properties["AssumeRolePolicyDocument"]["Statement"]
            for service in as_list(statement["Principal"]["Service"])
        }
        own = [text for policy in properties.get("Policies", []) for text in may(policy["PolicyDocument"])]
        lines.append(f"| {name} | {', '.join(sorted(takers))} | {'; '.join([*attached(role), *own])} |")
    for name, policy in resources(template, "AWS::IAM::ManagedPolicy").items():
        lines.append(f"| {name} | (shared) | {'; '.join(may(policy['Properties']['PolicyDocument']))} |")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    for which, read in TEMPLATES.items():
        table = roles_table(parse(read()))
        between = rf"(<!-- roles of the {which} -->\n).*?(<!-- end -->)"
        text, found = re.subn(between, lambda m, t=table: m[1] + t + "\n" + m[2], text, flags=re.DOTALL)
        assert found == 1, which
    return text


def test_the_tables_of_roles_are_those_of_the_templates() -> None:
    text = DOCS["security.md"].read_text(encoding="utf-8")
    fresh = text == with_tables(text)
    assert fresh, "write it anew with: python -m tests.unit.documents.test_security_docs"


@cache
def defined_tests() -> set[str]:
    return {
        node.name
        for path in (PROJECT_ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("name", DOCS)
def test_every_test_and_file_that_the_docs_name_exists(name: str) -> None:
    text = DOCS[name].read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert not named - defined_tests(), "docs name tests that are gone"
    files = {match for match in re.findall(r"`((?:[a-z_]+/)+[\w.-]+\.\w+)`", text) if "*" not in match}
    assert not {file for file in files if not (PROJECT_ROOT / file).exists()}
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert not {link for link in links if not (DOCS[name].parent / link).exists()}


def verbs(command: Any, prefix: str = "") -> Iterator[str]:
    for name, child in getattr(command, "commands", {}).items():
        yield f"{prefix}{name}"
        yield from verbs(child, f"{prefix}{name} ")


def test_every_command_in_the_docs_exists() -> None:
    known = set(verbs(whole_group(VERBS)))
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.values())
    used = [words.split() for words in re.findall(r"(?:^|`)scones ((?:[a-z-]+ ?)+)", text, flags=re.MULTILINE)]
    assert len(used) > 20
    assert not [words for words in used if not {" ".join(words[:n]) for n in (1, 2)} & known]


def test_the_costs_in_the_docs_are_those_of_the_command() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|",
        DOCS["aws.md"].read_text(),
        re.MULTILINE,
    )
    assert {stage for stage, *_ in rows} == {"staging", "production"}
    for stage, *figures in rows:
        sums = dataclasses.asdict(estimated(Settings.load(stage), Assumptions(), 10_000, 4)[1].sums())
        expected = [sums[column] for column in ("month", "run", "standard", "express", "batch")]
        # So that a metric more or less does not need another figure.
        assert [float(figure) for figure in figures] == pytest.approx(expected, rel=0.1), f"scones cost --stage {stage}"


if __name__ == "__main__":
    where: Path = DOCS["security.md"]
    where.write_text(with_tables(where.read_text(encoding="utf-8")), encoding="utf-8")
