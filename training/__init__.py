"""Train the classifier and export it: the only package that needs torch.

Runs in a SageMaker training container (script mode), as ``python training/train.py`` from the source archive.
"""

import os

# Before anything here loads ONNX Runtime, whose official builds report every process to their maker from 1.29 on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
