"""The model as it is served: one module with SageMaker's four functions.

Runs in the hosting container, and in evaluation and training, which measure and check what will be served.
"""
