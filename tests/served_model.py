"""A small model for the tests of serving, and its server: the same contract as a trained one, made in milliseconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imaging.labels import labels_document
from tests.places import ROOT

CLASSES = ["bicycle", "motorcycle"]
START_TIMEOUT_S = 600.0  # the machine may be busy with other tests; a server that hangs still ends one


def write_model(folder: Path) -> Path:
    """``model.onnx``, whose answer depends on the mean colour of the image, and ``labels.json``."""
    weights = np.array([[0.02, -0.01], [-0.03, 0.02], [0.01, -0.005]], dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mean-colour",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "labels.json").write_text(labels_document(CLASSES), encoding="utf-8")
    return folder


@dataclass
class ModelServer:
    """A process of the stand-in account's model server with our serving code."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=300)

    def memory_mib(self, what: str = "VmRSS") -> float:
        """Memory of the process now, or its peak (``VmHWM``)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split(f"{what}:")[1].split()[0]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(300)


def start_server(model: Path, scratch: Path, **environment: str) -> ModelServer:
    """Start a server on a free port and wait until it listens."""
    port_file, log = scratch / "port", scratch / "server.log"
    variables = {
        **os.environ,
        "SM_MODEL_DIR": str(model),
        "SAGEMAKER_SUBMIT_DIRECTORY": str(ROOT),
        "SAGEMAKER_PROGRAM": "serving/inference.py",
        "SAGEMAKER_BIND_TO_PORT": "0",
        "MODEL_SERVER_PORT_FILE": str(port_file),
        **environment,
    }
    program = ROOT / "local_account" / "sagemaker" / "endpoints" / "container" / "model_server.py"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-P", str(program)], env=variables, stdout=stream, stderr=stream)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise RuntimeError(f"the model server did not start: {log.read_text(encoding='utf-8')}")
        time.sleep(0.02)
    return ModelServer(process, int(port_file.read_text(encoding="utf-8")), log)
