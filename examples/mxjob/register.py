"""What MXNet's parameter server does first, without MXNet: everybody registers with the scheduler.

The scheduler knows from DMLC_NUM_SERVER and DMLC_NUM_WORKER how many to wait for; the others find it at
DMLC_PS_ROOT_URI:DMLC_PS_ROOT_PORT.
"""

import json
import os
import socket
import time

role = os.environ["DMLC_ROLE"]
root = (os.environ["DMLC_PS_ROOT_URI"], int(os.environ["DMLC_PS_ROOT_PORT"]))
expected = int(os.environ["DMLC_NUM_SERVER"]) + int(os.environ["DMLC_NUM_WORKER"])
task = json.loads(os.environ["MX_CONFIG"])["task"]


def connect(limit=60.0):
    """The scheduler may still be on its way up."""
    end = time.monotonic() + limit
    while True:
        try:
            return socket.create_connection(root, timeout=5)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if role == "scheduler":
    family = socket.AF_INET6 if ":" in root[0] else socket.AF_INET
    listener = socket.create_server(("", root[1]), family=family)
    names = []
    for _ in range(expected):
        connection, _ = listener.accept()
        with connection:
            names.append(connection.makefile().read())
    print("registered:", ", ".join(sorted(names)), flush=True)
else:
    with connect() as connection:
        connection.sendall(f"{task['type']} {task['index']}".encode())
    print(f"{task['type']} {task['index']} found the scheduler at {root[0]}", flush=True)
