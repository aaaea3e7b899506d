"""The filter job on many instances: each writes a part of the dataset, and one merge checks them against each other."""
