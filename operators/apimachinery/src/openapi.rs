//! OpenAPI documents, as far as clients need them: `kubectl` refuses to create anything from a file when it gets none.
//!
//! Version 3 says of each kind that its PATCH knows `fieldValidation`, so that clients leave validation to the server.
//! Version 2 is a document without definitions, which they accept for everything that they do not find in version 3.

use serde_json::{Map, Value, json};

use crate::resource::{ResourceInfo, Verb};

/// The content type of the document of version 2. Clients ask for it with an `@` where this has a dot.
pub const OPENAPI_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document of version 2 in protobuf: `swagger: "2.0"`, `info: {title: "muster", version: "v1"}`
/// (`github.com/google/gnostic-models/openapiv2`: fields 1 and 2 of Document, 1 and 2 of Info).
#[must_use]
pub fn openapi_v2() -> Vec<u8> {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("the texts below are short");
        [&[number << 3 | 2, length][..], content].concat()
    }
    let info = [field(1, b"muster"), field(2, b"v1")].concat();
    [field(1, b"2.0"), field(2, &info)].concat()
}

/// Where the document of a group and version is.
fn path_of(resource: &ResourceInfo) -> String {
    if resource.group.is_empty() {
        format!("api/{}", resource.version)
    } else {
        format!("apis/{}/{}", resource.group, resource.version)
    }
}

/// The answer to `GET /openapi/v3`.
#[must_use]
pub fn openapi_v3_root(resources: &[ResourceInfo]) -> Value {
    let mut paths = Map::new();
    for resource in resources {
        let path = path_of(resource);
        let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
        paths.entry(path).or_insert(url);
    }
    json!({"paths": paths})
}

/// The document of a group and version; `None` when there is none.
#[must_use]
pub fn openapi_v3(resources: &[ResourceInfo], (group, version): (&str, &str)) -> Option<Value> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let found = resources.iter().filter(|one| one.group == group && one.version == version);
    for resource in found {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("/{}{scope}/{}/{{name}}", path_of(resource), resource.plural);
        let ok = json!({"200": {"description": "OK"}});
        let mut operations = Map::new();
        operations.insert("get".into(), json!({
            "responses": ok, "x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kind,
        }));
        let is_written =
            resource.verbs.contains(&Verb::Create) || resource.verbs.contains(&Verb::Patch);
        if is_written {
            let text = json!({"type": "string", "uniqueItems": true});
            let parameter = |name: &str| json!({"name": name, "in": "query", "schema": text});
            let body = json!({"schema": {"type": "object"}});
            operations.insert(
                "patch".into(),
                json!({
                    "parameters": [parameter("fieldValidation"), parameter("dryRun")],
                    "requestBody": {"content": {
                        "application/json-patch+json": body,
                        "application/merge-patch+json": body,
                    }},
                    "responses": ok,
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": kind,
                }),
            );
        }
        paths.insert(path, operations.into());
        let name = format!("dev.muster.{}.{version}.{}", group.replace('.', "_"), resource.kind);
        schemas.insert(
            name.replace("..", "."),
            json!({
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-group-version-kind": [kind],
            }),
        );
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Muster", "version": version},
            "paths": paths,
            "components": {"schemas": schemas},
        })
    })
}
