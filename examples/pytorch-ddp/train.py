"""Trains a small convolutional network on scikit-learn's handwritten digits, data-parallel over all ranks.

Nothing in here knows Muster: torch.distributed finds the other ranks through the environment.
"""

import os
import time

import numpy
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

EPOCHS = int(os.environ.get("EPOCHS", "12"))


def data():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(numpy.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    train_x, test_x, train_y, test_y = (torch.from_numpy(numpy.asarray(part)) for part in parts)
    return TensorDataset(train_x, train_y), (test_x, test_y)


def model():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def main():
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda" if cuda else "cpu")
    print(f"rank {rank} of {world} on {device}, torch {torch.__version__}", flush=True)

    torch.manual_seed(0)
    network = DistributedDataParallel(model().to(device))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    loss_of = nn.CrossEntropyLoss()
    train, (test_x, test_y) = data()
    sampler = DistributedSampler(train, shuffle=True)
    batches = DataLoader(train, batch_size=32, sampler=sampler)

    started = time.monotonic()
    for epoch in range(1, EPOCHS + 1):
        sampler.set_epoch(epoch)
        network.train()
        total = torch.zeros(2, device=device)
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = loss_of(network(images), labels)
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(labels), len(labels)], device=device)
        dist.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch:2}  loss {total[0] / total[1]:.4f}", flush=True)

    network.eval()
    with torch.no_grad():
        guesses = network.module(test_x.to(device)).argmax(1).cpu()
    if rank == 0:
        accuracy = (guesses == test_y).float().mean().item()
        seconds = time.monotonic() - started
        print(f"test accuracy {accuracy:.4f} after {EPOCHS} epochs in {seconds:.1f} s", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
