//! `muster kubeconfig`: what kubectl and the clients of Kubernetes need to work against a coordinator.

use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_trust::{
    CaCertificate, SERVER_NAME, UserToken, exists, key_and_certificates, read_private,
};
use serde_json::{Value, json};

use crate::args::{Format, Global, Kubeconfig};
use crate::connect::{data_dir, read_token};
use crate::daemon::Endpoint;
use crate::exit::Failure;
use crate::output::print_value;

pub(super) fn run(global: &Global, args: &Kubeconfig) -> Result<ExitCode, Failure> {
    let data = data_dir(global)?;
    if args.credential {
        print_value(&credential(&data)?, Format::Json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(endpoint) = Endpoint::of_running(&data) else {
        return Err(Failure::unreachable(
            "M5001",
            format!(
                "no coordinator runs on {}, and its authority lies there: start it with `muster up`, or, on the machine of a \
                 member, name its data directory with --data-dir",
                data.display()
            ),
        ));
    };
    let is_tls = endpoint.grpc.starts_with("https://");
    let server = match &args.server_address {
        Some(address) => address.clone(),
        None => endpoint.http.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let ca = CaCertificate::read(&muster_coordinator::https_authority_path(&data, is_tls))
        .map_err(|error| Failure::unreachable("M1009", error.to_string()))?;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "muster", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority-data": STANDARD.encode(ca.pem()),
            // All members answer by this name, wherever they are.
            "tls-server-name": SERVER_NAME,
        }}],
        "users": [{"name": "muster", "user": user(global, (&data, is_tls))?}],
        "contexts": [{"name": "muster", "context": {
            "cluster": "muster", "user": "muster", "namespace": args.namespace,
        }}],
        "current-context": "muster",
    });
    let format = if args.json { Format::Json } else { Format::Yaml };
    print_value(&config, format)?;
    Ok(ExitCode::SUCCESS)
}

/// What shows who somebody is.
fn user(global: &Global, (data, is_tls): (&Path, bool)) -> Result<Value, Failure> {
    let file = match (&global.token_file, is_tls) {
        (Some(file), _) => file.clone(),
        (None, false) => muster_coordinator::token_path(data),
        // The operator's certificate lives for a day and is renewed in its file: it is read whenever it is needed.
        (None, true) => {
            let program = std::env::current_exe()?;
            return Ok(json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": program,
                "args": ["--data-dir", data, "kubeconfig", "--credential"],
                "interactiveMode": "Never",
            }}));
        }
    };
    let token = read_token(&file)?;
    let token = if UserToken::is_one(&token) {
        let token = UserToken::parse(&token)
            .map_err(|error| Failure::unreachable("M1009", error.to_string()))?;
        token.shown()
    } else if is_tls {
        return Err(Failure::usage(format!(
            "{} holds no user token; `muster token create --user` makes one",
            file.display()
        )));
    } else {
        token
    };
    Ok(json!({"token": token}))
}

/// The operator's certificate, as clients of Kubernetes ask a program for it
/// (`k8s.io/client-go/pkg/apis/clientauthentication/v1`).
fn credential(data: &Path) -> Result<Value, Failure> {
    let path = muster_coordinator::operator_path(data);
    if !exists(&path) {
        return Err(Failure::usage(format!(
            "there is no operator's certificate in {}; only a member with TLS has one",
            data.display()
        )));
    }
    let text =
        read_private(&path).map_err(|error| Failure::unreachable("M1009", error.to_string()))?;
    let (key, certificates) = key_and_certificates(&text)
        .map_err(|error| Failure::unreachable("M1009", error.to_string()))?;
    Ok(json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"clientCertificateData": certificates, "clientKeyData": key},
    }))
}
