"""What the template's parts about deployments and monitoring (`templates/stage/`) are filled with.

Runs on a laptop or in CodeBuild; makes no AWS call.
"""

from __future__ import annotations

import dataclasses
import json

from scones.artifacts.build import Artifacts
from scones.stage.connection import Connection
from scones.stage.monitoring_settings import template_schedule
from scones.stage.names import TRAFFIC_TABLE, classes_digest

# Of the settings, those that are the alarms', not the function's.
_ALARM_SETTINGS = ("max_error_count", "max_latency_p99_ms", "max_low_confidence_rate")


def deployment_parameters(connection: Connection, built: Artifacts) -> dict[str, str]:
    """Return the template's parameters about the endpoint and its deployments."""
    names, settings = connection.names, connection.settings.endpoint
    passed_on = {k: v for k, v in dataclasses.asdict(settings).items() if k not in _ALARM_SETTINGS}
    return {
        "DeployApprovedModelKey": built.functions["deploy_approved_model"].key,
        "DeployApprovedModelName": names.function("deploy_approved_model"),
        "DeleteIdleEndpointKey": built.functions["delete_idle_endpoint"].key,
        "DeleteIdleEndpointName": names.function("delete_idle_endpoint"),
        "DeploymentsTableName": names.deployments_table,
        "DeploymentDeadLetterQueueName": names.deployment_dead_letter_queue,
        "EndpointName": names.endpoint,
        "ApprovalRuleName": names.approval_rule,
        "EndpointRuleName": names.endpoint_rule,
        "ReconcileScheduleName": names.reconcile_schedule,
        "IdleScheduleName": names.idle_schedule,
        "Triggers": "ENABLED",
        "EndpointErrorsAlarmName": names.endpoint_errors_alarm,
        "EndpointLatencyAlarmName": names.endpoint_latency_alarm,
        "LowConfidenceAlarmName": names.low_confidence_alarm,
        "EndpointInstanceType": connection.settings.pipeline.endpoint_instance_type,
        "EndpointSettings": json.dumps(passed_on, sort_keys=True),
        "MaxErrorCount": str(settings.max_error_count),
        "MaxLatencyMicroseconds": str(settings.max_latency_p99_ms * 1000),
        "MaxLowConfidenceRate": str(settings.max_low_confidence_rate),
    }


def monitoring_parameters(connection: Connection, built: Artifacts) -> dict[str, str]:
    """Return the template's parameters about reports, their alarms and trainings that drift starts."""
    names, settings = connection.names, connection.settings.monitoring
    return {
        "StartMonitoringKey": built.functions["start_monitoring"].key,
        "StartMonitoringName": names.function("start_monitoring"),
        "RetrainOnDriftKey": built.functions["retrain_on_drift"].key,
        "RetrainOnDriftName": names.function("retrain_on_drift"),
        "MonitoringScheduleName": names.monitoring_schedule,
        **template_schedule(settings.every),
        "MonitoringPipelineName": names.monitoring_pipeline,
        "MonitoringWindowHours": str(settings.window_hours),
        "TrainingPipelineName": names.training_pipeline,
        "MissingReportsAlarmName": names.missing_reports_alarm,
        "ReportsUri": names.reports_uri,
        "ReviewsUri": names.reviews_uri,
        "TrafficDatabaseName": names.traffic_database,
        "TrafficTableName": TRAFFIC_TABLE,
        "MonitoringStateUri": names.monitoring_state_uri,
        "TrafficClasses": classes_digest(connection.settings.pipeline.classes),
        "RetrainingRules": json.dumps(settings.retraining, sort_keys=True),
    }
