"""What every container job does with images: decode them, label them, and read the dataset folder.

Runs in containers (processing, training, hosting). Needs numpy and Pillow only.
"""
