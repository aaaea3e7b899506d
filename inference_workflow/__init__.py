"""The state machines of this project: Python that returns Amazon States Language, on a laptop or in CodeBuild.

Importing this package imports the Step Functions Data Science SDK: do it only where a definition is built.
"""

from inference_workflow.sdk_imports import import_step_functions_sdk

import_step_functions_sdk()
