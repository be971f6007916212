//! Why a container cannot be started from what its manifest says.

use thiserror::Error;

/// A mistake of the manifest that no second try mends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A `fieldRef` that this runtime cannot answer.
    #[error(
        "env {variable} of container {container} refers to the field {field:?}, which is not known; use one of \
         metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], metadata.annotations['KEY'], \
         spec.nodeName, spec.serviceAccountName, status.podIP, status.hostIP"
    )]
    UnknownField {
        /// The container.
        container: String,
        /// The variable.
        variable: String,
        /// The field path.
        field: String,
    },
    /// Neither `command` nor anything else says what to run.
    #[error(
        "container {container} has no command, and the process runtime does not know the entry point of the image \
         {image:?}: write the program into `command`"
    )]
    NoCommand {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// A job kind's variable needs a port that the opening of the generation did not name.
    #[error("the variable {variable} needs the {port}, but the generation was opened without one")]
    NoPort {
        /// The variable.
        variable: String,
        /// Which port.
        port: &'static str,
    },
    /// The name of a variable cannot stand in an environment.
    #[error(
        "container {container} sets a variable named {variable:?}; a name must not be empty or contain '=' or NUL"
    )]
    BadName {
        /// The container.
        container: String,
        /// The name.
        variable: String,
    },
    /// A value holds a NUL byte.
    #[error(
        "the value of {what} of container {container} contains a NUL byte, which no program can receive"
    )]
    Nul {
        /// The container.
        container: String,
        /// Which variable or argument.
        what: String,
    },
}
