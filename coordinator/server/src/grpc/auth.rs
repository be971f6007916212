//! Who may ask: whoever holds the token of the data directory.
//!
//! The token lies in a file that only its owner can read. So on a machine with several users nobody can run
//! commands through another user's coordinator, although everybody can connect to the loopback address.

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

use super::status::with_code;
use crate::idle::Activity;

/// Checks the bearer token of every request.
#[derive(Debug, Clone)]
pub(crate) struct BearerAuth {
    expected: Vec<u8>,
    activity: Activity,
}

impl BearerAuth {
    /// Requires this token.
    pub(crate) fn new(token: &str, activity: Activity) -> Self {
        Self { expected: format!("Bearer {token}").into_bytes(), activity }
    }

    fn allows(&self, metadata: &MetadataMap) -> bool {
        let given = metadata.get("authorization").map(|value| value.as_bytes().to_vec());
        given.is_some_and(|given| equal_in_constant_time(&given, &self.expected))
    }
}

/// Compares without telling by its duration where the difference is.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (x, y)| different | (x ^ y)) == 0
}

impl Interceptor for BearerAuth {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.allows(request.metadata()) {
            self.activity.touch();
            return Ok(request);
        }
        Err(with_code(
            Code::Unauthenticated,
            "M1009",
            "the token is missing or wrong; it lies in the coordinator's data directory, in a \
             file that only its owner can read: pass it with --token-file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_token_is_let_in() {
        let mut auth = BearerAuth::new("secret", Activity::new());
        let mut with = |value: Option<&'static str>| {
            let mut request = Request::new(());
            if let Some(value) = value {
                request.metadata_mut().insert("authorization", MetadataValue::from_static(value));
            }
            auth.call(request).is_ok()
        };
        use tonic::metadata::MetadataValue;
        assert!(with(Some("Bearer secret")));
        for wrong in [
            None,
            Some("secret"),
            Some("Bearer secre"),
            Some("Bearer secret2"),
            Some("Bearer SECRET"),
        ] {
            assert!(!with(wrong), "{wrong:?}");
        }
    }
}
