//! Probes, hooks and security contexts: known, checked, and not acted on.

use super::Type::{self, Any, Flag, Int32, Int64, IntOrText, List, Object as Obj, Text};
use super::{Object, used};

pub(super) static PROBE: Object = Object {
    name: "Probe",
    fields: &[
        used("exec", Obj(&EXEC)),
        used("grpc", Obj(&GRPC)),
        used("httpGet", Obj(&HTTP_GET)),
        used("tcpSocket", Obj(&TCP_SOCKET)),
        used("initialDelaySeconds", Int32),
        used("timeoutSeconds", Int32),
        used("periodSeconds", Int32),
        used("successThreshold", Int32),
        used("failureThreshold", Int32),
        used("terminationGracePeriodSeconds", Int64),
    ],
};

static EXEC: Object = Object { name: "ExecAction", fields: &[used("command", List(&Text))] };

static GRPC: Object =
    Object { name: "GRPCAction", fields: &[used("port", Int32), used("service", Text)] };

static HTTP_GET: Object = Object {
    name: "HTTPGetAction",
    fields: &[
        used("host", Text),
        used("httpHeaders", List(&Obj(&HEADER))),
        used("path", Text),
        used("port", IntOrText),
        used("scheme", Text),
    ],
};

static HEADER: Object =
    Object { name: "HTTPHeader", fields: &[used("name", Text), used("value", Text)] };

static TCP_SOCKET: Object =
    Object { name: "TCPSocketAction", fields: &[used("host", Text), used("port", IntOrText)] };

pub(super) static LIFECYCLE: Object = Object {
    name: "Lifecycle",
    fields: &[used("postStart", Obj(&HOOK)), used("preStop", Obj(&HOOK)), used("stopSignal", Text)],
};

static HOOK: Object = Object {
    name: "LifecycleHandler",
    fields: &[
        used("exec", Obj(&EXEC)),
        used("httpGet", Obj(&HTTP_GET)),
        used("sleep", Any),
        used("tcpSocket", Obj(&TCP_SOCKET)),
    ],
};

const OPTIONS: Type = Obj(&SELINUX);

static SELINUX: Object = Object {
    name: "SELinuxOptions",
    fields: &[used("level", Text), used("role", Text), used("type", Text), used("user", Text)],
};

static PROFILE: Object = Object {
    name: "SeccompProfile",
    fields: &[used("localhostProfile", Text), used("type", Text)],
};

static CAPABILITIES: Object =
    Object { name: "Capabilities", fields: &[used("add", List(&Text)), used("drop", List(&Text))] };

pub(super) static SECURITY: Object = Object {
    name: "SecurityContext",
    fields: &[
        used("allowPrivilegeEscalation", Flag),
        used("appArmorProfile", Obj(&PROFILE)),
        used("capabilities", Obj(&CAPABILITIES)),
        used("privileged", Flag),
        used("procMount", Text),
        used("readOnlyRootFilesystem", Flag),
        used("runAsGroup", Int64),
        used("runAsNonRoot", Flag),
        used("runAsUser", Int64),
        used("seLinuxOptions", OPTIONS),
        used("seccompProfile", Obj(&PROFILE)),
        used("windowsOptions", Any),
    ],
};

pub(super) static POD_SECURITY: Object = Object {
    name: "PodSecurityContext",
    fields: &[
        used("appArmorProfile", Obj(&PROFILE)),
        used("fsGroup", Int64),
        used("fsGroupChangePolicy", Text),
        used("runAsGroup", Int64),
        used("runAsNonRoot", Flag),
        used("runAsUser", Int64),
        used("seLinuxChangePolicy", Text),
        used("seLinuxOptions", OPTIONS),
        used("seccompProfile", Obj(&PROFILE)),
        used("supplementalGroups", List(&Int64)),
        used("supplementalGroupsPolicy", Text),
        used("sysctls", List(&Any)),
        used("windowsOptions", Any),
    ],
};
