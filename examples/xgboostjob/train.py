"""Distributed XGBoost: the Master opens the tracker, every replica trains on rows of its own."""

import os

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

tracker = None
if rank == 0:
    tracker = RabitTracker(n_workers=world, host_ip=host, port=port, sortby="task")
    tracker.start()

with collective.CommunicatorContext(
    dmlc_tracker_uri=host, dmlc_tracker_port=port, dmlc_task_id=str(rank)
):
    assert collective.get_world_size() == world
    random = np.random.default_rng(rank)
    rows = random.normal(size=(2000, 8))
    labels = (rows.sum(axis=1) > 0).astype(int)
    data = xgb.DMatrix(rows, labels)
    seen = {}
    parameters = {"objective": "binary:logistic", "tree_method": "hist", "nthread": 1}
    xgb.train(parameters, data, 10, evals=[(data, "train")], evals_result=seen, verbose_eval=False)
    print(f"rank {rank} of {world}: loss {seen['train']['logloss'][-1]:.4f}", flush=True)

if tracker is not None:
    tracker.wait_for()
    tracker.free()
