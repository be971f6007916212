"""Fits a line with JAX: every process has points of its own, and gradients are averaged over all."""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(
    coordinator_address=f"{os.environ['COORDINATOR_ADDRESS']}:{os.environ['COORDINATOR_PORT']}",
    num_processes=int(os.environ["NUM_PROCESSES"]),
    process_id=int(os.environ["PROCESS_ID"]),
)
process, processes = jax.process_index(), jax.process_count()

x = np.random.default_rng(process).normal(size=256).astype(np.float32)
y = 3 * x + 1


@jax.jit
def gradient(weights):
    return jax.grad(lambda w: jnp.mean((w[0] * x + w[1] - y) ** 2))(weights)


weights = jnp.zeros(2)
for _ in range(60):
    everyone = multihost_utils.process_allgather(gradient(weights))
    weights = weights - 0.2 * everyone.reshape(processes, -1).mean(axis=0)
assert np.allclose(weights, [3, 1], atol=1e-2), weights
print(f"process {process} of {processes}: y = {weights[0]:.2f} x + {weights[1]:.2f}", flush=True)
