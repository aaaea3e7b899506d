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
from typing import TYPE_CHECKING

from local_account.base.images import repository
from local_account.protocol.actions import Json, ServiceError
from local_account.sagemaker.job_records import TrainingJobRecord
from local_account.sagemaker.jobs.cluster import Cluster, Host

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ChannelOutputTypeDef

INPUT, OUTPUT, MODEL, CODE = "/opt/ml/input", "/opt/ml/output", "/opt/ml/model", "/opt/ml/code"
_TOOLKIT_PREFIX = "sagemaker_"
_TORCHRUN = "sagemaker_torch_distributed_enabled"
# What starts a script by programs that are in AWS's images and not here.
_OTHER_LAUNCHERS = (
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_mpi_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
)
# What the toolkit logs before the script runs; everything before it is pip's.
INVOKING = "Invoking script with the following command:"


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

    def check_launcher(self) -> None:
        """Refuse distributed training that only AWS's images can start. Raises ServiceError."""
        for name in _OTHER_LAUNCHERS:
            if self.toolkit_parameters.get(name) is True:
                raise ServiceError(
                    f"HyperParameters: {name} needs programs of AWS's images. The stand-in account starts the script "
                    f"once a host, or with {_TORCHRUN} by torchrun."
                )

    def run_command(self, cluster: Cluster, host: Host) -> list[str]:
        """The command that runs the script alone (the toolkit quotes it in failures)."""
        if self.toolkit_parameters.get(_TORCHRUN) is True:
            rank, port = cluster.hosts.index(host), cluster.port
            return [
                "python3", "-m", "torch.distributed.run", "--nnodes", str(len(cluster.hosts)), "--nproc_per_node", "1",
                "--master_addr", cluster.hosts[0].name, "--master_port", str(port), "--node_rank", str(rank),
                self.program, *self.arguments(),
            ]  # fmt: skip
        if self.program.endswith(".sh"):
            return ["/bin/sh", "-c", f"./{self.program} {shlex.join(self.arguments())}"]
        return ["python3", self.program, *self.arguments()]

    def container_command(self, cluster: Cluster, host: Host) -> list[str]:
        """The command of the container: install requirements.txt when there is one, then run the script."""
        pip = "python3 -m pip install -r requirements.txt"
        install = (
            f"if [ -f requirements.txt ]; then {pip} || {{ code=$?; "
            f"printf 'InstallRequirementsError:\\nExitCode %s\\nCommand \"{pip}\"' "
            f"$code > {OUTPUT}/failure; exit $code; }}; fi; "
        )
        return ["/bin/sh", "-c", f'{install}echo "{INVOKING}"; exec "$@"', "sh", *self.run_command(cluster, host)]

    def variables(self, job: TrainingJobRecord, cluster: Cluster, host: Host) -> dict[str, str]:
        """The ``SM_*`` variables of a host; ``job`` is its Describe record."""
        config, groups, first = cluster.resource_config(host), cluster.groups(), cluster.hosts[0]
        peers = [one.name for one in groups[host.group]]
        input_config = input_data_config(job, host)
        channels = sorted(input_config)
        module = Path(self.program).stem
        cpus = os.cpu_count() or 1
        described = {
            "additional_framework_parameters": {},
            "channel_input_dirs": {name: f"{INPUT}/data/{name}" for name in channels},
            "current_host": host.name,
            "current_instance_group": host.group,
            "current_instance_group_hosts": peers,
            "current_instance_type": host.instance_type,
            "distribution_hosts": cluster.names,
            "distribution_instance_groups": [],
            "framework_module": None,
            "hosts": cluster.names,
            "hyperparameters": self.hyperparameters,
            "input_config_dir": f"{INPUT}/config",
            "input_data_config": input_config,
            "input_dir": INPUT,
            "instance_groups": list(groups),
            "instance_groups_dict": {group["instance_group_name"]: group for group in config["instance_groups"]},
            "is_hetero": len(groups) > 1,
            "is_master": host is first,
            "job_name": job["TrainingJobName"],
            "log_level": 20,
            "master_hostname": first.name,
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
            "resource_config": config,
            "user_entry_point": self.program,
        }
        variables = {
            "SM_CHANNELS": json.dumps(channels),
            "SM_CURRENT_HOST": host.name,
            "SM_CURRENT_INSTANCE_GROUP": host.group,
            "SM_CURRENT_INSTANCE_GROUP_HOSTS": json.dumps(peers),
            "SM_CURRENT_INSTANCE_TYPE": host.instance_type,
            "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]",
            "SM_FRAMEWORK_MODULE": "",
            "SM_FRAMEWORK_PARAMS": "{}",
            "SM_HOSTS": json.dumps(cluster.names),
            "SM_HPS": json.dumps(self.hyperparameters),
            "SM_INPUT_CONFIG_DIR": f"{INPUT}/config",
            "SM_INPUT_DATA_CONFIG": json.dumps(input_config),
            "SM_INPUT_DIR": INPUT,
            "SM_INSTANCE_GROUPS": json.dumps(list(groups)),
            "SM_INSTANCE_GROUPS_DICT": json.dumps(described["instance_groups_dict"]),
            "SM_IS_HETERO": json.dumps(len(groups) > 1),
            "SM_MASTER_ADDR": first.name,
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
            "SM_RESOURCE_CONFIG": json.dumps(config),
            "SM_TRAINING_ENV": json.dumps(described),
            "SM_USER_ARGS": json.dumps(self.arguments()),
            "SM_USER_ENTRY_POINT": self.program,
            "PYTHONPATH": CODE,
        }
        variables.update({f"SM_CHANNEL_{name.upper()}": f"{INPUT}/data/{name}" for name in channels})
        if "pytorch" in repository(job["AlgorithmSpecification"].get("TrainingImage", "")):
            variables |= {"MASTER_ADDR": first.name, "MASTER_PORT": str(cluster.port)}
        for name, value in self.hyperparameters.items():
            variables[f"SM_HP_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        return variables

    def failure(self, cluster: Cluster, host: Host, exit_code: int, message: str) -> str:
        """What the toolkit writes to ``/opt/ml/output/failure`` when the script fails."""
        message = message.rpartition(f"{INVOKING}\n")[2]
        command = shlex.join(self.run_command(cluster, host))[:200]
        # the whole text is cut at 1,024 characters: the end of a message says more than its beginning
        return f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "{message[-600:]}"\nCommand "{command}"'


def decode(value: str) -> Json:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON, else the text itself."""
    try:
        decoded: Json = json.loads(value)
        return decoded
    except ValueError:
        return value


def channels_of(job: TrainingJobRecord, host: Host) -> list[ChannelOutputTypeDef]:
    """The channels that a host gets data of."""
    return [
        channel
        for channel in job.get("InputDataConfig", [])
        if not (groups := channel["DataSource"]["S3DataSource"].get("InstanceGroupNames")) or host.group in groups
    ]


def input_data_config(job: TrainingJobRecord, host: Host) -> dict[str, dict[str, str]]:
    """``/opt/ml/input/config/inputdataconfig.json`` of a host."""
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in channels_of(job, host)
    }
