"""Every rank gives a number, and all get the sum."""

import torch
import torch.distributed as dist

dist.init_process_group("nccl" if torch.cuda.device_count() > 1 else "gloo")
rank, world = dist.get_rank(), dist.get_world_size()
number = torch.tensor([rank + 1.0])
if dist.get_backend() == "nccl":
    number = number.cuda(rank % torch.cuda.device_count())
dist.all_reduce(number)
assert number.item() == world * (world + 1) / 2
print(f"rank {rank} of {world}: the sum is {number.item():.0f}", flush=True)
dist.destroy_process_group()
