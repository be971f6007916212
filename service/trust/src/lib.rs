//! Who is who in a cluster, and how that is proved.
//!
//! - [`Authority`]: the cluster's own certificate authority; every member of the coordinator holds it.
//! - [`Subject`]: whom a certificate names, with the role: member, agent or user.
//! - [`Identity`]: a certificate with its key, which is replaced while connections go on.
//! - [`JoinToken`], [`UserToken`]: what a person hands over; both pin the authority.
//! - [`Door`]: accepts connections, TLS 1.3 or plain, and lets nobody hold up the others.
//! - [`Pass`]: what a caller shows.
//! - [`Dialler`]: makes connections, and checks who answers.
//!
//! One crypto provider: rustls with ring.

mod authority;
mod certificate;
mod dial;
mod door;
mod files;
mod identity;
mod pass;
mod subject;
mod tls;
mod token;
mod visitor;

pub use authority::{Authority, CA_FILE, Error as AuthorityError};
pub use certificate::{CaCertificate, Error as CertificateError, Fingerprint};
pub use dial::{AGENT_NAME, AddressError, Dialler, SERVER_NAME, is_distrust, is_refused};
pub use door::{Counts, Door, DoorLimits, Incoming};
pub use files::{Error as FileError, exists, read_private, write_private};
pub use identity::{CsrError, Identity, IdentityError, KeyAndRequest, key_and_certificates};
pub use pass::Pass;
pub use subject::{Error as SubjectError, Subject};
pub use token::{Error as TokenError, JoinToken, Secret, TokenHash, UserToken};
pub use visitor::{Peer, Visitor};
