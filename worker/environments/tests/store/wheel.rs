//! A tiny package that pip can install without an index.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A package of one module and one command, as a wheel.
pub(crate) fn write(folder: &Path) -> PathBuf {
    let path = folder.join("tinypkg-1.0-py3-none-any.whl");
    let script = r#"
import sys, zipfile
info = "tinypkg-1.0.dist-info/"
files = {
    "tinypkg.py": "import sys\ndef main(): print(sys.prefix)\n",
    info + "METADATA": "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    info + "entry_points.txt": "[console_scripts]\ntiny = tinypkg:main\n",
}
files[info + "RECORD"] = "".join(name + ",,\n" for name in [*files, info + "RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
"#;
    let written = Command::new("python3").args(["-c", script]).arg(&path).status();
    assert!(written.is_ok_and(|status| status.success()), "python3 writes a zip file");
    path
}
