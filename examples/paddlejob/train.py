"""Fits a line with Paddle: every rank has points of its own, and gradients are averaged over all."""

import paddle
import paddle.distributed as dist

dist.init_parallel_env()
rank, world = dist.get_rank(), dist.get_world_size()
assert world == 2, world

paddle.seed(rank)
x = paddle.randn([256, 1])
y = 3 * x + 1
weight = paddle.to_tensor([0.0, 0.0], stop_gradient=False)
for _ in range(60):
    loss = ((weight[0] * x + weight[1] - y) ** 2).mean()
    loss.backward()
    dist.all_reduce(weight.grad)
    weight = (weight - 0.2 * weight.grad / world).detach()
    weight.stop_gradient = False
print(f"rank {rank} of {world}: y = {float(weight[0]):.2f} x + {float(weight[1]):.2f}", flush=True)
