"""SageMaker Experiments and lineage: what was tried, by whom, with which values, made of what."""
