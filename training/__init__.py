"""Train the classifier and export it: the only package that needs torch.

Runs in a SageMaker training container (script mode), as ``python training/train.py`` from the source archive.
"""
