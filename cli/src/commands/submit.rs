//! Sending manifests.

use muster_client::{Client, api};

use crate::exit::Failure;
use crate::files::Manifest;
use crate::output::say;

/// How manifests are sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) create_only: bool,
    pub(crate) update_only: bool,
    pub(crate) dry_run: bool,
}

/// Sends a manifest.
pub(crate) async fn submit(
    client: &Client,
    (manifest, namespace): (&Manifest, &str),
    how: How,
) -> Result<api::ApplyReply, Failure> {
    let request = api::ApplyRequest {
        manifest: manifest.bytes.clone(),
        namespace: namespace.to_owned(),
        create_only: how.create_only,
        update_only: how.update_only,
        dry_run: how.dry_run,
        submit_dir: manifest.directory.to_string_lossy().into_owned(),
        ..api::ApplyRequest::default()
    };
    Ok(client.apply(request).await?)
}

/// What is wrong with a manifest itself, whatever else there is in the cluster.
const BAD_MANIFEST: [&str; 3] = ["M1001", "M1002", "M1003"];

/// Has several manifests checked before the first of them is applied, so that a bad one holds back all.
pub(crate) async fn check_all(
    client: &Client,
    namespace: &str,
    manifests: &[Manifest],
) -> Result<(), Failure> {
    if manifests.len() < 2 {
        return Ok(());
    }
    let mut bad = Vec::new();
    for manifest in manifests {
        let how = How { dry_run: true, ..How::default() };
        let mut refused = submit(client, (manifest, namespace), how).await?.refused;
        refused.retain(|refusal| BAD_MANIFEST.contains(&&*refusal.code));
        if !refused.is_empty() {
            bad.push((manifest, refused));
        }
    }
    let Some((_, first)) = bad.first() else { return Ok(()) };
    let code = first.first().map_or("M1001", |first| &*first.code).to_owned();
    let texts: Vec<String> = bad.iter().map(|(manifest, all)| sentences(manifest, all)).collect();
    Err(Failure::refused(&code, format!("{}\nnothing was applied", texts.join("\n"))))
}

/// Shows warnings.
pub(crate) fn show_warnings(applied: &api::Applied) {
    let name = applied.r#ref.as_ref().map_or("", |r| &*r.name);
    for warning in &applied.warnings {
        say(format!("warning: {name}: {warning}"));
    }
}

/// A failure that tells all refusals at once.
pub(crate) fn refused(manifest: &Manifest, refused: &[api::Refused]) -> Failure {
    let code = refused.first().map_or("M1001", |first| &*first.code);
    Failure::refused(code, format!("{}\nnothing was applied", sentences(manifest, refused)))
}

fn sentences(manifest: &Manifest, refused: &[api::Refused]) -> String {
    let one = refused.len() == 1;
    let mut text = String::new();
    for refusal in refused {
        if !text.is_empty() {
            text.push('\n');
        }
        let code = if one { String::new() } else { format!("[{}] ", refusal.code) };
        text.push_str(&format!(
            "{code}{}, {}: {}",
            manifest.name, refusal.document, refusal.message
        ));
    }
    text
}
