//! `k8s.io/api/core/v1`: pod templates, pods, containers, volumes.

use super::Type::{self, Any, Flag, Int32, Int64, List, Map, Object as Obj, Quantity, Text};
use super::lifecycle::{LIFECYCLE, POD_SECURITY, PROBE, SECURITY};
use super::scheduling::{AFFINITY, SPREAD, TOLERATION};
use super::{Field, Object, ignored, instead, quiet, refused, used};

const TEXTS: Type = List(&Text);
const TEXT_MAP: Type = Map(&Text);
const OWNERS: Type = List(&Any);

/// `metadata` of every object. What only a server writes is taken out before a manifest is stored.
pub(crate) static METADATA: Object = Object {
    name: "ObjectMeta",
    fields: &[
        used("name", Text),
        used("generateName", Text),
        used("namespace", Text),
        used("labels", TEXT_MAP),
        used("annotations", TEXT_MAP),
        instead("finalizers", TEXTS, "a deletion does not wait for them"),
        quiet("ownerReferences", OWNERS),
        quiet("clusterName", Text),
        quiet("creationTimestamp", Text),
        quiet("deletionGracePeriodSeconds", Int64),
        quiet("deletionTimestamp", Text),
        quiet("generation", Int64),
        quiet("managedFields", List(&Any)),
        quiet("resourceVersion", Text),
        quiet("selfLink", Text),
        quiet("uid", Text),
    ],
};

pub(crate) static POD_TEMPLATE: Object = Object {
    name: "PodTemplateSpec",
    fields: &[used("metadata", Obj(&METADATA)), used("spec", Obj(&POD))],
};

/// The deadline first, see [`acted_on`].
static POD_FIELDS: [Field; 42] = [
    instead("activeDeadlineSeconds", Int64, "use spec.runPolicy.activeDeadlineSeconds"),
    used("containers", List(&Obj(&CONTAINER))),
    used("initContainers", List(&Obj(&CONTAINER))),
    used("volumes", List(&Obj(&VOLUME))),
    used("nodeSelector", TEXT_MAP),
    used("affinity", Obj(&AFFINITY)),
    used("tolerations", List(&Obj(&TOLERATION))),
    used("priorityClassName", Text),
    used("restartPolicy", Text),
    used("terminationGracePeriodSeconds", Int64),
    refused("ephemeralContainers", Any, "add it to containers"),
    refused("resourceClaims", Any, "ask for devices under resources.limits"),
    ignored("dnsConfig", Any),
    ignored("hostAliases", List(&Any)),
    ignored("hostIPC", Flag),
    ignored("hostPID", Flag),
    ignored("hostUsers", Flag),
    ignored("hostname", Text),
    ignored("hostnameOverride", Text),
    instead("imagePullSecrets", List(&Any), "log in to the registry on the nodes"),
    instead("nodeName", Text, "use nodeSelector"),
    ignored("os", Any),
    ignored("overhead", Map(&Quantity)),
    ignored("preemptionPolicy", Text),
    ignored("priority", Int32),
    ignored("readinessGates", List(&Any)),
    instead("resources", Obj(&RESOURCES), "set them on the containers"),
    ignored("runtimeClassName", Text),
    ignored("schedulingGates", List(&Any)),
    ignored("securityContext", Obj(&POD_SECURITY)),
    ignored("shareProcessNamespace", Flag),
    ignored("subdomain", Text),
    ignored("topologySpreadConstraints", List(&Obj(&SPREAD))),
    ignored("workloadRef", Any),
    quiet("automountServiceAccountToken", Flag),
    quiet("dnsPolicy", Text),
    quiet("enableServiceLinks", Flag),
    quiet("hostNetwork", Flag),
    quiet("schedulerName", Text),
    quiet("serviceAccount", Text),
    quiet("serviceAccountName", Text),
    quiet("setHostnameAsFQDN", Flag),
];

static POD: Object = Object { name: "PodSpec", fields: &POD_FIELDS };

/// The spec of a pod that is no part of a job, and has the deadline itself.
pub(crate) static BARE_POD: Object = Object { name: "PodSpec", fields: &BARE_POD_FIELDS };

static BARE_POD_FIELDS: [Field; 42] = acted_on(POD_FIELDS);

const fn acted_on(mut fields: [Field; 42]) -> [Field; 42] {
    fields[0] = used("activeDeadlineSeconds", Int64);
    fields
}

static CONTAINER: Object = Object {
    name: "Container",
    fields: &[
        used("name", Text),
        used("image", Text),
        used("command", TEXTS),
        used("args", TEXTS),
        used("workingDir", Text),
        used("env", List(&Obj(&ENV))),
        used("envFrom", List(&Obj(&ENV_FROM))),
        used("ports", List(&Obj(&PORT))),
        used("resources", Obj(&RESOURCES)),
        used("restartPolicy", Text),
        used("volumeMounts", List(&Obj(&MOUNT))),
        refused("volumeDevices", Any, "mount a hostPath volume"),
        ignored("lifecycle", Obj(&LIFECYCLE)),
        ignored("livenessProbe", Obj(&PROBE)),
        ignored("readinessProbe", Obj(&PROBE)),
        ignored("restartPolicyRules", List(&Any)),
        ignored("securityContext", Obj(&SECURITY)),
        ignored("startupProbe", Obj(&PROBE)),
        quiet("imagePullPolicy", Text),
        quiet("resizePolicy", List(&Any)),
        quiet("stdin", Flag),
        quiet("stdinOnce", Flag),
        quiet("terminationMessagePath", Text),
        quiet("terminationMessagePolicy", Text),
        quiet("tty", Flag),
    ],
};

static PORT: Object = Object {
    name: "ContainerPort",
    fields: &[
        used("name", Text),
        used("containerPort", Int32),
        used("protocol", Text),
        ignored("hostIP", Text),
        ignored("hostPort", Int32),
    ],
};

pub(crate) static RESOURCES: Object = Object {
    name: "ResourceRequirements",
    fields: &[
        used("limits", Map(&Quantity)),
        used("requests", Map(&Quantity)),
        refused("claims", Any, "ask for devices under limits"),
    ],
};

pub(crate) static ENV: Object = Object {
    name: "EnvVar",
    fields: &[used("name", Text), used("value", Text), used("valueFrom", Obj(&ENV_SOURCE))],
};

static ENV_SOURCE: Object = Object {
    name: "EnvVarSource",
    fields: &[
        used("fieldRef", Obj(&FIELD_REF)),
        used("resourceFieldRef", Obj(&RESOURCE_REF)),
        used("configMapKeyRef", Obj(&KEY_REF)),
        used("secretKeyRef", Obj(&KEY_REF)),
        refused("fileKeyRef", Any, "write the value itself"),
    ],
};

static FIELD_REF: Object = Object {
    name: "ObjectFieldSelector",
    fields: &[quiet("apiVersion", Text), used("fieldPath", Text)],
};

static RESOURCE_REF: Object = Object {
    name: "ResourceFieldSelector",
    fields: &[used("containerName", Text), used("resource", Text), used("divisor", Quantity)],
};

static KEY_REF: Object = Object {
    name: "KeySelector",
    fields: &[used("name", Text), used("key", Text), used("optional", Flag)],
};

static ENV_FROM: Object = Object {
    name: "EnvFromSource",
    fields: &[
        used("prefix", Text),
        used("configMapRef", Obj(&NAME_REF)),
        used("secretRef", Obj(&NAME_REF)),
    ],
};

pub(crate) static NAME_REF: Object =
    Object { name: "ConfigMapEnvSource", fields: &[used("name", Text), used("optional", Flag)] };

static MOUNT: Object = Object {
    name: "VolumeMount",
    fields: &[
        used("name", Text),
        used("mountPath", Text),
        used("subPath", Text),
        used("readOnly", Flag),
        refused("subPathExpr", Any, "use subPath"),
        ignored("mountPropagation", Text),
        ignored("recursiveReadOnly", Text),
    ],
};

const MOUNT_IT: &str = "mount it on the nodes and use a hostPath volume";

/// The fields of a volume besides its name: its possible sources.
pub(crate) static VOLUME: Object = Object {
    name: "Volume",
    fields: &[
        used("name", Text),
        used("emptyDir", Obj(&EMPTY_DIR)),
        used("hostPath", Obj(&HOST_PATH)),
        used("configMap", Obj(&CONFIG_MAP)),
        used("secret", Obj(&SECRET)),
        refused("awsElasticBlockStore", Any, MOUNT_IT),
        refused("azureDisk", Any, MOUNT_IT),
        refused("azureFile", Any, MOUNT_IT),
        refused("cephfs", Any, MOUNT_IT),
        refused("cinder", Any, MOUNT_IT),
        refused("csi", Any, MOUNT_IT),
        refused("downwardAPI", Any, "use environment variables with fieldRef"),
        refused("ephemeral", Any, "use emptyDir"),
        refused("fc", Any, MOUNT_IT),
        refused("flexVolume", Any, MOUNT_IT),
        refused("flocker", Any, MOUNT_IT),
        refused("gcePersistentDisk", Any, MOUNT_IT),
        refused("gitRepo", Any, "clone it in an init container"),
        refused("glusterfs", Any, MOUNT_IT),
        refused("image", Any, "copy the files to the nodes and use a hostPath volume"),
        refused("iscsi", Any, MOUNT_IT),
        refused("nfs", Any, MOUNT_IT),
        refused(
            "persistentVolumeClaim",
            Any,
            "use a hostPath volume, on a file system that the nodes share where it must outlive one node",
        ),
        refused("photonPersistentDisk", Any, MOUNT_IT),
        refused("portworxVolume", Any, MOUNT_IT),
        refused("projected", Any, "put the files on the nodes and use a hostPath volume"),
        refused("quobyte", Any, MOUNT_IT),
        refused("rbd", Any, MOUNT_IT),
        refused("scaleIO", Any, MOUNT_IT),
        refused("storageos", Any, MOUNT_IT),
        refused("vsphereVolume", Any, MOUNT_IT),
    ],
};

static EMPTY_DIR: Object = Object {
    name: "EmptyDirVolumeSource",
    fields: &[used("medium", Text), used("sizeLimit", Quantity)],
};

static HOST_PATH: Object =
    Object { name: "HostPathVolumeSource", fields: &[used("path", Text), used("type", Text)] };

static CONFIG_MAP: Object = Object {
    name: "ConfigMapVolumeSource",
    fields: &[
        used("name", Text),
        used("optional", Flag),
        quiet("items", List(&Any)),
        quiet("defaultMode", Int32),
    ],
};

static SECRET: Object = Object {
    name: "SecretVolumeSource",
    fields: &[
        used("secretName", Text),
        used("optional", Flag),
        quiet("items", List(&Any)),
        quiet("defaultMode", Int32),
    ],
};
