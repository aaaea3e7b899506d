"""An AWS account on this machine: moto, extended so that jobs, functions, endpoints and state machines really run.

It knows nothing of the project beside it: any boto3, SageMaker SDK or aws CLI client works with ``AWS_ENDPOINT_URL``.
"""
