//! NVIDIA GPUs, through a management library that is looked for at run time: a machine without the
//! driver has no GPUs, and nothing of CUDA is needed to build or to start.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use tracing::{debug, warn};

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its index, in the order of bus ids.
    pub index: u32,
    /// Its model, such as `NVIDIA H200`.
    pub model: String,
    /// Its uuid.
    pub uuid: String,
    /// Its memory in bytes.
    pub memory: u64,
}

/// The library that a driver package installs; the bare name without a version is only there with
/// developer packages, so it comes second.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

/// What the NVIDIA driver says.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All GPUs, in the order of their indices.
    pub(super) gpus: Vec<Gpu>,
    /// The driver's version, such as `550.54.15`.
    pub(super) driver: Option<String>,
}

/// Asks the driver, if there is one.
pub(super) fn find() -> Found {
    let Some(library) = open() else {
        return Found::default();
    };
    let driver = library.sys_driver_version();
    if let Err(error) = &driver {
        warn!(%error, "the NVIDIA driver does not say its version");
    }
    Found { gpus: all(&library), driver: driver.ok() }
}

fn all(library: &Nvml) -> Vec<Gpu> {
    let count = match library.device_count() {
        Ok(count) => count,
        Err(error) => {
            warn!(%error, "the NVIDIA driver does not say how many GPUs there are; none is offered");
            return Vec::new();
        }
    };
    let mut gpus = Vec::new();
    for index in 0..count {
        match read(library, index) {
            Ok(gpu) => gpus.push(gpu),
            // Such as one that has fallen off its bus: the others can still be used.
            Err(error) => warn!(index, %error, "a GPU cannot be read and is not offered"),
        }
    }
    gpus
}

fn open() -> Option<Nvml> {
    for library in LIBRARIES {
        match Nvml::builder().lib_path(library.as_ref()).init() {
            Ok(nvml) => return Some(nvml),
            Err(NvmlError::LibloadingError(error)) => {
                debug!(library, %error, "no NVIDIA management library");
            }
            Err(error) => {
                warn!(%error, "the NVIDIA driver is installed but does not work; no GPU is offered");
                return None;
            }
        }
    }
    None
}

fn read(library: &Nvml, index: u32) -> Result<Gpu, NvmlError> {
    let device = library.device_by_index(index)?;
    Ok(Gpu {
        index,
        model: device.name()?,
        uuid: device.uuid()?,
        memory: device.memory_info()?.total,
    })
}
