"""A training that survives restarts: so many all-reduced steps, the last one kept in a file.

Usage: steps.py FOLDER STEPS SECONDS_PER_STEP
"""

import os
import pathlib
import sys
import time

import torch
import torch.distributed as dist

folder, steps, pause = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
checkpoint = folder / "step"

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
start = torch.zeros(1, dtype=torch.int64)
if rank == 0 and checkpoint.exists():
    start[0] = int(checkpoint.read_text())
dist.broadcast(start, 0)
print(f"rank {rank} of {world} starts at step {int(start)}", flush=True)

for step in range(int(start), steps):
    ones = torch.ones(8)
    dist.all_reduce(ones)
    assert int(ones[0]) == world, (ones, world)
    time.sleep(pause)
    if rank == 0:
        fresh = folder / "step.new"
        fresh.write_text(str(step + 1))
        os.replace(fresh, checkpoint)

print(f"rank {rank} finished all {steps} steps", flush=True)
dist.destroy_process_group()
