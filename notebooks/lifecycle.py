# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The life cycle of a model
#
# From labelled photographs to a monitored endpoint. On the stage `local` everything runs in the stand-in account on
# this machine; on another stage the same cells run on AWS: set `SCONES_NOTEBOOK_STAGE`, and have credentials in the
# environment.

# %%
import io
import json
import logging
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from infrastructure import stack
from scones.find_images import locate
from scones.review import threshold as thresholds
from scones.runs import executions, pipeline_runs
from scones.runs.start_training import start_training
from scones.serving_versions import endpoint, registry
from scones.stage.connection import connect
from scones.stage.settings import Settings
from scones.traffic import captures
from scones.traffic.captures import TimeRange
from scones.traffic.corruptions import darkened

logging.disable(logging.WARNING)
STAGE = os.environ.get("SCONES_NOTEBOOK_STAGE", "local")
settings = Settings.load(STAGE)
settings.pipeline.classes

# %% [markdown]
# ## An account with the stack
#
# The stack brings buckets, roles, functions, state machines and alarms. In the stand-in account it is new each time.

# %%
if STAGE == "local":
    from local_account.server import control
    from scones.stand_in import begin, state_dir

    control.reset(state_dir())
    begin(settings)
connection = connect(STAGE)
created = []
stack.deploy(connection, created.append)
sorted({line.split()[1].split(":")[0] for line in created if line.startswith("CREATE_COMPLETE")})[:8]

# %% [markdown]
# ## The pipeline
#
# Built with version 3 of the SageMaker SDK: what the stack has uploaded is this definition.

# %%
sagemaker = connection.client("sagemaker")
names = connection.names
text = sagemaker.describe_pipeline(PipelineName=names.training_pipeline)["PipelineDefinition"]
definition = json.loads(text)
pd.DataFrame([{"step": step["Name"], "type": step["Type"]} for step in definition["Steps"]])

# %% [markdown]
# Its parts are objects: a parameter, and an expression that is resolved when the pipeline runs.

# %%
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterInteger

epochs = ParameterInteger("Epochs", default_value=0)
Join(on="/", values=["s3://bucket", epochs]).expr

# %% [markdown]
# ## Train
#
# Filter the classes, train, evaluate, build the baseline, hold the accuracy against the gate.

# %%
source = locate(None, False)
run = pipeline_runs.wait(connection, start_training(connection, source, {}))
assert run.succeeded, run.explain()
pd.DataFrame([{"step": step.name, "status": step.status} for step in run.steps])

# %% [markdown]
# ## A contact sheet: what the dataset looks like

# %%
arn = next(step.job for step in run.steps if step.kind == "RegisterModel")
version = registry.describe(connection, arn)
dataset = version.metadata["dataset_s3_uri"]
images = executions.pick_test_images(connection, dataset, 16, seed=1)


def opened(image):
    """A photograph of the account's bucket."""
    body = connection.client("s3").get_object(Bucket=image.bucket, Key=image.key)["Body"].read()
    return Image.open(io.BytesIO(body))


figure, axes = plt.subplots(2, 8, figsize=(12, 3.4))
for axis, image in zip(axes.flat, images, strict=True):
    axis.imshow(opened(image))
    axis.set_title(image.true_label, fontsize=8)
    axis.axis("off")

# %% [markdown]
# ## What the model is worth

# %%
evaluation = registry.evaluation(connection, version)
evaluation.accuracy

# %%
job = next(step.job for step in run.steps if step.name == "TrainModel").split("/")[-1]
metrics = sagemaker.describe_training_job(TrainingJobName=job)["FinalMetricDataList"]
pd.DataFrame([{"metric": metric["MetricName"], "value": round(metric["Value"], 3)} for metric in metrics])

# %% [markdown]
# ## Approve
#
# The approval is an event. A function puts exactly this version behind the endpoint.

# %%
registry.set_approval(connection, version, "Approved", "looked at its evaluation")
live = endpoint.wait_for(connection, version.arn, 1800)
sagemaker.describe_endpoint(EndpointName=live.name)["EndpointStatus"]

# %% [markdown]
# ## One photograph to the endpoint, as any program sends it

# %%
runtime = connection.client("sagemaker-runtime")
photo = connection.client("s3").get_object(Bucket=images[0].bucket, Key=images[0].key)["Body"].read()
answer = runtime.invoke_endpoint(
    EndpointName=live.name, ContentType="image/png", Accept="application/json;verbose", Body=photo
)
images[0].true_label, json.loads(answer["Body"].read())

# %% [markdown]
# ## The workflow: three functions and a threshold
#
# Serialize, classify, filter. What is below the threshold is refused by name.

# %%
machine = connection.client("stepfunctions").describe_state_machine(stateMachineArn=executions.workflow_arn(connection))
list(json.loads(machine["definition"])["States"])

# %% [markdown]
# ## A hundred executions, ten at a time

# %%
since = datetime.now(UTC).replace(microsecond=0)
before = captures.count(connection)
hundred = executions.pick_test_images(connection, dataset, 100, seed=2)
outcomes = [outcome for at in range(0, 100, 10) for outcome in executions.run(connection, hundred[at : at + 10])]
answered = pd.DataFrame([outcome.as_json() for outcome in outcomes])
answered["status"].value_counts()

# %%
passed = answered[answered["status"] == "SUCCEEDED"]
float((passed["true_label"] == passed["predicted_label"]).mean())

# %% [markdown]
# ## What the endpoint captured
#
# Lines of JSON in S3, which come with a delay.

# %%
while captures.count(connection) < before + len(outcomes):
    time.sleep(1)
s3 = connection.client("s3")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=names.data_bucket, Prefix="captures/")
keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
lines = [
    json.loads(line)
    for key in keys
    for line in s3.get_object(Bucket=names.data_bucket, Key=key)["Body"].read().decode().splitlines()
]
len(keys) > 0, sorted(lines[-1]["captureData"])


# %%
def row(line):
    """A captured line as a row of the table."""
    output = json.loads(line["captureData"]["endpointOutput"]["data"])
    values = output["probabilities"] if isinstance(output, dict) else output
    values = list(values.values()) if isinstance(values, dict) else values
    top = max(range(len(values)), key=values.__getitem__)
    return {
        "time": pd.Timestamp(line["eventMetadata"]["inferenceTime"]),
        "predicted": settings.pipeline.classes[top],
        "confidence": values[top],
    }


captured = pd.DataFrame([row(line) for line in lines]).sort_values("time").reset_index(drop=True)
captured = captured[captured["time"] >= since]  # the deployment's own tests came before
captured["predicted"].value_counts()

# %% [markdown]
# ## Confidence over time, with the threshold

# %%
threshold, _ = thresholds.current(connection).of_all()
figure, axis = plt.subplots(figsize=(10, 3))
axis.plot(captured["time"], captured["confidence"], "o", markersize=3)
axis.axhline(threshold, color="green", linestyle="--", label=f"threshold {threshold}")
axis.set_ylabel("confidence")
axis.legend()
plt.show()
# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
left.hist(captured["confidence"], bins=20)
left.axvline(threshold, color="green", linestyle="--")
left.set_title("confidence")
captured["predicted"].value_counts().plot.bar(ax=right, title="predicted classes", rot=0)
plt.show()
# %% [markdown]
# ## Confidence against the true label
#
# Blue dots are right, red ones wrong; the green dashed line is the threshold.

# %%
shown = answered.dropna(subset=["confidence"])
right = shown["true_label"] == shown["predicted_label"]
place = [settings.pipeline.classes.index(name) + random.uniform(-0.15, 0.15) for name in shown["true_label"]]
figure, axis = plt.subplots(figsize=(7, 4))
for chosen, colour, word in ((right, "blue", "right"), (~right, "red", "wrong")):
    axis.scatter(
        pd.Series(place, shown.index)[chosen], shown["confidence"][chosen], color=colour, label=word, alpha=0.6
    )
axis.set_xticks(range(len(settings.pipeline.classes)), settings.pipeline.classes)
axis.axhline(threshold, color="green", linestyle="--", label="threshold")
axis.set_ylabel("confidence")
axis.legend()
plt.show()
# %%
means = captured.set_index("time")["confidence"].resample("1s").mean().dropna()
figure, axis = plt.subplots(figsize=(10, 3))
axis.plot(means.index, means, marker="o")
axis.axhline(threshold, color="green", linestyle="--")
axis.set_title("mean confidence, in bins of a second")
plt.show()
# %% [markdown]
# ## A drift, and its report
#
# The same endpoint in the dark: a hundred and fifty darkened photographs, then the report about them.

# %%
dark_since = datetime.now(UTC).replace(microsecond=0)
chooser = random.Random(0)
for image in executions.pick_test_images(connection, dataset, 150, seed=3):
    body = io.BytesIO()
    darkened(darkened(opened(image).convert("RGB"), chooser), chooser).save(body, "PNG")
    runtime.invoke_endpoint(EndpointName=live.name, ContentType="image/png", Body=body.getvalue())
while captures.count(connection) < before + 100 + 150:
    time.sleep(1)

# %%
folder = Path("reports/lifecycle")
report = captures.write_report(connection, TimeRange(dark_since, datetime.now(UTC)), folder)
document = json.loads((folder / "report.json").read_text())
sorted(document)

# %%
families = document["drift"]["families"]
pd.DataFrame([{"watched": family["family"], "alarm": family["alarm"], "level": family["level"]} for family in families])

# %% [markdown]
# The page that a person reads is `reports/lifecycle/report.html`.

# %%
sorted(path.name for path in folder.iterdir() if path.is_file())

# %% [markdown]
# ## Clean up
#
# The stand-in account stops and keeps its state. On AWS `scones destroy --stage STAGE` removes what costs money.

# %%
if STAGE == "local":
    control.stop(state_dir())
