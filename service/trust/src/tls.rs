//! TLS 1.3, and nothing else, with ring.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::{CaCertificate, Fingerprint};
use crate::identity::Identity;

/// HTTP/2, for gRPC.
pub(crate) const H2: &[u8] = b"h2";
/// HTTP/1.1.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

const SAFE: &str = "ring speaks TLS 1.3";
const CA: &str = "the authority's certificate was checked when it was read";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For whoever is called. A caller may show a certificate of the same authority; one of another ends the connection.
pub(crate) fn server(identity: &Identity, speaks: &[u8]) -> Arc<ServerConfig> {
    let roots = Arc::new(identity.ca().roots().expect(CA));
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .expect("there is an authority");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect(SAFE)
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![speaks.to_vec()];
    // A ticket would prove somebody whose certificate has ended or was taken back since.
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Whom a caller believes.
#[derive(Debug, Clone)]
pub(crate) enum Trusts {
    /// Certificates of this authority.
    Ca(CaCertificate),
    /// A server that shows the authority with this fingerprint.
    Pinned(Fingerprint),
}

/// For whoever calls.
pub(crate) fn client(trusts: Trusts, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let verifier: Arc<dyn ServerCertVerifier> = match trusts {
        Trusts::Ca(ca) => verifier(&ca),
        Trusts::Pinned(fingerprint) => Arc::new(Pinned { fingerprint, provider: provider() }),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect(SAFE)
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity.clone())),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn verifier(ca: &CaCertificate) -> Arc<WebPkiServerVerifier> {
    let roots = Arc::new(ca.roots().expect(CA));
    WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .expect("there is an authority")
}

/// Believes the authority whose fingerprint is known, if the server shows it beside its own certificate, and then checks
/// as always.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|one| Fingerprint::of(one) == self.fingerprint);
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let Some(pinned) = pinned else { return Err(unknown) };
        let ca = CaCertificate::from_der(pinned.clone().into_owned()).map_err(|_| unknown)?;
        verifier(&ca).verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
