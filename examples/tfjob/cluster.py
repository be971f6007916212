"""What every task of a TFJob is told, and whether it can reach the others. It needs no TensorFlow.

Each task listens on the port that TF_CONFIG gives it, says hello to all others, and ends when all have
said hello to it.
"""

import json
import os
import socket
import time

config = json.loads(os.environ["TF_CONFIG"])
print(json.dumps(config, indent=1), flush=True)
cluster, task = config["cluster"], config["task"]
me = cluster[task["type"]][task["index"]]
others = [address for addresses in cluster.values() for address in addresses if address != me]


def split(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(address, limit=60.0):
    """The other task may still be on its way up."""
    end = time.monotonic() + limit
    while True:
        try:
            return socket.create_connection(split(address), timeout=5)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


listener = socket.create_server(("", split(me)[1]), backlog=len(others))
for other in others:
    with connect(other) as connection:
        connection.sendall(me.encode())
greeted = set()
while len(greeted) < len(others):
    connection, _ = listener.accept()
    with connection:
        greeted.add(connection.makefile().read())
assert greeted == set(others), greeted
print(f"{task['type']} {task['index']} at {me} met {len(greeted)} tasks", flush=True)
