"""Endpoints of SageMaker: model servers, gradual updates, capture, invocations."""
