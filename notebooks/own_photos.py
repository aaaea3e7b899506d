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
# # From a folder of photographs to a served model
#
# A folder with one subfolder of pictures for each class is all that is needed; `SCONES_PHOTOS` says where it is. Here
# they are flowers: 600 to train on and 200 for the test, in folders `train/<class>` and `test/<class>`. On the stage
# `local` everything runs in the stand-in account on this machine; `SCONES_NOTEBOOK_STAGE` names another.

# %%
import logging
import os
import random
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from infrastructure import stack
from scones.find_images import locate
from scones.review import threshold
from scones.runs import executions, pipeline_runs
from scones.runs.start_training import start_training
from scones.serving_versions import endpoint, registry
from scones.source_data import own_pictures
from scones.stage.connection import connect
from scones.stage.settings import Settings

logging.disable(logging.WARNING)
STAGE = os.environ.get("SCONES_NOTEBOOK_STAGE", "local")
PHOTOS = Path(os.environ.get("SCONES_PHOTOS", "photos"))

# %% [markdown]
# ## What is there
#
# What `scones data show --data FOLDER` tells before anything runs: the classes, the pictures of each, and what would be
# left out.

# %%
pictures = own_pictures.describe(PHOTOS)
pd.DataFrame(pictures.counts)

# %%
pictures.total, pictures.image_size, pictures.skipped

# %% [markdown]
# ## A contact sheet
#
# Run the notebook to see it: what shows photographs is not kept in this file, since they belong to those who took them.

# %% tags=["photographs"]
chooser = random.Random(0)
figure, axes = plt.subplots(2, 5, figsize=(12, 5))
for column, name in enumerate(pictures.classes):
    files = sorted(path for path in PHOTOS.glob(f"**/{name}/*") if path.is_file())
    for axis, path in zip(axes[:, column], chooser.sample(files, 2), strict=True):
        axis.imshow(Image.open(path))
        axis.set_title(name)
        axis.axis("off")
plt.show()
# %% [markdown]
# ## An account with the stack

# %%
settings = Settings.load(STAGE)
if STAGE == "local":
    from local_account.server import control
    from scones.stand_in import begin, state_dir

    control.reset(state_dir())
    begin(settings)
connection = connect(STAGE)
told = []
stack.deploy(connection, told.append)
told[-3:]

# %% [markdown]
# ## Train
#
# The recipe `pretrained` with a frozen network: one layer is fitted to what a network from ImageNet sees in each
# picture, which takes a minute without a GPU. The pictures are read at 224 pixels.

# %%
chosen = {"Recipe": "pretrained", "PretrainedMode": "frozen", "ImageSize": "224", "AccuracyGate": "0.8"}
run = pipeline_runs.wait(connection, start_training(connection, locate(PHOTOS, False), chosen))
assert run.succeeded, run.explain()
pd.DataFrame([{"step": step.name, "status": step.status} for step in run.steps])

# %% [markdown]
# ## What it is worth

# %%
arn = next(step.job for step in run.steps if step.kind == "RegisterModel")
version = registry.describe(connection, arn)
evaluation = registry.evaluation(connection, version)
low, high = evaluation.accuracy_interval_95
print(f"right: {evaluation.accuracy:.1%} of {evaluation.images} test photographs (95 %: {low:.1%} to {high:.1%})")

# %%
of_class = {name: [found.precision, found.recall, found.f1] for name, found in evaluation.classes.items()}
pd.DataFrame(of_class, index=["precision", "recall", "F1"]).T.round(2)

# %% [markdown]
# Which flower is taken for which:

# %%
confusion = pd.DataFrame(evaluation.multiclass_classification_metrics.confusion_matrix).T
figure, axis = plt.subplots(figsize=(5, 4))
axis.imshow(confusion, cmap="Blues")
axis.set_xticks(range(len(confusion)), confusion.columns, rotation=30)
axis.set_yticks(range(len(confusion)), confusion.index)
axis.set_xlabel("predicted")
axis.set_ylabel("true")
for row, name in enumerate(confusion.index):
    for column, count in enumerate(confusion.loc[name]):
        axis.text(column, row, count, ha="center", va="center", color="white" if count > 20 else "black")
plt.show()
# %% [markdown]
# ## Approve, and wait for the endpoint

# %%
registry.set_approval(connection, version, "Approved", "looked at its evaluation")
live = endpoint.wait_for(connection, version.arn, 1800)
connection.client("sagemaker").describe_endpoint(EndpointName=live.name)["EndpointStatus"]

# %% [markdown]
# ## Classify a few
#
# Photographs as they are, of any size, through the workflow.

# %% tags=["photographs"]
few = [next(iter(sorted(PHOTOS.glob(f"test/{name}/*")))) for name in pictures.classes]
outcomes = executions.run(connection, executions.upload_images(connection, few))
figure, axes = plt.subplots(1, 5, figsize=(13, 3))
for axis, path, outcome in zip(axes, few, outcomes, strict=True):
    axis.imshow(Image.open(path))
    sure = "" if outcome.status == "SUCCEEDED" else "\nbelow the threshold"
    axis.set_title(f"{outcome.predicted_label} {outcome.confidence:.2f}{sure}", fontsize=10)
    axis.axis("off")
plt.show()
# %% [markdown]
# ## How sure it is
#
# A hundred test photographs. Blue dots are right, red ones wrong; below the green dashed line a person is asked.

# %%
images = executions.pick_test_images(connection, version.metadata["dataset_s3_uri"], 100, seed=1)
answered = pd.DataFrame([outcome.as_json() for outcome in executions.run(connection, images)])
answered["right"] = answered["true_label"] == answered["predicted_label"]
answered["place"] = [pictures.classes.index(name) + chooser.uniform(-0.2, 0.2) for name in answered["true_label"]]
line, _ = threshold.current(connection).of_all()
figure, axis = plt.subplots(figsize=(9, 4))
for right, colour, word in ((True, "blue", "right"), (False, "red", "wrong")):
    group = answered[answered["right"] == right]
    axis.scatter(group["place"], group["confidence"], color=colour, label=word, alpha=0.5)
axis.set_xticks(range(len(pictures.classes)), pictures.classes)
axis.axhline(line, color="green", linestyle="--", label=f"threshold {line:g}")
axis.set_ylabel("confidence")
axis.legend()
plt.show()
# %%
passed = answered[answered["status"] == "SUCCEEDED"]
print(f"{len(passed)} of {len(answered)} pass, {passed['right'].mean():.1%} of them right")
print(f"right of all: {answered['right'].mean():.1%}")

# %% [markdown]
# ## Clean up
#
# The stand-in account stops and keeps its state. On AWS `scones destroy --stage STAGE` removes what costs money.

# %%
if STAGE == "local":
    control.stop(state_dir())
