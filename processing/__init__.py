"""Container jobs around the model: prepare the dataset before training, evaluate the model after it.

Runs in SageMaker processing containers, as ``python -m processing.<job>`` from the source archive.
"""
