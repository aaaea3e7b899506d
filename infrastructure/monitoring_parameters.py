"""What the template's part about monitoring (`templates/stage/monitoring.yaml`) is filled with.

Runs on a laptop or in CodeBuild; makes no AWS call.
"""

from __future__ import annotations

import json

from scones.artifacts.build import Artifacts
from scones.stage.connection import Connection
from scones.stage.monitoring_settings import template_schedule


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
        "RetrainingRules": json.dumps(settings.retraining, sort_keys=True),
    }
