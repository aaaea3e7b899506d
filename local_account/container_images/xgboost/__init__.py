"""What stands for the image sagemaker-xgboost: the algorithm, and what its scripts may leave out when they serve."""
