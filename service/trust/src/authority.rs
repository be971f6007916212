//! The cluster's certificate authority.
//!
//! The first member makes it; members that join get it, over TLS, for a join token of their role. Whoever holds its
//! key can name himself anything: it lies in the members' data directories, for their user only.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateSigningRequestDer;
use thiserror::Error;

use crate::certificate::{CaCertificate, Error as CertificateError};
use crate::dial::{AGENT_NAME, SERVER_NAME};
use crate::files::{self, Error as FileError};
use crate::subject::Subject;

/// How long the authority lives.
const YEARS: u64 = 10;
/// Certificates count from a little before now: clocks differ.
pub(crate) const BEFORE: Duration = Duration::from_secs(300);

/// The authority's certificate, in its directory.
pub const CA_FILE: &str = "ca.crt";

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum Error {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate of the authority.
    #[error("the authority's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The key, or what was asked to be signed.
    #[error("{what}: {why}")]
    Crypto {
        /// Of what.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A name that cannot stand in a certificate.
    #[error("{0} has characters that cannot stand in a certificate")]
    Name(String),
}

fn crypto<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |why| Error::Crypto { what, why: why.to_string() }
}

/// The authority of a cluster, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CaCertificate,
    cluster: String,
    key_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({}, {:?})", self.cluster, self.certificate)
    }
}

impl Authority {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// When the machine yields no randomness.
    pub fn create(cluster: &str, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(crypto("a key cannot be made"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Muster cluster {cluster}"));
        // Below it there are only leaves.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - BEFORE).into();
        params.not_after = (now + Duration::from_secs(YEARS * 365 * 86_400)).into();
        params.serial_number = Some(serial()?);
        let signed = params.self_signed(&key).map_err(crypto("the authority cannot be made"))?;
        Self::from_pem(cluster, &signed.pem(), &key.serialize_pem())
    }

    /// From certificate and key.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn from_pem(cluster: &str, certificate: &str, key_pem: &str) -> Result<Self, Error> {
        let certificate = CaCertificate::from_pem(certificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(crypto("the authority's key"))?;
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key)
            .map_err(crypto("the authority's certificate"))?;
        Ok(Self { issuer, certificate, cluster: cluster.into(), key_pem: key_pem.into() })
    }

    /// Reads `ca.crt` and `ca.key`; `None` where there is no authority.
    ///
    /// # Errors
    /// When they cannot be read, or others could read the key.
    pub fn load(directory: &Path, cluster: &str) -> Result<Option<Self>, Error> {
        let (certificate, key) = (directory.join(CA_FILE), directory.join("ca.key"));
        if !files::exists(&key) {
            return Ok(None);
        }
        let certificate = CaCertificate::read(&certificate)?;
        Self::from_pem(cluster, &certificate.pem(), &files::read_private(&key)?).map(Some)
    }

    /// Writes `ca.crt` and `ca.key`. The key last: without it there is no authority.
    ///
    /// # Errors
    /// What the file system says.
    pub fn store(&self, directory: &Path) -> Result<(), Error> {
        files::write_private(&directory.join(CA_FILE), &self.certificate.pem())?;
        files::write_private(&directory.join("ca.key"), &self.key_pem)?;
        Ok(())
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// The cluster's uid.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Its key, for a member that joins. Show it to nobody else.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A certificate for the key that signed `request` (DER). Of the request nothing else counts: who it is for is
    /// `subject`. It lives `life` from now.
    ///
    /// # Errors
    /// When the request is none, or not signed by its own key.
    pub fn issue(
        &self,
        request: &[u8],
        subject: &Subject,
        (now, life): (SystemTime, Duration),
    ) -> Result<Vec<u8>, Error> {
        if !subject.is_sound() {
            return Err(Error::Name(subject.to_string()));
        }
        let request = CertificateSigningRequestDer::from(request);
        let mut asked = CertificateSigningRequestParams::from_der(&request)
            .map_err(crypto("the certificate request cannot be read"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.to_string());
        let uri = subject.uri(&self.cluster);
        let text = |text: String| text.try_into().map_err(crypto("the name"));
        params.subject_alt_names = vec![SanType::URI(text(uri)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Only members answer as the coordinator.
        let answers_as = match subject {
            Subject::Member { .. } => Some(SERVER_NAME),
            Subject::Agent { .. } => Some(AGENT_NAME),
            Subject::User { .. } => None,
        };
        if let Some(name) = answers_as {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            params.subject_alt_names.push(SanType::DnsName(text(name.into())?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.not_before = (now - BEFORE).into();
        params.not_after = (now + life).into();
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        asked.params = params;
        let signed = asked.signed_by(&self.issuer).map_err(crypto("signing"))?;
        Ok(signed.der().to_vec())
    }
}

/// 16 random bytes; RFC 5280 wants a positive number of at most 20.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(crypto("randomness"))?;
    bytes[0] &= 0x7f;
    bytes[0] |= 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_its_files_and_nobody_elses_eyes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(Authority::load(folder.path(), "c").unwrap().is_none());
        let authority = Authority::create("c", SystemTime::now()).unwrap();
        authority.store(folder.path()).unwrap();
        let again = Authority::load(folder.path(), "c").unwrap().unwrap();
        assert_eq!(again.certificate(), authority.certificate());
        assert!(!format!("{again:?}").contains("PRIVATE"));
        let key = folder.path().join("ca.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Authority::load(folder.path(), "c").unwrap_err();
        assert!(matches!(error, Error::File(FileError::Open { .. })), "{error}");
    }

    #[test]
    fn only_a_request_signed_by_its_own_key_is_answered() {
        let authority = Authority::create("c", SystemTime::now()).unwrap();
        let mut request = crate::KeyAndRequest::new().unwrap().request().to_vec();
        let subject = Subject::Member { id: 1 };
        let when = (SystemTime::now(), Duration::from_secs(60));
        assert!(authority.issue(&request, &subject, when).is_ok());
        let last = request.len() - 1;
        request[last] ^= 1;
        assert!(authority.issue(&request, &subject, when).is_err());
        assert!(authority.issue(b"noise", &subject, when).is_err());
        let odd = Subject::User { name: "a/../b".into() };
        assert!(matches!(authority.issue(&request, &odd, when), Err(Error::Name(_))));
    }
}
