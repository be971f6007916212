//! As much of etcd's gRPC API as a put needs (`etcdserverpb.KV/Put` of etcd's `rpc.proto`).

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// What it answers is not looked into.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// A client of etcd.
#[derive(Debug, Clone)]
pub(super) struct Client(Channel);

impl Client {
    /// Of the member at HOST:PORT.
    pub(super) fn new(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self(endpoint.tcp_nodelay(true).connect_lazy())
    }

    /// Puts a value, and waits until it is committed.
    pub(super) async fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.expect("etcd answers");
        let codec = tonic_prost::ProstCodec::<PutRequest, PutResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let request = tonic::Request::new(PutRequest { key, value });
        grpc.unary(request, path, codec).await.expect("it is accepted");
    }
}
