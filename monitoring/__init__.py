"""The container job that turns captured endpoint traffic into a report."""

import os

# Nothing here multiplies matrices, and threads that wait for some cost 0.1 s of CPU when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
