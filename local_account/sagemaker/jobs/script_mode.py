"""Script mode: what the sagemaker-training toolkit inside AWS's framework images does with a training script.

Runs in the server process, before the container starts. Authority for the variables and the order of things: the
source of aws/sagemaker-training-toolkit (``environment.py``, ``entry_point.py``, ``errors.py``).
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from local_account.protocol.actions import Json
from local_account.sagemaker.records import TrainingJobRecord

INPUT, OUTPUT, MODEL, CODE = "/opt/ml/input", "/opt/ml/output", "/opt/ml/model", "/opt/ml/code"
GROUP = "homogeneousCluster"
_TOOLKIT_PREFIX = "sagemaker_"
# What the toolkit logs before the script runs; everything before it is pip's.
INVOKING = "Invoking script with the following command:"


class InstanceGroup(TypedDict):
    """The machines of one kind that a job runs on."""

    instance_group_name: str
    instance_type: str
    hosts: list[str]


class ResourceConfigFile(TypedDict):
    """``/opt/ml/input/config/resourceconfig.json``."""

    current_host: str
    current_instance_type: str
    current_group_name: str
    hosts: list[str]
    instance_groups: list[InstanceGroup]
    network_interface_name: str


@dataclass(frozen=True)
class TrainingScript:
    """The user's script: file below /opt/ml/code, where its archive lies, and its hyperparameters."""

    program: str
    submit_directory: str
    hyperparameters: dict[str, Json]
    toolkit_parameters: dict[str, Json]

    @classmethod
    def of(cls, hyperparameters: dict[str, str], environment: dict[str, str]) -> TrainingScript | None:
        """The script a job names, or None when its image is not meant for script mode."""
        decoded = {key: decode(value) for key, value in hyperparameters.items()}
        program = decoded.get("sagemaker_program", environment.get("SAGEMAKER_PROGRAM"))
        directory = decoded.get("sagemaker_submit_directory", environment.get("SAGEMAKER_SUBMIT_DIRECTORY"))
        if not program or not directory:
            return None
        toolkit = {k: v for k, v in decoded.items() if k.startswith(_TOOLKIT_PREFIX)}
        return cls(str(program), str(directory), {k: v for k, v in decoded.items() if k not in toolkit}, toolkit)

    def arguments(self) -> list[str]:
        """The hyperparameters as command line arguments, as the toolkit writes them."""
        pairs = [(f"-{k}" if len(k) == 1 else f"--{k}", v) for k, v in sorted(self.hyperparameters.items())]
        return [
            text for name, value in pairs for text in (name, value if isinstance(value, str) else json.dumps(value))
        ]

    def run_command(self) -> list[str]:
        """The command that runs the script alone (the toolkit quotes it in failures)."""
        if self.program.endswith(".sh"):
            return ["/bin/sh", "-c", f"./{self.program} {shlex.join(self.arguments())}"]
        return ["python3", self.program, *self.arguments()]

    def container_command(self) -> list[str]:
        """The command of the container: install requirements.txt when there is one, then run the script."""
        pip = "python3 -m pip install -r requirements.txt"
        install = (
            f"if [ -f requirements.txt ]; then {pip} || {{ code=$?; "
            f"printf 'InstallRequirementsError:\\nExitCode %s\\nCommand \"{pip}\"' "
            f"$code > {OUTPUT}/failure; exit $code; }}; fi; "
        )
        return ["/bin/sh", "-c", f'{install}echo "{INVOKING}"; exec "$@"', "sh", *self.run_command()]

    def variables(self, job: TrainingJobRecord) -> dict[str, str]:
        """The ``SM_*`` variables of a job; ``job`` is its Describe record."""
        channels = sorted(channel["ChannelName"] for channel in job.get("InputDataConfig", []))
        instance_type = str(job["ResourceConfig"].get("InstanceType", ""))
        input_config = input_data_config(job)
        module = Path(self.program).stem
        cpus = os.cpu_count() or 1
        described = {
            "additional_framework_parameters": {},
            "channel_input_dirs": {name: f"{INPUT}/data/{name}" for name in channels},
            "current_host": "algo-1",
            "current_instance_group": GROUP,
            "current_instance_type": instance_type,
            "framework_module": None,
            "hosts": ["algo-1"],
            "hyperparameters": self.hyperparameters,
            "input_config_dir": f"{INPUT}/config",
            "input_data_config": input_config,
            "input_dir": INPUT,
            "is_hetero": False,
            "is_master": True,
            "job_name": job["TrainingJobName"],
            "log_level": 20,
            "master_hostname": "algo-1",
            "model_dir": MODEL,
            "module_dir": self.submit_directory,
            "module_name": module,
            "network_interface_name": "lo",
            "num_cpus": cpus,
            "num_gpus": 0,
            "num_neurons": 0,
            "output_data_dir": f"{OUTPUT}/data",
            "output_dir": OUTPUT,
            "output_intermediate_dir": f"{OUTPUT}/intermediate",
            "resource_config": resource_config(job),
            "user_entry_point": self.program,
        }
        variables = {
            "SM_CHANNELS": json.dumps(channels),
            "SM_CURRENT_HOST": "algo-1",
            "SM_CURRENT_INSTANCE_GROUP": GROUP,
            "SM_CURRENT_INSTANCE_GROUP_HOSTS": '["algo-1"]',
            "SM_CURRENT_INSTANCE_TYPE": instance_type,
            "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]",
            "SM_FRAMEWORK_MODULE": "",
            "SM_FRAMEWORK_PARAMS": "{}",
            "SM_HOSTS": '["algo-1"]',
            "SM_HPS": json.dumps(self.hyperparameters),
            "SM_INPUT_CONFIG_DIR": f"{INPUT}/config",
            "SM_INPUT_DATA_CONFIG": json.dumps(input_config),
            "SM_INPUT_DIR": INPUT,
            "SM_INSTANCE_GROUPS": json.dumps([GROUP]),
            "SM_INSTANCE_GROUPS_DICT": json.dumps({GROUP: resource_config(job)["instance_groups"][0]}),
            "SM_IS_HETERO": "false",
            "SM_LOG_LEVEL": "20",
            "SM_MODEL_DIR": MODEL,
            "SM_MODULE_DIR": self.submit_directory,
            "SM_MODULE_NAME": module,
            "SM_NETWORK_INTERFACE_NAME": "lo",
            "SM_NUM_CPUS": str(cpus),
            "SM_NUM_GPUS": "0",
            "SM_NUM_NEURONS": "0",
            "SM_OUTPUT_DATA_DIR": f"{OUTPUT}/data",
            "SM_OUTPUT_DIR": OUTPUT,
            "SM_OUTPUT_INTERMEDIATE_DIR": f"{OUTPUT}/intermediate",
            "SM_RESOURCE_CONFIG": json.dumps(resource_config(job)),
            "SM_TRAINING_ENV": json.dumps(described),
            "SM_USER_ARGS": json.dumps(self.arguments()),
            "SM_USER_ENTRY_POINT": self.program,
            "PYTHONPATH": CODE,
        }
        variables.update({f"SM_CHANNEL_{name.upper()}": f"{INPUT}/data/{name}" for name in channels})
        for name, value in self.hyperparameters.items():
            variables[f"SM_HP_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        return variables

    def failure(self, exit_code: int, message: str) -> str:
        """What the toolkit writes to ``/opt/ml/output/failure`` when the script fails."""
        message = message.rpartition(f"{INVOKING}\n")[2]
        command = shlex.join(self.run_command())[:200]
        # the whole text is cut at 1,024 characters: the end of a message says more than its beginning
        return f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "{message[-600:]}"\nCommand "{command}"'


def decode(value: str) -> Json:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON, else the text itself."""
    try:
        decoded: Json = json.loads(value)
        return decoded
    except ValueError:
        return value


def input_data_config(job: TrainingJobRecord) -> dict[str, dict[str, str]]:
    """``/opt/ml/input/config/inputdataconfig.json`` of a job."""
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in job.get("InputDataConfig", [])
    }


def resource_config(job: TrainingJobRecord) -> ResourceConfigFile:
    """``/opt/ml/input/config/resourceconfig.json`` of a job."""
    instance_type = str(job["ResourceConfig"].get("InstanceType", ""))
    return {
        "current_host": "algo-1",
        "current_instance_type": instance_type,
        "current_group_name": GROUP,
        "hosts": ["algo-1"],
        "instance_groups": [
            {"instance_group_name": GROUP, "instance_type": instance_type, "hosts": ["algo-1"]},
        ],
        "network_interface_name": "lo",
    }
