"""The files of reports: JUnit's results and Cobertura's coverage, as CodeBuild tells them.

Runs in the server process. The files come out of a build: they are read without their entities.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections import Counter

from local_account.codebuild.records import (
    CoverageCounts,
    CoverageSummary,
    FileCoverage,
    ReportContents,
    ReportedTest,
    ReportTestSummary,
)
from local_account.protocol.records import record_of

MAX_TEST_CASES = 500  # what DescribeTestCases can tell of one report (CodeBuild quotas)


class ReportError(Exception):
    """A report file that cannot be read."""


def read_junit(documents: list[bytes]) -> ReportContents:
    """Read test cases and sum them up.

    Raises ReportError for a file that is not XML, or defines entities.
    """
    cases: list[ReportedTest] = []
    for document in documents:
        for suite in _parse(document, "JUnit").iter("testsuite"):
            cases += [_case(case, suite.get("name", "")) for case in suite.findall("testcase")]
    counts = Counter(case["status"] for case in cases)
    failed = counts["FAILED"] + counts["ERROR"]
    summary: ReportTestSummary = {
        "total": len(cases),
        "statusCounts": {name: counts[name] for name in ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN")},
        "durationInNanoSeconds": sum(case["durationInNanoSeconds"] for case in cases),
    }
    status = "FAILED" if failed or not cases else "SUCCEEDED"
    return {"status": status, "testSummary": summary, "cases": cases[:MAX_TEST_CASES]}


def read_cobertura(documents: list[bytes]) -> ReportContents:
    """Read the coverage of each file and of all of them.

    Raises ReportError for a file that is not XML, or defines entities.
    """
    files = [_covered(found) for document in documents for found in _parse(document, "Cobertura").iter("class")]
    total: CoverageCounts = {
        "linesCovered": sum(each["linesCovered"] for each in files),
        "linesMissed": sum(each["linesMissed"] for each in files),
        "branchesCovered": sum(each["branchesCovered"] for each in files),
        "branchesMissed": sum(each["branchesMissed"] for each in files),
    }
    return {"status": "SUCCEEDED", "codeCoverageSummary": _with_shares(total), "coverages": files}


def _parse(document: bytes, what: str) -> ET.Element:
    if b"<!DOCTYPE" in document and b"<!ENTITY" in document:
        raise ReportError(f"a report of {what} defines entities, which are not read")
    try:
        return ET.fromstring(document)  # noqa: S314  # no entities, as checked above
    except ET.ParseError as error:
        raise ReportError(f"a report of {what} is not XML: {error}") from error


def _case(case: ET.Element, suite: str) -> ReportedTest:
    status, message = "SUCCEEDED", ""
    for tag, name in (("failure", "FAILED"), ("error", "ERROR"), ("skipped", "SKIPPED")):
        if (found := case.find(tag)) is not None:
            status, message = name, found.get("message") or (found.text or "")
            break
    return {
        "prefix": case.get("classname", ""),
        "name": case.get("name", ""),
        "status": status,
        "durationInNanoSeconds": int(float(case.get("time") or 0) * 1e9),
        "message": message[:2000],
        "testSuiteName": suite,
    }


def _covered(found: ET.Element) -> FileCoverage:
    lines = found.findall("lines/line")
    hit = sum(int(line.get("hits") or 0) > 0 for line in lines)
    # "50% (1/2)"
    branches = [line.get("condition-coverage", "") for line in lines if line.get("branch") == "true"]
    pairs = [text.partition("(")[2].rstrip(")").split("/") for text in branches if "(" in text]
    taken, known = (sum(int(pair[side]) for pair in pairs) for side in (0, 1))
    counts: CoverageCounts = {
        "linesCovered": hit,
        "linesMissed": len(lines) - hit,
        "branchesCovered": taken,
        "branchesMissed": known - taken,
    }
    return record_of(
        FileCoverage, {"id": str(uuid.uuid4()), "filePath": found.get("filename", "")}, _with_shares(counts)
    )


def _with_shares(counts: CoverageCounts) -> CoverageSummary:
    return {
        **counts,
        "lineCoveragePercentage": _share(counts["linesCovered"], counts["linesMissed"]),
        "branchCoveragePercentage": _share(counts["branchesCovered"], counts["branchesMissed"]),
    }


def _share(covered: int, missed: int) -> float:
    return round(100 * covered / (covered + missed), 2) if covered + missed else 0.0
