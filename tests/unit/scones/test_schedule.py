"""The schedule of the reports: how it is written, and that a deployment leaves a person's word alone."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from monitoring.publish import metrics
from scones.errors import SettingsError
from scones.stage.connection import Connection
from scones.stage.monitoring_settings import MonitoringSettings, every_of, schedule_expression
from scones.stage.names import Names
from scones.stage.settings import Settings
from scones.traffic import schedule

ROLE = "arn:aws:iam::123456789012:role/schedule"
TARGET = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:start", "RoleArn": ROLE, "Input": "{}"}
GIVEN = {"MonitoringExpression": "rate(1 hour)", "MonitoringState": "ENABLED", "Triggers": "ENABLED"}


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An hourly schedule that the stack has set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = Settings("production")
    names = Names.of(settings, "123456789012")
    with mock_aws():
        found = Connection(settings, names, boto3.Session(region_name="us-east-1"))
        found.client("cloudwatch").put_metric_alarm(
            AlarmName=names.missing_reports_alarm, ComparisonOperator="LessThanThreshold", EvaluationPeriods=1
        )
        resources = {"Topic": {"Type": "AWS::SNS::Topic"}}
        found.client("cloudformation").create_stack(
            StackName=names.stack,
            TemplateBody=json.dumps({"Parameters": {key: {"Type": "String"} for key in GIVEN}, "Resources": resources}),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in GIVEN.items()],
        )
        found.client("scheduler").create_schedule(
            Name=names.monitoring_schedule,
            ScheduleExpression="rate(1 hour)",
            State="ENABLED",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=TARGET,
        )
        yield found


def deploys(connection: Any, expression: str) -> None:
    """What CloudFormation does where the template says something new of the schedule."""
    connection.client("scheduler").update_schedule(
        Name=connection.names.monitoring_schedule,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        State="ENABLED",
        Target={**TARGET, "Input": '{"new": 1}'},
    )


def test_what_a_person_set_outlives_a_deployment_which_says_so(connection: Any) -> None:
    said: list[str] = []
    schedule.change(connection, "off")
    with schedule.kept(connection, said.append):
        deploys(connection, "rate(2 hours)")
    assert schedule.current(connection).every == "off"
    (line,) = said
    assert line == (
        "schedule put back as it was set by hand: no reports on schedule (the stage file says 1h), about 24 hours each"
    )
    answer = connection.client("scheduler").get_schedule(Name=connection.names.monitoring_schedule)
    assert answer["Target"]["Input"] == '{"new": 1}', "all else is the template's"


def test_what_nobody_changed_is_the_template_s(connection: Any) -> None:
    said: list[str] = []
    with schedule.kept(connection, said.append):
        deploys(connection, "rate(2 hours)")
    assert (schedule.current(connection).every, said) == ("2h", [])


def test_a_deployment_that_leaves_the_schedule_alone_says_nothing(connection: Any) -> None:
    said: list[str] = []
    schedule.change(connection, "6h")
    with schedule.kept(connection, said.append):
        pass
    assert (schedule.current(connection).every, said) == ("6h", [])


def test_a_deployment_after_a_removal_that_was_not_finished_switches_the_schedule_on(connection: Any) -> None:
    parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in (GIVEN | {"Triggers": "DISABLED"}).items()]
    connection.client("cloudformation").update_stack(
        StackName=connection.names.stack, UsePreviousTemplate=True, Parameters=parameters
    )
    schedule.change(connection, "off")  # as the removal did
    said: list[str] = []
    with schedule.kept(connection, said.append):
        deploys(connection, "rate(1 hour)")
    assert (schedule.current(connection).every, said) == ("1h", [])


def test_the_first_deployment_has_nothing_to_keep(connection: Any) -> None:
    connection.client("scheduler").delete_schedule(Name=connection.names.monitoring_schedule)
    said: list[str] = []
    with schedule.kept(connection, said.append):
        connection.client("scheduler").create_schedule(
            Name=connection.names.monitoring_schedule,
            ScheduleExpression="rate(3 hours)",
            FlexibleTimeWindow={"Mode": "OFF"},
            State="ENABLED",
            Target=TARGET,
        )
    assert (schedule.current(connection).every, said) == ("3h", [])


@pytest.mark.parametrize("every", ["1h", "6h", "24h"])
def test_hours_are_written_as_a_rate_and_read_again(every: str) -> None:
    assert every_of(schedule_expression(every)) == every


def test_an_expression_of_somebody_else_is_shown_as_it_is() -> None:
    assert every_of("cron(0 6 * * ? *)") == "cron(0 6 * * ? *)"


@pytest.mark.parametrize("every", ["90m", "0h", "25h", "1", "", "hourly"])
def test_other_times_are_refused(every: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"must be 1h to 24h, or off, got {every!r}")):
        MonitoringSettings(every=every)


def test_settings_out_of_bounds_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"monitoring\.window_hours must lie between 1 and 744, got 0"):
        MonitoringSettings(window_hours=0)


def test_every_metric_of_the_reports_is_watched_and_every_watched_one_is_published() -> None:
    resources = parse(stage_template())["Resources"]
    text = json.dumps(resources)
    shown = set(re.findall(r'\[\\"\$\{MonitoringNamespace\}\\", \\"(\w+)\\"', text))
    alarms = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    ours = {"Ref": "MonitoringNamespace"}
    stated = [a for a in alarms if a.get("Namespace") == ours]
    stated += [q["MetricStat"]["Metric"] for a in alarms for q in a.get("Metrics", []) if "MetricStat" in q]
    used = {m["MetricName"] for m in stated if m["Namespace"] == ours}
    assert used <= shown == set(metrics.WATCHED)
