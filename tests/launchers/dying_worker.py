"""A worker process that crashes before it does anything; started by a test, with python -m."""

import os

print("last words of a worker", flush=True)
os.abort()
