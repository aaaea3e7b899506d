"""Every name this deployment gives to an AWS resource: one place, so that no other module spells one out.

Runs on a laptop or in CodeBuild. Names derive from the project and the stage; buckets also carry the account
and the region, because bucket names are global.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from scones.stage.settings import Settings

TRAFFIC_TABLE = "predictions"
"""What was captured, as a table: `scones monitor query` asks it by this name on AWS and here."""


def classes_digest(classes: Sequence[str]) -> str:
    """How the monitoring job names the part of its state that belongs to a list of classes."""
    return sha256(json.dumps([len(classes), *classes]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Names:
    """The names of one stage in one AWS account."""

    project: str
    stage: str
    region: str
    account_id: str

    @classmethod
    def of(cls, settings: Settings, account_id: str) -> Names:
        """Names for a stage; ``account_id`` comes from STS, so that it is the account really reached."""
        return cls(settings.project, settings.stage, settings.region, account_id)

    @property
    def prefix(self) -> str:
        """What every name of the stage begins with."""
        return f"{self.project}-{self.stage}"

    @property
    def tags(self) -> dict[str, str]:
        """On everything that can have tags: bills are told apart by them."""
        return {"project": self.project, "stage": self.stage, "deployment": self.prefix}

    # Delivery spans the project's stages.
    @property
    def delivery(self) -> str:
        """The stack, the pipeline and the topic."""
        return f"{self.project}-delivery"

    @property
    def delivery_bucket(self) -> str:
        """Where builds leave what later stages deploy."""
        return f"{self.delivery}-{self.account_id}-{self.region}"

    @property
    def stack(self) -> str:
        """The CloudFormation stack."""
        return self.prefix

    # Buckets: artifacts (uploaded before the stack exists) and data (part of the stack).
    @property
    def artifact_bucket(self) -> str:
        """Where code, templates and definitions are uploaded."""
        return f"{self.prefix}-artifacts-{self.account_id}-{self.region}"

    @property
    def data_bucket(self) -> str:
        """Where images, models, captures and reports are kept."""
        return f"{self.prefix}-data-{self.account_id}-{self.region}"

    # Prefixes in the data bucket.
    @property
    def source_uri(self) -> str:
        """Where `scones` uploads the CIFAR-100 archive (one object below this prefix per content digest)."""
        return f"s3://{self.data_bucket}/source"

    @property
    def pipeline_runs_uri(self) -> str:
        """Outputs of pipeline steps: ``<this>/<execution id>/{dataset,model,evaluation}/...``."""
        return f"s3://{self.data_bucket}/pipeline-runs"

    @property
    def checkpoints_uri(self) -> str:
        """What training jobs save while they run, for the case that their instance is taken away."""
        return f"s3://{self.data_bucket}/checkpoints"

    @property
    def tracked_files_uri(self) -> str:
        """Files of the runs that jobs log to a SageMaker MLflow server."""
        return f"s3://{self.data_bucket}/mlflow"

    @property
    def capture_uri(self) -> str:
        """Data capture: SageMaker appends ``/<endpoint>/<variant>/yyyy/mm/dd/hh/``."""
        return f"s3://{self.data_bucket}/captures"

    @property
    def reports_uri(self) -> str:
        """Monitoring reports: ``<this>/<execution id>/report.html`` and its relatives."""
        return f"s3://{self.data_bucket}/reports"

    @property
    def monitoring_state_uri(self) -> str:
        """What the monitoring job keeps between two runs."""
        return f"{self.reports_uri}/state"

    @property
    def query_results_uri(self) -> str:
        """Where Athena leaves what it answers."""
        return f"{self.reports_uri}/queries"

    @property
    def traffic_database(self) -> str:
        """Of the catalogue: what holds the table of captured traffic."""
        return self.prefix

    def traffic_baseline_uri(self, version: int) -> str:
        """Where a version's baseline stands when it was made anew from traffic."""
        return f"{self.reports_uri}/baselines/version-{version}"

    @property
    def incoming_prefix(self) -> str:
        """Key prefix in the data bucket for images sent by `scones classify`."""
        return "incoming"

    @property
    def batches_prefix(self) -> str:
        """Key prefix in the data bucket for what batches write, each below its own name."""
        return "batches"

    @property
    def ground_truth_uri(self) -> str:
        """What people said of captured predictions: ``<this>/yyyy/mm/dd/hh/*.jsonl``, as Model Monitor reads it."""
        return f"s3://{self.data_bucket}/ground-truth"

    @property
    def reviews_prefix(self) -> str:
        """Key prefix in the data bucket for reviewed images, with who labelled them and when."""
        return "reviews"

    @property
    def reviews_uri(self) -> str:
        """Reviewed images: ``<this>/<inference id>/{image.*,label.json}``."""
        return f"s3://{self.data_bucket}/{self.reviews_prefix}"

    # SageMaker.
    @property
    def training_pipeline(self) -> str:
        """The SageMaker pipeline that trains our own network."""
        return f"{self.prefix}-training"

    @property
    def built_in_pipeline(self) -> str:
        """The training pipeline with SageMaker's built-in image classification."""
        return f"{self.prefix}-training-built-in"

    @property
    def monitoring_pipeline(self) -> str:
        """The SageMaker pipeline that writes a report."""
        return f"{self.prefix}-monitoring"

    @property
    def collect_pipeline(self) -> str:
        """The SageMaker pipeline that reads many captures on several instances."""
        return f"{self.prefix}-collect"

    @property
    def model_package_group(self) -> str:
        """The registry's group, whose versions are approved or rejected."""
        return f"{self.prefix}-vehicle-classifier"

    @property
    def endpoint(self) -> str:
        """The SageMaker endpoint that answers."""
        return f"{self.prefix}-vehicle-classifier"

    # Step Functions, Lambda, EventBridge.
    @property
    def workflow(self) -> str:
        """The Standard state machine for one image."""
        return f"{self.prefix}-inference-workflow"

    @property
    def express_workflow(self) -> str:
        """The same as an Express state machine, which answers at once."""
        return f"{self.prefix}-inference-express"

    @property
    def batch_workflow(self) -> str:
        """The state machine for many images."""
        return f"{self.prefix}-batch-workflow"

    @property
    def review_queue(self) -> str:
        """SQS: images of low confidence, until somebody labels them."""
        return f"{self.prefix}-review"

    @property
    def review_dead_letter_queue(self) -> str:
        """SQS: messages of the review queue that were received too often."""
        return f"{self.prefix}-review-dead-letters"

    @property
    def threshold_parameter(self) -> str:
        """SSM: the confidence thresholds that count now."""
        return f"/{self.project}/{self.stage}/confidence-threshold"

    @property
    def image_layer(self) -> str:
        """The layer that holds Pillow."""
        return f"{self.prefix}-pillow"

    def function(self, handler: str) -> str:
        """The function deployed from ``lambdas/<handler>.py``."""
        return f"{self.prefix}-{handler.replace('_', '-')}"

    @property
    def approval_rule(self) -> str:
        """EventBridge: a version's approval or rejection calls the deploying function."""
        return f"{self.prefix}-model-package-approved"

    # What was deployed, who has to know, and the key for all of it.
    @property
    def deployments_table(self) -> str:
        """DynamoDB: what is wanted of the endpoint, who works on it, and a record of every deployment."""
        return f"{self.prefix}-deployments"

    @property
    def deployment_dead_letter_queue(self) -> str:
        """SQS: what the deploying function failed to do in all its attempts."""
        return f"{self.prefix}-deployment-dead-letters"

    @property
    def endpoint_rule(self) -> str:
        """EventBridge: a change of the endpoint's state calls the deploying function."""
        return f"{self.prefix}-endpoint-changed"

    @property
    def reconcile_schedule(self) -> str:
        """EventBridge Scheduler: calls the deploying function, in case that an event was lost."""
        return f"{self.prefix}-reconcile-endpoint"

    @property
    def idle_schedule(self) -> str:
        """EventBridge Scheduler: looks whether anybody uses the endpoint."""
        return f"{self.prefix}-delete-idle-endpoint"

    # Monitoring.
    @property
    def monitoring_schedule(self) -> str:
        """EventBridge Scheduler: the reports on schedule."""
        return f"{self.prefix}-monitoring"

    @property
    def missing_reports_alarm(self) -> str:
        """CloudWatch: on when scheduled reports stay away."""
        return f"{self.prefix}-missing-reports"

    # The alarms that undo an update.
    @property
    def endpoint_errors_alarm(self) -> str:
        """CloudWatch: on when the endpoint answers with status 5xx."""
        return f"{self.prefix}-endpoint-5xx"

    @property
    def endpoint_latency_alarm(self) -> str:
        """CloudWatch: on when the slowest hundredth of the answers takes too long."""
        return f"{self.prefix}-endpoint-latency-p99"

    @property
    def low_confidence_alarm(self) -> str:
        """CloudWatch: on when too many images are of low confidence."""
        return f"{self.prefix}-low-confidence-rate"

    @property
    def notification_topic(self) -> str:
        """SNS: everything that somebody should hear of."""
        return f"{self.prefix}-notifications"

    @property
    def key_alias(self) -> str:
        """KMS: the key that encrypts the stage's data."""
        return f"alias/{self.prefix}-data"
