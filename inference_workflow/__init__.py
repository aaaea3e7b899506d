"""The state machines of this project: Python that returns Amazon States Language, on a laptop or in CodeBuild.

Importing this package imports the Step Functions Data Science SDK, and with it the SageMaker SDK, which takes
seconds: do it only where a definition is built.
"""

import logging
import os
import warnings
from unittest import mock

# Version 2 is pinned, because the Step Functions SDK needs its modules.
os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
logging.getLogger("sagemaker.config").setLevel(logging.ERROR)

# While they are imported, one SDK creates a client, which without credentials would ask the EC2 instance metadata
# for some, and the other imports pkg_resources and compares a string with `is`, which both warn.
root_level = logging.root.level
with mock.patch.dict(os.environ, {"AWS_EC2_METADATA_DISABLED": "true"}), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import stepfunctions.steps  # noqa: F401  # the first import, under the conditions above
logging.root.setLevel(root_level)  # the SDK sets it to ERROR
