//! The certificate of an authority, and its fingerprint.

use std::fmt;
use std::path::Path;

use ring::digest;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` shows it, in lower case without colons.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why an authority's certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// No certificate.
    #[error("this holds no certificate in PEM")]
    Pem,
    /// Not one that others can be checked with.
    #[error("this is no certificate of an authority")]
    Authority,
}

/// The certificate of a cluster's authority.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
}

impl Fingerprint {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, der);
        Self(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            // `from_str_radix` also takes a sign.
            if !pair.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return None;
            }
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl CaCertificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// When there is none, or none of an authority.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| Error::Pem)?;
        Self::from_der(der)
    }

    /// Reads a file with a certificate in PEM. It is no secret.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(path: &Path) -> Result<Self, crate::FileError> {
        let wrong = |source| crate::FileError::Io { path: path.display().to_string(), source };
        let text = std::fs::read_to_string(path).map_err(wrong)?;
        Self::from_pem(&text).map_err(|error| wrong(std::io::Error::other(error)))
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, Error> {
        let certificate = Self { der };
        certificate.roots().map(|_| certificate)
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// As PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        crate::identity::pem("CERTIFICATE", &self.der)
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(|_| Error::Authority)?;
        Ok(roots)
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaCertificate({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_one_text() {
        let print = Fingerprint::of(b"x");
        assert_eq!(Fingerprint::parse(&print.to_string()), Some(print));
        assert_eq!(Fingerprint::parse(&print.to_string().to_uppercase()), None);
        assert_eq!(Fingerprint::parse(&print.to_string()[1..]), None);
        assert_eq!(Fingerprint::parse(&format!("+{}", &print.to_string()[1..])), None);
    }
}
