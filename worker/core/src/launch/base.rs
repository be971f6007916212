//! Which variables of the agent's own environment a replica may see.
//!
//! Nothing passes that is not listed: an agent's environment can hold credentials. The lists:
//!
//! * **portable**, passed to every container: who and where (`HOME USER LOGNAME SHELL LANG LANGUAGE
//!   LC_* TZ TMPDIR TERM`), how to reach the network (`*_PROXY` in both cases, `SSL_CERT_FILE
//!   SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO`), by which interface
//!   ranks reach each other (`NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME TP_SOCKET_IFNAME`: all run in the machine's own
//!   network), and where programs keep their files (`XDG_*`);
//! * **host**, passed only to a container whose image is mapped to no environment and which therefore
//!   runs in that of the machine: search paths (`LD_LIBRARY_PATH LIBRARY_PATH CPATH PYTHONPATH
//!   PYTHONHOME VIRTUAL_ENV CONDA_* PYENV_* MODULE*`), accelerator and collective libraries
//!   (`CUDA_HOME CUDA_PATH ROCM_* NCCL_* UCX_* FI_* GLOO_*`), thread counts (`OMP_* MKL_* KMP_*`) and
//!   model caches (`TORCH_HOME HF_HOME HF_HUB_* TRANSFORMERS_CACHE`).
//!
//! `PATH` is treated by [`path_of`].

const PORTABLE: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TERM",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "XDG_*",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
    "TP_SOCKET_IFNAME",
];

const HOST: &[&str] = &[
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "CONDA_*",
    "PYENV_*",
    "MODULE*",
    "CUDA_HOME",
    "CUDA_PATH",
    "ROCM_*",
    "NCCL_*",
    "UCX_*",
    "FI_*",
    "GLOO_*",
    "OMP_*",
    "MKL_*",
    "KMP_*",
    "TORCH_HOME",
    "HF_HOME",
    "HF_HUB_*",
    "TRANSFORMERS_CACHE",
];

/// Where programs are looked for on a machine whose agent has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables that every container may see, out of the agent's.
#[must_use]
pub fn portable_variables(agent: &[(String, String)]) -> Vec<(String, String)> {
    pick(agent, PORTABLE)
}

/// The variables that only a container in the machine's own environment may see.
#[must_use]
pub fn host_variables(agent: &[(String, String)]) -> Vec<(String, String)> {
    pick(agent, HOST)
}

fn pick(agent: &[(String, String)], allowed: &[&str]) -> Vec<(String, String)> {
    let matches = |name: &str| {
        allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        })
    };
    let mut picked: Vec<_> = agent.iter().filter(|(name, _)| matches(name)).cloned().collect();
    picked.sort();
    picked
}

/// The search path of a container: the environment's folders before the agent's.
#[must_use]
pub fn path_of(prefix: &[String], agent_path: Option<&str>) -> String {
    let rest = agent_path.filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    let mut parts: Vec<&str> = prefix.iter().map(String::as_str).collect();
    parts.push(rest);
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_pass() {
        let agent: Vec<(String, String)> = [
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("HF_TOKEN", "s"),
            ("HOME", "/root"),
            ("LC_ALL", "C"),
            ("LC", "no"),
            ("LD_LIBRARY_PATH", "/opt/lib"),
            ("MUSTER_TOKEN", "s"),
            ("NCCL_DEBUG", "INFO"),
            ("PATH", "/bin"),
            ("https_proxy", "http://p:1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let names = |variables: Vec<(String, String)>| {
            variables.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(portable_variables(&agent)), ["HOME", "LC_ALL", "https_proxy"]);
        assert_eq!(names(host_variables(&agent)), ["LD_LIBRARY_PATH", "NCCL_DEBUG"]);
    }

    #[test]
    fn the_environment_comes_first_in_the_path() {
        assert_eq!(path_of(&["/v/bin".into()], Some("/usr/bin")), "/v/bin:/usr/bin");
        assert_eq!(path_of(&[], Some("")), DEFAULT_PATH);
        assert_eq!(path_of(&[], None), DEFAULT_PATH);
    }
}
