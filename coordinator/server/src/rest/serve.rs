//! From a request to an answer.

use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::serve::IncomingStream;
use muster_apimachinery::{
    AGGREGATED, ApiStatus, OPENAPI_V2, Query, StatusReason, aggregated, api_versions, group,
    group_list, openapi_v2, openapi_v3, openapi_v3_root, resource_list,
};
use muster_service::Tasks;
use muster_trust::Peer;
use serde_json::json;

use super::access::{self, Wish, require};
use super::answer::{self, Answer};
use super::feed::Feed;
use super::registry::{Source, registry};
use super::route::{self, Target};
use super::{body, forward, jobs, log, nodes, read, review, stored, watch};
use crate::access::{Caller, Guard};
use crate::brain::Brain;
use crate::http::HttpListener;
use crate::hub::Hub;
use crate::logs::LogRelay;
use crate::peers::Dial;

/// What the API works with.
#[derive(Debug, Clone)]
pub(crate) struct RestContext {
    pub(crate) brain: Brain,
    pub(crate) feed: Arc<Feed>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) logs: Arc<LogRelay>,
    pub(crate) guard: Arc<Guard>,
    /// How other members are reached.
    pub(crate) dial: Dial,
    pub(crate) tasks: Tasks,
}

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone)]
pub(crate) struct PeerInfo(pub(crate) Peer);

impl Connected<IncomingStream<'_, HttpListener>> for PeerInfo {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        Self(stream.io().peer().clone())
    }
}

/// A request that has come in whole.
pub(super) struct Received {
    pub(super) caller: Caller,
    pub(super) method: Method,
    /// The path, with its query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    /// Whether another member sent it on, which is done once.
    pub(super) is_forwarded: bool,
}

/// A request that is about a resource.
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) target: Target,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

/// Answers everything that no route of its own answers.
pub(crate) async fn serve(
    State(context): State<RestContext>,
    ConnectInfo(PeerInfo(peer)): ConnectInfo<PeerInfo>,
    request: Request,
) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = match receive(&context, &peer, request).await {
        Ok(Some(received)) => respond(&context, received).await,
        Ok(None) => Ok(answer::json(200, &version())),
        Err(status) => Err(status),
    };
    answer.unwrap_or_else(|status| {
        tracing::debug!(%method, path, code = status.code(), message = %status.message, "refused");
        answer::refusal(&status)
    })
}

/// A request, and whose it is; `None` for one that needs nobody: the version.
async fn receive(
    context: &RestContext,
    peer: &Peer,
    request: Request,
) -> Result<Option<Received>, ApiStatus> {
    let path = request.uri().path().trim_end_matches('/');
    if path == "/version" && request.method() == Method::GET {
        return Ok(None);
    }
    let is_api = ["/api", "/apis", "/openapi"].iter().any(|root| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !is_api {
        return Err(ApiStatus::no_such_resource());
    }
    let caller = caller(context, peer, &request)?;
    let method = request.method().clone();
    let (parts, body) = request.into_parts();
    let bytes = match method {
        Method::GET => Vec::new(),
        _ => body::read(body).await?,
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let headers = parts.headers;
    Ok(Some(Received { caller, method, target, headers, bytes, is_forwarded: false }))
}

/// Answers a request, or lets the leader answer it.
pub(super) async fn respond(
    context: &RestContext,
    received: Received,
) -> Result<Answer, ApiStatus> {
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let path = path.trim_end_matches('/');
    let query = Query::parse(query).map_err(|error| ApiStatus::bad_request(error.to_string()))?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if received.method == Method::GET
        && let Some(answer) = described(&segments, &received.headers)
    {
        return answer;
    }
    let (version, rest) = match &segments[..] {
        ["api", version, rest @ ..] => (("", *version), rest),
        ["apis", group, version, rest @ ..] => ((*group, *version), rest),
        _ => return Err(ApiStatus::no_such_resource()),
    };
    let target = route::target(version, rest)?;
    let is_review = target.source() == Source::Review;
    if !is_review
        && !received.is_forwarded
        && let Some(leader) = forward::leader(context)
    {
        return forward::to_leader(context, &leader, received).await;
    }
    let Received { caller, method, headers, bytes, .. } = received;
    let asked = Asked { caller, target, query, headers, bytes };
    if method == Method::GET || is_review {
        return resource(context, &method, asked).await;
    }
    let (target, user) = (asked.target.clone(), access::user(&asked.caller));
    let is_dry = asked.query.get("dryRun").is_some();
    let answer = resource(context, &method, asked).await;
    let code = answer.as_ref().map_or_else(ApiStatus::code, |answer| answer.status().as_u16());
    // Who changed what, or tried to.
    tracing::info!(
        target: "audit",
        user,
        %method,
        resource = target.info().qualified(),
        namespace = target.namespace_text(),
        name = target.name,
        part = target.part,
        dry_run = is_dry,
        code,
    );
    answer
}

/// Whose a request is.
fn caller(context: &RestContext, peer: &Peer, request: &Request) -> Result<Caller, ApiStatus> {
    if !peer.is_tls {
        return Err(ApiStatus::new(
            StatusReason::Forbidden,
            "this door takes no credentials in the clear: use https://, as in the configuration that `muster kubeconfig` prints",
        ));
    }
    let bearer = request.headers().get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    context.guard.admit(Some(peer), bearer, "/kubernetes/api").map_err(|status| {
        let reason = match status.code() {
            tonic::Code::PermissionDenied => StatusReason::Forbidden,
            _ => StatusReason::Unauthorized,
        };
        ApiStatus::new(reason, status.message())
    })
}

/// Discovery and schemas.
fn described(segments: &[&str], headers: &HeaderMap) -> Option<Result<Answer, ApiStatus>> {
    let infos = &registry().infos[..];
    let wants_all = read::accepted(headers).any(|parameters| {
        parameters.contains(&"as=APIGroupDiscoveryList") && parameters.contains(&"v=v2")
    });
    let all = |core| answer::bytes(200, AGGREGATED, aggregated(infos, core).to_string().into());
    let found = |value: Option<serde_json::Value>| {
        value.map(|value| answer::json(200, &value)).ok_or_else(ApiStatus::no_such_resource)
    };
    Some(match segments {
        ["api"] if wants_all => Ok(all(true)),
        ["apis"] if wants_all => Ok(all(false)),
        ["api"] => Ok(answer::json(200, &api_versions())),
        ["apis"] => Ok(answer::json(200, &group_list(infos))),
        ["api", version] => found(resource_list(infos, ("", version))),
        ["apis", name] => found(group(infos, name)),
        ["apis", group, version] => found(resource_list(infos, (group, version))),
        ["openapi", "v2"] => Ok(answer::bytes(200, OPENAPI_V2, openapi_v2())),
        ["openapi", "v3"] => Ok(answer::json(200, &openapi_v3_root(infos))),
        ["openapi", "v3", "api", version] => found(openapi_v3(infos, ("", version))),
        ["openapi", "v3", "apis", group, version] => found(openapi_v3(infos, (group, version))),
        _ => return None,
    })
}

async fn resource(
    context: &RestContext,
    method: &Method,
    asked: Asked,
) -> Result<Answer, ApiStatus> {
    let (target, info) = (&asked.target, asked.target.info());
    let watches = asked.query.flag("watch") && target.is_collection();
    let verb = match (method, target.is_collection()) {
        (&Method::GET, true) if watches => "watch",
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, true) => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) => "delete",
        _ => return Err(not_allowed(method, target)),
    };
    if target.source() == Source::Review {
        return if verb == "create" {
            review::create(&asked)
        } else {
            Err(not_allowed(method, target))
        };
    }
    if target.namespace.is_none() && info.namespaced && verb == "create" {
        return Err(not_allowed(method, target));
    }
    // Who may look into a namespace may look at it.
    let own = muster_model::Namespace::new(target.name.as_str()).ok();
    let namespace = match target.source() {
        Source::Namespaces => own.as_ref(),
        _ => target.namespace.as_ref(),
    };
    require(&asked.caller, (info, &target.name), Wish { verb, namespace })?;
    match (verb, target.source(), &*target.part) {
        ("get", _, "log") => log::log(context, &asked).await,
        ("get", ..) => read::get(context, &asked).await,
        ("list", ..) => read::list(context, &asked).await,
        ("watch", ..) => watch::watch(context, asked).await,
        ("patch", Source::Nodes, "") => nodes::patch(context, &asked).await,
        ("create", Source::Stored, "") => stored::create(context, &asked).await,
        ("update" | "patch", Source::Stored, "") => stored::update(context, &asked, verb).await,
        ("delete", Source::Stored, "") => stored::delete(context, &asked).await,
        ("deletecollection", Source::Stored, "") => stored::delete_all(context, &asked).await,
        ("create", Source::Jobs(_) | Source::Pods, "") => jobs::create(context, &asked).await,
        ("update" | "patch", Source::Jobs(_) | Source::Pods, "") => {
            jobs::update(context, &asked, verb).await
        }
        ("delete", Source::Jobs(_) | Source::Pods, "") => jobs::delete(context, &asked).await,
        ("deletecollection", Source::Jobs(_) | Source::Pods, "") => {
            jobs::delete_all(context, &asked).await
        }
        _ => Err(not_allowed(method, target)),
    }
}

fn not_allowed(method: &Method, target: &Target) -> ApiStatus {
    let message = match (target.source(), &*target.part) {
        (Source::Namespaces, _) => {
            "a namespace is there as soon as something is in it; it is not made, changed or deleted by itself".into()
        }
        (_, "status") => "Muster alone writes the status of what it runs".into(),
        _ => format!("{method} is not allowed on {}", target.info().qualified()),
    };
    ApiStatus::new(StatusReason::MethodNotAllowed, message).about(target.info(), &target.name)
}

fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": concat!("v1.36.0+muster-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
