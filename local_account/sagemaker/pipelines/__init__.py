"""SageMaker Pipelines: definitions checked when they are created, and executed step by step."""
