"""CodeBuild's report groups and reports, made of files of builds.

Runs in the server process. The files are not kept, what they say is; a report expires after 30 days, as on AWS.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from local_account.base.arns import last_part
from local_account.codebuild.records import ReportGroupRecord, ReportRecord
from local_account.codebuild.report_files import ReportError, read_cobertura, read_junit
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen, record_of, without
from local_account.protocol.service import Service, now, page

if TYPE_CHECKING:
    from types_boto3_codebuild.type_defs import (
        BatchGetReportGroupsInputTypeDef,
        BatchGetReportsInputTypeDef,
        CreateReportGroupInputTypeDef,
        DeleteReportGroupInputTypeDef,
        DeleteReportInputTypeDef,
        DescribeCodeCoveragesInputTypeDef,
        DescribeTestCasesInputTypeDef,
        ListReportGroupsInputTypeDef,
        ListReportsForReportGroupInputTypeDef,
        ListReportsInputTypeDef,
        UpdateReportGroupInputTypeDef,
    )

INVALID = "InvalidInputException"
NOT_FOUND = "ResourceNotFoundException"
KEPT_S = 30 * 86_400


class Reports:
    """Report groups and reports, kept in the service's tables."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _groups(self) -> dict[str, ReportGroupRecord]:
        return self._service.table("report-groups", ReportGroupRecord)

    @property
    def _reports(self) -> dict[str, ReportRecord]:
        return self._service.table("reports", ReportRecord)

    def arn(self, name: str) -> str:
        """The ARN of a report group."""
        return self._service.account.arn("codebuild", f"report-group/{name}")

    @action("CreateReportGroup")
    def create_group(self, request: CreateReportGroupInputTypeDef) -> Reply:
        """Make an empty report group.

        Raises ServiceError for a name that is taken, and for an export to S3, which is not done here.
        """
        with self._service.lock:
            if self.arn(request["name"]) in self._groups:
                raise ServiceError(
                    f"Report group already exists: {self.arn(request['name'])}", "ResourceAlreadyExistsException"
                )
            _refuse_export(request)
            group = self._make_group(request["name"], request)
        self._service.changed()
        return {"reportGroup": group}

    def _make_group(self, name: str, *members: Reply) -> ReportGroupRecord:
        made: Reply = {"arn": self.arn(name), "created": now(), "lastModified": now(), "status": "ACTIVE"}
        group = self._groups[self.arn(name)] = record_of(ReportGroupRecord, *members, made)
        return group

    @action("UpdateReportGroup")
    def update_group(self, request: UpdateReportGroupInputTypeDef) -> Reply:
        """Change a report group's export or tags.

        Raises ServiceError for an unknown group, and for an export to S3, which is not done here.
        """
        _refuse_export(request)
        with self._service.lock:
            group = self._group(request["arn"])
            change(group, {**chosen(request, ("exportConfig", "tags")), "lastModified": now()})
        self._service.changed()
        return {"reportGroup": group}

    @action("DeleteReportGroup")
    def delete_group(self, request: DeleteReportGroupInputTypeDef) -> None:
        """Remove a report group.

        Raises ServiceError for one with reports, unless ``deleteReports`` is said.
        """
        with self._service.lock:
            inside = self._arns(request["arn"])
            if inside and not request.get("deleteReports"):
                raise ServiceError("The report group holds reports: say deleteReports.", INVALID)
            for arn in inside:
                self._delete(arn)
            self._groups.pop(request["arn"], None)
        self._service.changed()

    @action("BatchGetReportGroups")
    def get_groups(self, request: BatchGetReportGroupsInputTypeDef) -> Reply:
        """Tell report groups by their ARNs, and which of them do not exist."""
        arns = request["reportGroupArns"]
        found = [self._groups[arn] for arn in arns if arn in self._groups]
        return {"reportGroups": found, "reportGroupsNotFound": [arn for arn in arns if arn not in self._groups]}

    @action("ListReportGroups")
    def list_groups(self, request: ListReportGroupsInputTypeDef) -> Reply:
        """List the ARNs of all report groups."""
        return page(list(self._groups), request, "reportGroups")

    @action("BatchGetReports")
    def get_reports(self, request: BatchGetReportsInputTypeDef) -> Reply:
        """Tell reports by their ARNs, and which of them do not exist."""
        arns = request["reportArns"]
        found = [without(self._reports[arn], "cases", "coverages") for arn in arns if arn in self._reports]
        return {"reports": found, "reportsNotFound": [arn for arn in arns if arn not in self._reports]}

    @action("ListReports")
    def list_reports(self, request: ListReportsInputTypeDef) -> Reply:
        """List the ARNs of all reports, the newest first."""
        return page(self._arns(""), request, "reports")

    @action("DeleteReport")
    def delete_report(self, request: DeleteReportInputTypeDef) -> None:
        """Remove a report, if it exists."""
        self._delete(request["arn"])

    @action("ListReportsForReportGroup")
    def of_group(self, request: ListReportsForReportGroupInputTypeDef) -> Reply:
        """List the ARNs of a group's reports, the newest first.

        Raises ServiceError for an unknown group.
        """
        self._group(request["reportGroupArn"])
        return page(self._arns(request["reportGroupArn"]), request, "reports")

    @action("DescribeTestCases")
    def test_cases(self, request: DescribeTestCasesInputTypeDef) -> Reply:
        """List the test cases of a report, of one status if ``filter`` names it.

        Raises ServiceError for an unknown report.
        """
        status = request.get("filter", {}).get("status")
        cases = self._report(request["reportArn"]).get("cases", [])
        return page([case for case in cases if status in (None, case["status"])], request, "testCases")

    @action("DescribeCodeCoverages")
    def code_coverages(self, request: DescribeCodeCoveragesInputTypeDef) -> Reply:
        """List the coverage of each file of a report.

        Raises ServiceError for an unknown report.
        """
        return page(self._report(request["reportArn"]).get("coverages", []), request, "codeCoverages")

    def add(self, name: str, build_arn: str, project: str, kind: str, documents: list[bytes]) -> str:
        """Make a report of a build's files, in a group that is made when it is missing; answer the report's ARN.

        ``name`` is the group's ARN, or what the buildspec calls it; ``kind`` is TEST or CODE_COVERAGE. Raises
        ReportError for files that cannot be read, or that the group is not for.
        """
        arn = name if name.startswith("arn:") else self.arn(f"{project}-{name}")
        contents = read_junit(documents) if kind == "TEST" else read_cobertura(documents)
        with self._service.lock:
            if arn not in self._groups:
                group_name = last_part(arn)
                self._make_group(group_name, {"name": group_name, "type": kind})
            if self._groups[arn]["type"] != kind:
                raise ReportError(f"report group {arn} is for {self._groups[arn]['type']}, the files are {kind}")
            report_id = str(uuid.uuid4())
            report = f"{arn.replace(':report-group/', ':report/')}:{report_id}"
            for case in contents.get("cases", []):
                case |= {"reportArn": report, "expired": now() + KEPT_S}
            for coverage in contents.get("coverages", []):
                coverage |= {"reportARN": report, "expired": now() + KEPT_S}
            self._reports[report] = {
                "arn": report,
                "type": kind,
                "name": report_id,
                "reportGroupArn": arn,
                "executionId": build_arn,
                "created": now(),
                "expired": now() + KEPT_S,
                "truncated": False,
                **contents,
            }
        self._service.changed()
        return report

    def _arns(self, group: str) -> list[str]:
        return [arn for arn, report in reversed(self._reports.items()) if group in ("", report["reportGroupArn"])]

    def _group(self, arn: str) -> ReportGroupRecord:
        if arn not in self._groups:
            raise ServiceError(f"Report group {arn} does not exist.", NOT_FOUND)
        return self._groups[arn]

    def _report(self, arn: str) -> ReportRecord:
        if arn not in self._reports:
            raise ServiceError(f"Report {arn} does not exist.", NOT_FOUND)
        return self._reports[arn]

    def _delete(self, arn: str) -> None:
        with self._service.lock:
            self._reports.pop(arn, None)
        self._service.changed()


def _refuse_export(request: CreateReportGroupInputTypeDef | UpdateReportGroupInputTypeDef) -> None:
    if request.get("exportConfig", {}).get("exportConfigType", "NO_EXPORT") != "NO_EXPORT":
        raise ServiceError("The stand-in account does not export reports to S3.", INVALID)
