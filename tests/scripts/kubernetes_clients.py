"""What users of Kubeflow's and Kubernetes' Python clients do, against a coordinator.

    kubernetes_clients.py KUBECONFIG WHAT

Ends with 0 when everything was as it should be.
"""

import json
import ssl
import sys
import threading
import urllib.error
import urllib.request

from kubernetes import client, config, watch

KUBECONFIG = sys.argv[1]
GROUP, VERSION, NAMESPACE, PLURAL = "kubeflow.org", "v1", "default", "pytorchjobs"


def manifest(name, script="echo hello from $RANK", workers=1, labels=None):
    def role(replicas):
        container = {"name": "pytorch", "image": "none", "command": ["sh", "-c", script]}
        return {"replicas": replicas, "restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}

    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "PyTorchJob",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"pytorchReplicaSpecs": {"Master": role(1), "Worker": role(workers)}},
    }


def state(job):
    holding = [c["type"] for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"]
    return holding[-1] if holding else ""


def training():
    """kubeflow-training's TrainingClient."""
    from kubeflow.training import TrainingClient
    from kubeflow.training.models import KubeflowOrgV1PyTorchJob

    api = TrainingClient(config_file=KUBECONFIG)
    whole = manifest("sdk", script="echo hello from $RANK; sleep 1")
    # The models of this client want it.
    whole["spec"]["runPolicy"] = {}
    # The client reads objects from answers.
    answer = type("Answer", (), {"data": json.dumps(whole)})
    job = TrainingClient(config_file=KUBECONFIG).api_client.deserialize(answer, KubeflowOrgV1PyTorchJob)
    api.create_job(job=job)
    assert api.is_job_created("sdk")
    ended = api.wait_for_job_conditions("sdk", polling_interval=1, wait_timeout=120)
    assert ended.status.conditions[-1].type == "Succeeded", ended
    assert api.is_job_succeeded("sdk")
    logs, _ = api.get_job_logs("sdk")
    assert logs == {"sdk-master-0": "hello from 0\n"}, logs
    logs, _ = api.get_job_logs("sdk", is_master=False, replica_type="worker")
    assert logs == {"sdk-worker-0": "hello from 1\n"}, logs
    assert sorted(api.get_job_pod_names("sdk")) == ["sdk-master-0", "sdk-worker-0"]
    assert [job.metadata.name for job in api.list_jobs()] == ["sdk"]
    api.delete_job("sdk")
    assert api.list_jobs() == []


def trainer():
    """kubeflow's TrainerClient: a function becomes a TrainJob on a runtime that comes with Muster."""
    from kubeflow.common.types import KubernetesBackendConfig
    from kubeflow.trainer import CustomTrainer, TrainerClient

    api = TrainerClient(KubernetesBackendConfig(config_file=KUBECONFIG, namespace=NAMESPACE))
    runtime = api.get_runtime("torch-distributed")

    def train():
        import os

        import torch
        import torch.distributed

        torch.distributed.init_process_group("gloo")
        total = torch.ones(1)
        torch.distributed.all_reduce(total)
        print("rank", os.environ["RANK"], "sum", int(total))
        torch.distributed.destroy_process_group()

    name = api.train(runtime=runtime, trainer=CustomTrainer(func=train, num_nodes=2))
    job = api.wait_for_job_status(name, timeout=600)
    assert job.status == "Complete", job
    assert [(step.name, step.status) for step in job.steps] == [("node-0", "Succeeded"), ("node-1", "Succeeded")], job
    log = list(api.get_job_logs(name, step="node-0"))
    assert "rank 0 sum 2" in log, log
    assert [job.name for job in api.list_jobs()] == [name]
    api.delete_job(name)
    assert api.list_jobs() == []


def plain():
    """The generated client: watches, pages, selectors, patches, errors."""
    config.load_kube_config(KUBECONFIG)
    jobs, core = client.CustomObjectsApi(), client.CoreV1Api()
    where = (GROUP, VERSION, NAMESPACE, PLURAL)
    seen = []
    begin = jobs.list_namespaced_custom_object(*where)["metadata"]["resourceVersion"]

    def follow():
        stream = watch.Watch()
        for event in stream.stream(
            jobs.list_namespaced_custom_object, *where, resource_version=begin, timeout_seconds=60
        ):
            seen.append((event["type"], event["object"]["metadata"]["name"], state(event["object"])))
            if event["type"] == "DELETED":
                return

    follower = threading.Thread(target=follow)
    follower.start()
    jobs.create_namespaced_custom_object(*where, manifest("plain", "sleep 1; echo done", labels={"team": "a"}))
    pods = watch.Watch()
    for event in pods.stream(core.list_namespaced_pod, NAMESPACE, timeout_seconds=60, label_selector="training.kubeflow.org/replica-type=master"):
        if event["object"].status.phase == "Succeeded":
            assert event["object"].status.container_statuses[0].state.terminated.exit_code == 0
            break
    log = core.read_namespaced_pod_log("plain-master-0", NAMESPACE, follow=True, timestamps=True)
    assert log.endswith("Z done\n"), log
    jobs.delete_namespaced_custom_object(*where, "plain", propagation_policy="Foreground")
    follower.join()
    states = [state for _, _, state in seen]
    assert seen[0][0] == "ADDED" and seen[-1][0] == "DELETED" and "Running" in states, seen

    for number in range(5):
        suspended = manifest(f"page-{number}", labels={"even": str(number % 2 == 0).lower()})
        suspended["spec"]["runPolicy"] = {"suspend": True}
        jobs.create_namespaced_custom_object(*where, suspended)
    names, token = [], ""
    while True:
        page = jobs.list_namespaced_custom_object(*where, limit=2, _continue=token)
        names += [item["metadata"]["name"] for item in page["items"]]
        assert len(page["items"]) <= 2
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"page-{number}" for number in range(5)], names
    even = jobs.list_namespaced_custom_object(*where, label_selector="even in (true),!absent")["items"]
    assert len(even) == 3, even
    one = jobs.list_namespaced_custom_object(*where, field_selector="metadata.name=page-3")["items"]
    assert len(one) == 1, one

    stale = jobs.get_namespaced_custom_object(*where, "page-0")
    jobs.patch_namespaced_custom_object(*where, "page-0", {"metadata": {"labels": {"new": "1"}}})
    stale["metadata"]["labels"]["other"] = "2"
    expect(409, "Conflict", lambda: jobs.replace_namespaced_custom_object(*where, "page-0", stale))
    expect(409, "AlreadyExists", lambda: jobs.create_namespaced_custom_object(*where, manifest("page-0")))
    expect(404, "NotFound", lambda: jobs.get_namespaced_custom_object(*where, "nope"))
    wrong = manifest("wrong")
    wrong["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] = -1
    expect(422, "Invalid", lambda: jobs.create_namespaced_custom_object(*where, wrong))
    waits = core.list_namespaced_pod(NAMESPACE).items
    assert waits == [], waits
    jobs.delete_collection_namespaced_custom_object(*where)
    for _ in range(100):
        if not jobs.list_namespaced_custom_object(*where)["items"]:
            break
        threading.Event().wait(0.1)
    else:
        raise AssertionError("the jobs are still there")
    assert client.VersionApi().get_code().minor


def expect(code, reason, call):
    try:
        call()
    except client.ApiException as error:
        assert error.status == code, error
        assert json.loads(error.body)["reason"] == reason, error.body
    else:
        raise AssertionError(f"{code} was expected")


def raw():
    """What no client sends, or only a broken one."""
    config.load_kube_config(KUBECONFIG)
    settings = client.Configuration.get_default_copy()
    trusted = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    trusted.check_hostname = False
    token = settings.api_key["authorization"]

    def ask(path, body=None, kind="application/json", method=None, token=token, host=settings.host):
        headers = {"Content-Type": kind}
        if token:
            headers["Authorization"] = token if token.startswith("Bearer ") else f"Bearer {token}"
        request = urllib.request.Request(host + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, context=trusted if host.startswith("https") else None, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    jobs = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
    good = json.dumps(manifest("raw")).encode()
    cases = [
        ((jobs, b"{"), 400, "BadRequest"),
        ((jobs, b"[]"), 400, "BadRequest"),
        ((jobs, b"a: [", "application/yaml"), 400, "BadRequest"),
        ((jobs, b"k8s\0\x0a\xff", "application/vnd.kubernetes.protobuf"), 400, "BadRequest"),
        ((jobs, good, "text/csv"), 415, "UnsupportedMediaType"),
        ((jobs, b" " * 10_000_000), 413, "RequestEntityTooLarge"),
        ((f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/tfjobs", good), 400, "BadRequest"),
        ((f"/apis/{GROUP}/{VERSION}/namespaces/other/{PLURAL}?dryRun=Some", good), 422, "Invalid"),
        ((f"{jobs}/nope", b"{}", "application/merge-patch+json", "PATCH"), 404, "NotFound"),
        (("/apis/apps/v1/namespaces/default/deployments",), 404, "NotFound"),
        (("/apis",  None, "application/json", "DELETE"), 404, "NotFound"),
        ((jobs + "?watch=1&resourceVersion=999999999999999",), 504, "Timeout"),
        ((jobs + "?resourceVersion=x&watch=1",), 400, "BadRequest"),
        ((jobs + "?labelSelector=a%20in%20b",), 400, "BadRequest"),
        ((jobs + "?limit=1&continue=zzz",), 400, "BadRequest"),
        ((jobs + "?limit=%zz",), 400, "BadRequest"),
    ]
    for arguments, code, reason in cases:
        found, answer = ask(*arguments)
        assert (found, answer.get("reason")) == (code, reason), (arguments[0], found, answer)
    assert ask(jobs)[1]["items"] == [], "nothing of it was kept"
    suspended = manifest("raw")
    suspended["spec"]["runPolicy"] = {"suspend": True}
    assert ask(jobs, json.dumps(suspended).encode())[0] == 201
    patches = [
        (b"{}", "application/strategic-merge-patch+json", 415),
        (b"[]", "application/merge-patch+json", 400),
        (b"{}", "application/json-patch+json", 400),
        (b'[{"op": "test", "path": "/kind", "value": "x"}]', "application/json-patch+json", 400),
        (b'{"metadata": {"name": "other"}}', "application/merge-patch+json", 400),
        (b'{"metadata": {"uid": "other"}}', "application/merge-patch+json", 409),
        (b'{"metadata": {"resourceVersion": "1"}}', "application/merge-patch+json", 409),
        (b'{"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 9}}}}', "application/merge-patch+json", 422),
        (b'{"metadata": {"labels": {"a": "b"}}}', "application/merge-patch+json", 200),
    ]
    for patch, kind, code in patches:
        found, answer = ask(f"{jobs}/raw", patch, kind, "PATCH")
        assert found == code, (patch, found, answer)
    before = ask(f"{jobs}/raw")[1]["metadata"]["resourceVersion"]
    same = ask(f"{jobs}/raw", b'{"metadata": {"labels": {"a": "b"}}}', "application/merge-patch+json", "PATCH")[1]
    assert same["metadata"]["resourceVersion"] == before, "what changes nothing keeps the version"
    dry = ask(f"{jobs}/raw?dryRun=All", b'{"metadata": {"labels": {"a": "c"}}}', "application/merge-patch+json", "PATCH")[1]
    assert dry["metadata"]["labels"]["a"] == "c", dry
    assert ask(f"{jobs}/raw")[1]["metadata"]["labels"]["a"] == "b"
    assert ask(f"{jobs}/raw?propagationPolicy=Orphan", method="DELETE")[0] == 400
    assert ask(f"{jobs}/raw", method="DELETE")[0] == 200
    assert ask(jobs, token=None)[0] == 401
    assert ask(jobs, token="Bearer wrong")[0] == 401
    clear = settings.host.replace("https://", "http://")
    assert ask(jobs, host=clear)[0] == 403
    assert ask(jobs + "?watch=1&resourceVersion=1")[1]["object"]["code"] == 410


{"training": training, "trainer": trainer, "plain": plain, "raw": raw}[sys.argv[2]]()
