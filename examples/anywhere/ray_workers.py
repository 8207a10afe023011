"""Ray, a worker on each GPU of a cluster.

ray job submit -- python examples/anywhere/ray_workers.py /shared/results/first
"""

import subprocess
import sys

import ray

COMMAND = [sys.executable, "-m", "calib_sweep", "work", *sys.argv[1:]]


@ray.remote(num_gpus=1, max_retries=3)
def work() -> int:
    return subprocess.run(COMMAND).returncode


ray.init()
workers = [work.remote() for _ in range(int(ray.cluster_resources().get("GPU", 0)))]
sys.exit(max(ray.get(workers), default=1))
