"""A small training: meets the other ranks, adds up once, trains three steps, and tells when that was.

Prints `allreduce SECONDS` on every rank: when its first all-reduce was done, as a Unix time. And `torch FILE`:
which torch it uses.
"""

import os
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
ones = torch.ones(4)
dist.all_reduce(ones)
# In one piece, whatever else the launcher lets ranks write.
os.write(1, f"allreduce {time.time():.6f}\ntorch {torch.__file__}\n".encode())
assert int(ones[0]) == dist.get_world_size(), ones

model = DistributedDataParallel(torch.nn.Linear(10, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(8, 10)).pow(2).mean().backward()
    optimizer.step()
dist.barrier()
dist.destroy_process_group()
