"""The stage's key, and the option of a network of its own, reach every job, model and function."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from infrastructure.template import stage_template
from scones.stage.sections import NetworkSettings
from scones.stage.settings import Settings, SettingsError
from tests.unit.definitions import a_deployment

VPC = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
NETWORK = NetworkSettings(("subnet-1", "subnet-2"), ("sg-1",))


def steps(definition: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in definition["Steps"] if step["Type"] in {"Processing", "Training", "Model"}]


@pytest.mark.parametrize("name", ["training_pipeline", "built_in_pipeline", "monitoring_pipeline", "collect_pipeline"])
def test_every_job_and_model_of_a_pipeline_stands_in_it(name: str) -> None:
    module = importlib.import_module(f"pipelines.{name}")
    plain = a_deployment()
    inside = dataclasses.replace(plain, settings=dataclasses.replace(plain.settings, network=NETWORK))
    for deployment, expected in ((plain, None), (inside, VPC)):
        found = steps(json.loads(module.definition(deployment)))
        assert found
        for step in found:
            arguments = step["Arguments"]
            assert arguments.get("NetworkConfig", arguments).get("VpcConfig") == expected, step["Name"]


@pytest.mark.parametrize("name", ["training_pipeline", "built_in_pipeline", "monitoring_pipeline", "collect_pipeline"])
def test_the_stage_s_key_reaches_all_that_a_pipeline_s_jobs_write(name: str) -> None:
    deployment = a_deployment()
    key = deployment.data_key_arn
    definition = json.loads(importlib.import_module(f"pipelines.{name}").definition(deployment))
    places = {"Processing": "ProcessingOutputConfig", "Training": "OutputDataConfig", "Transform": "TransformOutput"}
    jobs = [step for step in definition["Steps"] if step["Type"] in places]
    assert jobs
    for step in jobs:
        # A processing job without outputs puts its objects itself, and the bucket encrypts them with the same key.
        written = step["Arguments"].get(places[step["Type"]])
        assert written or name == "collect_pipeline", step["Name"]
        assert not written or written["KmsKeyId"] == key, step["Name"]
    # A step of another kind would need a place above, or to write nothing.
    assert {step["Type"] for step in definition["Steps"]} <= {*places, "Condition", "Fail", "Model", "RegisterModel"}


def test_every_function_can_stand_in_it_and_its_role_may() -> None:
    template = cfn_yaml.loads(stage_template())
    inside = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}}
    chosen = ["InNetwork", {"Ref": "NetworkPolicy"}, {"Ref": "AWS::NoValue"}]
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            properties = resource["Properties"]
            assert properties["VpcConfig"]["Fn::If"][:2] == ["InNetwork", inside], name
            role = template["Resources"][properties["Role"]["Fn::GetAtt"][0]]["Properties"]
            assert {"Fn::If": chosen} in role["ManagedPolicyArns"], name


def test_the_deploying_function_hears_of_it(tmp_path: Path) -> None:
    template = cfn_yaml.loads(stage_template())
    variables = template["Resources"]["DeployApprovedModel"]["Properties"]["Environment"]["Variables"]
    assert variables["SUBNET_IDS"] == {"Fn::Join": [",", {"Ref": "SubnetIds"}]}
    assert variables["SECURITY_GROUP_IDS"] == {"Fn::Join": [",", {"Ref": "SecurityGroupIds"}]}


def test_a_serverless_endpoint_cannot_stand_in_it(tmp_path: Path) -> None:
    text = "[network]\nsubnet_ids = ['subnet-1']\nsecurity_group_ids = ['sg-1']\n[endpoint]\nvariant = 'serverless'\n"
    (tmp_path / "trial.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="a serverless endpoint cannot stand in a network"):
        Settings.load("trial", tmp_path)


def test_subnets_without_security_groups_are_refused(tmp_path: Path) -> None:
    (tmp_path / "trial.toml").write_text("[network]\nsubnet_ids = ['subnet-1']\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="both subnet_ids and security_group_ids"):
        Settings.load("trial", tmp_path)
