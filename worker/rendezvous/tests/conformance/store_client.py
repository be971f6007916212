#!/usr/bin/env python3
"""A real torch that talks to a store, whoever serves it.

    store_client.py operations PORT   every operation this torch has; prints a line for each, with its result
    store_client.py train PORT RANK WORLD ROUNDS
                                      so many times: init_process_group, all_reduce, a subgroup, destroy
    store_client.py serve             torch's own server; prints its port and the seconds that it took to make it,
                                      and serves until stdin ends
    store_client.py rank              for torchrun: one all_reduce
"""

import os
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

HOST = "127.0.0.1"


def connect(port, seconds=5):
    return dist.TCPStore(HOST, port, None, False, timedelta(seconds=seconds), wait_for_workers=False)


def tell(name, do):
    try:
        result = repr(do())
    except Exception as error:
        # The text names addresses and differs between servers; the kind does not.
        result = type(error).__name__
    print(f"{name}: {result}", flush=True)


def operations(port):
    store = connect(port)
    brief = timedelta(milliseconds=50)
    tell("set", lambda: store.set("a", "1"))
    tell("get", lambda: store.get("a"))
    tell("get bytes", lambda: (store.set("b", b"\0\xff" * 1000), store.get("b"))[1])
    tell("get empty", lambda: (store.set("e", ""), store.get("e"))[1])
    tell("add", lambda: [store.add("n", 3), store.add("n", -5), store.add("n", 0)])
    tell("get number", lambda: store.get("n"))
    tell("add to text", lambda: store.add("a", 41))
    tell("check", lambda: [store.check(["a"]), store.check(["a", "no"]), store.check([])])
    tell("wait", lambda: store.wait(["a", "n"]))
    tell("wait in vain", lambda: store.wait(["no"], brief))
    tell("still there", lambda: store.get("a"))
    tell("compare_set new", lambda: store.compare_set("c", "", "first"))
    tell("compare_set missing", lambda: store.compare_set("no", "expected", "x"))
    tell("compare_set right", lambda: store.compare_set("c", "first", "second"))
    tell("compare_set wrong", lambda: store.compare_set("c", "first", "third"))
    tell("delete", lambda: [store.delete_key("b"), store.delete_key("b"), store.delete_key("no")])
    tell("num_keys", store.num_keys)
    store.set_timeout(brief)
    tell("get in vain", lambda: store.get("no"))
    store.set_timeout(timedelta(seconds=5))
    prefixed = dist.PrefixStore("p", dist.PrefixStore("q", store))
    tell("prefix", lambda: (prefixed.set("a", "deep"), prefixed.get("a"), store.get("a"))[1:])
    tell("large", lambda: (store.set("l", "x" * 4_000_000), len(store.get("l")))[1])
    if hasattr(store, "append"):
        tell("append", lambda: (store.append("ap", "x"), store.append("ap", "yz"), store.get("ap"))[2])
    if hasattr(store, "multi_set"):
        tell("multi_set", lambda: store.multi_set(["m1", "m2"], ["one", "two"]))
        tell("multi_get", lambda: store.multi_get(["m1", "a", "m2"]))
        tell("multi_get none", lambda: store.multi_get([]))
    if hasattr(store, "queue_push"):
        tell("queue", lambda: [store.queue_push("q", "1"), store.queue_push("q", "2"), store.queue_len("q")])
        tell("queue_pop", lambda: [store.queue_pop("q"), store.queue_pop("q"), store.queue_len("q")])
        tell("queue_pop empty", lambda: store.queue_pop("q", False))
    if hasattr(store, "list_keys"):
        tell("list_keys", lambda: sorted(store.list_keys()))
    if hasattr(store, "clone"):
        tell("clone", lambda: store.clone().get("a"))
    tell("another connection", lambda: connect(port).get("a"))


def train(port, rank, world, rounds):
    os.environ.update(
        MASTER_ADDR=HOST,
        MASTER_PORT=str(port),
        RANK=str(rank),
        WORLD_SIZE=str(world),
        TORCHELASTIC_USE_AGENT_STORE="True",
        TORCHELASTIC_RESTART_COUNT="0",
        TORCHELASTIC_MAX_RESTARTS="0",
    )
    for number in range(rounds):
        dist.init_process_group("gloo", timeout=timedelta(seconds=30))
        value = torch.full((3,), float(rank))
        dist.all_reduce(value)
        pair = dist.new_group([0, world - 1])
        if rank in (0, world - 1):
            dist.all_reduce(value, group=pair)
        print(f"round {number}: {value.tolist()}", flush=True)
        dist.barrier()
        dist.destroy_process_group()
    # Some versions of gloo abort at the interpreter's end.
    os._exit(0)


def serve():
    begin = time.perf_counter()
    store = dist.TCPStore(HOST, 0, None, True, timedelta(seconds=30), wait_for_workers=False)
    print(store.port, f"{time.perf_counter() - begin:.6f}", flush=True)
    sys.stdin.read()


def rank():
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    value = torch.ones(1)
    dist.all_reduce(value)
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {value.item()}", flush=True)
    dist.barrier()
    os._exit(0)


def main():
    what, arguments = sys.argv[1], [int(argument) for argument in sys.argv[2:]]
    {"operations": operations, "train": train, "serve": serve, "rank": rank}[what](*arguments)


if __name__ == "__main__":
    main()
