"""CodeBuild's report groups and reports: JUnit's results and Cobertura's coverage, read out of the build's files.

Runs in the server process. The files are not kept, what they say is; a report expires after 30 days, as on AWS.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Resource, Service, now, page

INVALID = "InvalidInputException"
NOT_FOUND = "ResourceNotFoundException"
KEPT_S = 30 * 86_400
MAX_TEST_CASES = 500  # what DescribeTestCases can tell of one report (CodeBuild quotas)


class ReportError(Exception):
    """A report file that cannot be read."""


class Reports:
    """Report groups and reports, kept in the service's tables."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _groups(self) -> dict[str, Resource]:
        return self._service.table("report-groups", Resource)

    @property
    def _reports(self) -> dict[str, Resource]:
        return self._service.table("reports", Resource)

    def arn(self, name: str) -> str:
        return self._service.account.arn("codebuild", f"report-group/{name}")

    @action("CreateReportGroup")
    def create_group(self, request: dict[str, Any]) -> dict[str, Any]:
        arn = self.arn(request["name"])
        with self._service.lock:
            if arn in self._groups:
                raise ServiceError(f"Report group already exists: {arn}", "ResourceAlreadyExistsException")
            self._check(request)
            group = {**request, "arn": arn, "created": now(), "lastModified": now(), "status": "ACTIVE"}
            self._groups[arn] = group
        self._service.changed()
        return {"reportGroup": group}

    @action("UpdateReportGroup")
    def update_group(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check(request)
        with self._service.lock:
            group = self._group(request["arn"])
            group |= {name: request[name] for name in ("exportConfig", "tags") if name in request}
            group["lastModified"] = now()
        self._service.changed()
        return {"reportGroup": group}

    @staticmethod
    def _check(request: dict[str, Any]) -> None:
        if request.get("exportConfig", {}).get("exportConfigType", "NO_EXPORT") != "NO_EXPORT":
            raise ServiceError("The stand-in account does not export reports to S3.", INVALID)

    @action("DeleteReportGroup")
    def delete_group(self, request: dict[str, Any]) -> None:
        with self._service.lock:
            inside = self._arns(request["arn"])
            if inside and not request.get("deleteReports"):
                raise ServiceError("The report group holds reports: say deleteReports.", INVALID)
            for arn in inside:
                self._delete(arn)
            self._groups.pop(request["arn"], None)
        self._service.changed()

    @action("BatchGetReportGroups")
    def get_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        arns = request["reportGroupArns"]
        found = [self._groups[arn] for arn in arns if arn in self._groups]
        return {"reportGroups": found, "reportGroupsNotFound": [arn for arn in arns if arn not in self._groups]}

    @action("ListReportGroups")
    def list_groups(self, request: dict[str, Any]) -> Reply:
        return page(list(self._groups), request, "reportGroups")

    @action("BatchGetReports")
    def get_reports(self, request: dict[str, Any]) -> dict[str, Any]:
        arns = request["reportArns"]
        found = [self._shown(self._reports[arn]) for arn in arns if arn in self._reports]
        return {"reports": found, "reportsNotFound": [arn for arn in arns if arn not in self._reports]}

    @staticmethod
    def _shown(report: Resource) -> Resource:
        return {name: value for name, value in report.items() if name not in ("cases", "coverages")}

    @action("ListReports")
    def list_reports(self, request: dict[str, Any]) -> Reply:
        return page(self._arns(""), request, "reports")

    @action("DeleteReport")
    def delete_report(self, request: dict[str, Any]) -> None:
        self._delete(request["arn"])

    @action("ListReportsForReportGroup")
    def of_group(self, request: dict[str, Any]) -> Reply:
        self._group(request["reportGroupArn"])
        return page(self._arns(request["reportGroupArn"]), request, "reports")

    @action("DescribeTestCases")
    def test_cases(self, request: dict[str, Any]) -> Reply:
        status = request.get("filter", {}).get("status")
        cases = self._report(request["reportArn"]).get("cases", [])
        return page([case for case in cases if status in (None, case["status"])], request, "testCases")

    @action("DescribeCodeCoverages")
    def code_coverages(self, request: dict[str, Any]) -> Reply:
        return page(self._report(request["reportArn"]).get("coverages", []), request, "codeCoverages")

    def add(self, name: str, build_arn: str, project: str, kind: str, documents: list[bytes]) -> str:
        """Make a report of a build's files; its group is made when it is missing. Answers the report's ARN."""
        arn = name if name.startswith("arn:") else self.arn(f"{project}-{name}")
        contents = read_junit(documents) if kind == "TEST" else read_cobertura(documents)
        with self._service.lock:
            if arn not in self._groups:
                self.create_group({"name": arn.rpartition("/")[2], "type": kind})
            if self._groups[arn]["type"] != kind:
                raise ReportError(f"report group {arn} is for {self._groups[arn]['type']}, the files are {kind}")
            report_id = str(uuid.uuid4())
            report = f"{arn.replace(':report-group/', ':report/')}:{report_id}"
            for entry in contents.get("cases", []):
                entry |= {"reportArn": report, "expired": now() + KEPT_S}
            for entry in contents.get("coverages", []):
                entry |= {"reportARN": report, "expired": now() + KEPT_S}
            times = {"created": now(), "expired": now() + KEPT_S}
            record = {"arn": report, "type": kind, "name": report_id, "reportGroupArn": arn, "executionId": build_arn}
            self._reports[report] = {**record, **times, "truncated": False, **contents}
        self._service.changed()
        return report

    def _arns(self, group: str) -> list[str]:
        return [arn for arn, report in reversed(self._reports.items()) if group in ("", report["reportGroupArn"])]

    def _group(self, arn: str) -> Resource:
        if arn not in self._groups:
            raise ServiceError(f"Report group {arn} does not exist.", NOT_FOUND)
        return self._groups[arn]

    def _report(self, arn: str) -> Resource:
        if arn not in self._reports:
            raise ServiceError(f"Report {arn} does not exist.", NOT_FOUND)
        return self._reports[arn]

    def _delete(self, arn: str) -> None:
        with self._service.lock:
            self._reports.pop(arn, None)
        self._service.changed()


def _parse(document: bytes, what: str) -> ET.Element:
    if b"<!DOCTYPE" in document and b"<!ENTITY" in document:
        raise ReportError(f"a report of {what} defines entities, which are not read")
    try:
        return ET.fromstring(document)  # noqa: S314  # no entities, as checked above
    except ET.ParseError as error:
        raise ReportError(f"a report of {what} is not XML: {error}") from error


def read_junit(documents: list[bytes]) -> dict[str, Any]:
    """Test cases and their summary."""
    cases = []
    for document in documents:
        for suite in _parse(document, "JUnit").iter("testsuite"):
            cases += [_case(case, suite.get("name", "")) for case in suite.findall("testcase")]
    counts = Counter(case["status"] for case in cases)
    failed = counts["FAILED"] + counts["ERROR"]
    summary = {
        "total": len(cases),
        "statusCounts": {name: counts[name] for name in ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN")},
        "durationInNanoSeconds": sum(case["durationInNanoSeconds"] for case in cases),
    }
    status = "FAILED" if failed or not cases else "SUCCEEDED"
    return {"status": status, "testSummary": summary, "cases": cases[:MAX_TEST_CASES]}


def _case(case: ET.Element, suite: str) -> dict[str, Any]:
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


def read_cobertura(documents: list[bytes]) -> dict[str, Any]:
    """Coverage of each file and of all of them."""
    files = [_covered(found) for document in documents for found in _parse(document, "Cobertura").iter("class")]
    total = {name: sum(each[name] for each in files) for name in ("linesCovered", "linesMissed")}
    branches = {name: sum(each[name] for each in files) for name in ("branchesCovered", "branchesMissed")}
    summary = total | branches | _shares(total | branches)
    return {"status": "SUCCEEDED", "codeCoverageSummary": summary, "coverages": files}


def _covered(found: ET.Element) -> dict[str, Any]:
    lines = found.findall("lines/line")
    hit = sum(int(line.get("hits") or 0) > 0 for line in lines)
    # "50% (1/2)"
    branches = [line.get("condition-coverage", "") for line in lines if line.get("branch") == "true"]
    pairs = [text.partition("(")[2].rstrip(")").split("/") for text in branches if "(" in text]
    taken, known = (sum(int(pair[side]) for pair in pairs) for side in (0, 1))
    counts = {
        "linesCovered": hit,
        "linesMissed": len(lines) - hit,
        "branchesCovered": taken,
        "branchesMissed": known - taken,
    }
    return {"id": str(uuid.uuid4()), "filePath": found.get("filename", ""), **counts, **_shares(counts)}


def _shares(counts: dict[str, int]) -> dict[str, float]:
    made = {}
    for kind, plural in (("line", "lines"), ("branch", "branches")):
        covered, missed = counts[f"{plural}Covered"], counts[f"{plural}Missed"]
        made[f"{kind}CoveragePercentage"] = round(100 * covered / (covered + missed), 2) if covered + missed else 0.0
    return made
