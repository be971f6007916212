//! A certificate with its key, which is replaced while connections go on.
//!
//! Key, certificate and authority lie in one file, so that they change together. The key is made where it is used and
//! never travels; for each renewal there is a new one.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{CaCertificate, Error as CertificateError};
use crate::files::{self, Error as FileError};
use crate::subject::{Error as SubjectError, Subject};

/// Why an identity cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its certificate names nobody.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The authority in it.
    #[error("the authority's certificate: {0}")]
    Authority(#[from] CertificateError),
    /// Certificate or key.
    #[error("the {0} cannot be used")]
    Part(&'static str),
}

/// A certificate request cannot be made.
#[derive(Debug, Error)]
#[error("a certificate request cannot be made: {0}")]
pub struct CsrError(#[from] rcgen::Error);

/// A new key, and the request for a certificate that goes with it.
pub struct KeyAndRequest {
    key_pem: String,
    request: Vec<u8>,
}

impl KeyAndRequest {
    /// Makes a key.
    ///
    /// # Errors
    /// When the machine yields no randomness.
    pub fn new() -> Result<Self, CsrError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Who it is for is not for the request to say.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key_pem: key.serialize_pem(), request })
    }

    /// The request (PKCS #10, RFC 2986) in DER.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The identity, once there is a certificate for the request.
    ///
    /// # Errors
    /// When certificate, key and authority do not go together.
    pub fn certified(
        &self,
        certificate: &[u8],
        ca: &CaCertificate,
        cluster: &str,
    ) -> Result<Identity, IdentityError> {
        let own = pem("CERTIFICATE", certificate);
        let identity = Identity::from_pem(&format!("{}{own}{}", self.key_pem, ca.pem()))?;
        if identity.cluster() != cluster {
            return Err(IdentityError::Part("certificate, which is of another cluster,"));
        }
        Ok(identity)
    }
}

impl std::fmt::Debug for KeyAndRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyAndRequest")
    }
}

pub(crate) fn pem(tag: &str, der: &[u8]) -> String {
    encoded(&::pem::Pem::new(tag, der))
}

fn encoded(block: &::pem::Pem) -> String {
    let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
    ::pem::encode_config(block, config)
}

/// The key of an identity's file, and its certificates, each as PEM of its own.
///
/// # Errors
/// When the file is no PEM.
pub fn key_and_certificates(text: &str) -> Result<(String, String), IdentityError> {
    let blocks = ::pem::parse_many(text).map_err(|_| IdentityError::Part("PEM"))?;
    let of = |is_certificate: bool| {
        let blocks = blocks.iter().filter(|block| (block.tag() == "CERTIFICATE") == is_certificate);
        blocks.map(encoded).collect::<String>()
    };
    Ok((of(false), of(true)))
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    text: zeroize::Zeroizing<String>,
    lives: (SystemTime, SystemTime),
}

#[derive(Debug)]
struct Shared {
    current: RwLock<Current>,
    subject: Subject,
    ca: CaCertificate,
    cluster: String,
}

/// A certificate with its key. Clones share it: whoever holds one sees the renewed certificate.
#[derive(Clone)]
pub struct Identity(Arc<Shared>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.subject)
    }
}

impl Identity {
    /// Reads key, certificate and authority, in this order.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| IdentityError::Part("key"))?;
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(text.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| IdentityError::Part("certificate"))?;
        let [own, authority] = <[_; 2]>::try_from(certificates)
            .map_err(|_| IdentityError::Part("chain of certificates"))?;
        let ca = CaCertificate::from_der(authority)?;
        let cluster = Subject::cluster_of(&own)?;
        let subject = Subject::of_certificate(&own, &cluster)?;
        let (_, read) =
            X509Certificate::from_der(&own).map_err(|_| IdentityError::Part("certificate"))?;
        let at = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let validity = read.validity();
        let lives = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        let key = any_supported_type(&key).map_err(|_| IdentityError::Part("key"))?;
        let certified = CertifiedKey::new(vec![own.clone(), ca.der().clone()], key);
        certified
            .keys_match()
            .map_err(|_| IdentityError::Part("key, which is not that of the certificate,"))?;
        let text = zeroize::Zeroizing::new(text.to_owned());
        let current = Current { key: Arc::new(certified), text, lives };
        Ok(Self(Arc::new(Shared { current: RwLock::new(current), subject, ca, cluster })))
    }

    /// Reads an identity's file; `None` where there is none.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        if !files::exists(path) {
            return Ok(None);
        }
        Self::from_pem(&files::read_private(path)?).map(Some)
    }

    /// Writes its file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn store(&self, path: &Path) -> Result<(), FileError> {
        files::write_private(path, &self.read().text)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who this is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// In which cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.0.cluster
    }

    /// The authority that others of the cluster are checked with.
    #[must_use]
    pub fn ca(&self) -> &CaCertificate {
        &self.0.ca
    }

    /// When the certificate ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.read().lives.1
    }

    /// How long from `now` until it is to be renewed: after two thirds of its life, as kubelets do it.
    #[must_use]
    pub fn renews_in(&self, now: SystemTime) -> Duration {
        let (from, until) = self.read().lives;
        let life = until.duration_since(from).unwrap_or_default();
        (from + life * 2 / 3).duration_since(now).unwrap_or_default()
    }

    /// Takes the place of what is held so far, for all clones. Connections that are open go on.
    ///
    /// # Errors
    /// When `renewed` is somebody else.
    pub fn replace(&self, renewed: &Self) -> Result<(), IdentityError> {
        if renewed.0.subject != self.0.subject || renewed.0.ca != self.0.ca {
            return Err(IdentityError::Part("certificate, which is for somebody else,"));
        }
        let new = renewed.read();
        let new = Current { key: Arc::clone(&new.key), text: new.text.clone(), lives: new.lives };
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.read().key)
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
