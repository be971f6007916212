"""Pi, as MPI's oldest example works it out: every rank sums a part of the integral of 4 / (1 + x^2)."""

from mpi4py import MPI

world = MPI.COMM_WORLD
steps = 1_000_000
width = 1 / steps
part = width * sum(
    4 / (1 + (width * (step + 0.5)) ** 2) for step in range(world.rank, steps, world.size)
)
pi = world.reduce(part)
if world.rank == 0:
    print(f"pi is about {pi:.12f}, say {world.size} ranks", flush=True)
