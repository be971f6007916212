//! The HTTP door: liveness, readiness and metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use muster_service::Readiness;
use muster_trust::{Incoming, Visitor};

use crate::brain::Brain;
use crate::hub::Hub;
use crate::logs::LogRelay;
use crate::metrics::Metrics;
use crate::rest::{RestContext, serve};

/// What the door shows.
#[derive(Debug, Clone)]
pub(crate) struct HttpContext {
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) brain: Brain,
    pub(crate) hub: Arc<Hub>,
    pub(crate) logs: Arc<LogRelay>,
}

/// Connections for axum.
#[derive(Debug)]
pub(crate) struct HttpListener {
    pub(crate) incoming: Incoming,
    pub(crate) address: SocketAddr,
}

impl axum::serve::Listener for HttpListener {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        match self.incoming.next().await {
            Some(visitor) => {
                let from = visitor.peer().address;
                (visitor, from)
            }
            // The door is closed, and axum about to be.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The routes.
pub(crate) fn router(context: HttpContext, rest: RestContext) -> Router {
    let kubernetes = Router::new().fallback(serve).with_state(rest);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(context)
        .fallback_service(kubernetes)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(context): State<HttpContext>) -> impl IntoResponse {
    let role = context.brain.role();
    if !context.readiness.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    if role.leads || role.leader.is_some() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no leader\n")
    }
}

async fn metrics(State(context): State<HttpContext>) -> impl IntoResponse {
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    context.metrics.sessions.set(gauge(context.hub.session_count()));
    context.metrics.watchers.set(gauge(context.hub.watcher_count()));
    context.metrics.log_readers.set(gauge(context.logs.reader_count()));
    let kind =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match context.metrics.encode() {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, error.to_string()),
    }
}
