//! Does a container's command start a launcher, that is a program that starts the ranks itself and
//! hosts their rendezvous on `MASTER_PORT`?
//!
//! The answer decides which port the gang is given: a launcher needs one that is free, everything else
//! finds the gang's own store there. Commands are looked through as far as that is possible
//! without running them: wrappers such as `env` and `numactl`, `python -m`, and the text behind `sh
//! -c`. What a script file does stays unknown, and counts as no launcher.

mod shell;
#[cfg(test)]
mod tests;

/// A program that starts ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Launcher {
    /// `torchrun`, `python -m torch.distributed.run` or `.launch`.
    Torchrun,
    /// `accelerate launch`.
    Accelerate,
    /// `deepspeed`.
    DeepSpeed,
}

impl Launcher {
    /// The name that users know.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Torchrun => "torchrun",
            Self::Accelerate => "accelerate",
            Self::DeepSpeed => "deepspeed",
        }
    }
}

/// What a command tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Inspection {
    /// The first launcher that it starts.
    pub(crate) launcher: Option<Launcher>,
    /// Whether it tells torchrun where or how to rendezvous. `--rdzv-backend=c10d` and a rendezvous
    /// id alone do not: they go together with any c10d store.
    pub(crate) own_rendezvous: bool,
}

/// Wrappers and shells in each other are followed so many levels deep.
const LEVELS: usize = 16;

/// Programs that run the program that is named among their arguments.
const WRAPPERS: [&str; 34] = [
    "catchsegv",
    "chrt",
    "command",
    "conda",
    "dumb-init",
    "env",
    "exec",
    "gosu",
    "ionice",
    "mamba",
    "micromamba",
    "ncu",
    "nice",
    "nohup",
    "nsys",
    "numactl",
    "pipenv",
    "pixi",
    "poetry",
    "prlimit",
    "setpriv",
    "setsid",
    "stdbuf",
    "strace",
    "su-exec",
    "sudo",
    "taskset",
    "tini",
    "time",
    "timeout",
    "unbuffer",
    "uv",
    "xvfb-run",
    "xargs",
];

/// Looks through a command and its arguments.
pub(crate) fn inspect(argv: &[String]) -> Inspection {
    let mut found = Inspection::default();
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    found.command(&words, LEVELS);
    found
}

/// Whether a variable of a container's environment tells torchrun where or how to rendezvous.
/// `value` is `None` for one that is known only on the node.
pub(crate) fn chooses_rendezvous(name: &str, value: Option<&str>) -> bool {
    match name {
        "PET_RDZV_ENDPOINT" | "PET_RDZV_CONF" => value != Some(""),
        "PET_RDZV_BACKEND" => value != Some("c10d"),
        "PET_STANDALONE" => !matches!(value, Some("" | "0")),
        _ => false,
    }
}

impl Inspection {
    fn command(&mut self, words: &[&str], levels: usize) {
        let Some(levels) = levels.checked_sub(1) else {
            return;
        };
        let start = words.iter().position(|word| assignment(word).is_none());
        let (assignments, words) = words.split_at(start.unwrap_or(words.len()));
        self.assignments(assignments);
        let [program, rest @ ..] = words else { return };
        match base_name(program) {
            "torchrun" => self.launch(Launcher::Torchrun, rest),
            "deepspeed" => self.launch(Launcher::DeepSpeed, rest),
            "accelerate" if rest.first() == Some(&"launch") => {
                self.launch(Launcher::Accelerate, rest);
            }
            "accelerate-launch" => self.launch(Launcher::Accelerate, rest),
            "export" | "declare" | "local" | "readonly" => self.assignments(rest),
            "eval" => self.script(&rest.join(" "), levels),
            name if is_shell(name) => {
                if let Some(script) = shell::script_of(rest) {
                    self.script(script, levels);
                }
            }
            name if is_python(name) => self.python(rest, levels),
            name if WRAPPERS.contains(&name) => self.wrapped(rest, levels),
            // `$PYTHON -m torch.distributed.run`
            name if name.starts_with('$') => self.python(rest, levels),
            _ => {}
        }
    }

    /// Follows a wrapper to the first argument that is a program of interest. Its own options and
    /// their values are passed over.
    fn wrapped(&mut self, rest: &[&str], levels: usize) {
        let program = rest.iter().position(|word| {
            let name = base_name(word);
            is_launcher(name) || is_shell(name) || is_python(name) || WRAPPERS.contains(&name)
        });
        let (before, command) = rest.split_at(program.unwrap_or(rest.len()));
        self.assignments(before);
        self.command(command, levels);
    }

    /// The arguments of a Python interpreter.
    fn python(&mut self, rest: &[&str], levels: usize) {
        let mut words = rest.iter().enumerate();
        while let Some((index, word)) = words.next() {
            match *word {
                "-W" | "-X" | "--check-hash-based-pycs" => {
                    words.next();
                }
                "-c" | "-" => return,
                word if ["--", "-W", "-X"].iter().any(|flag| word.starts_with(flag)) => {}
                // Flags in one word may end with `m`, and the module may follow in the same word.
                word if word.starts_with('-') => {
                    let Some((_, module)) = word.split_once('m') else {
                        continue;
                    };
                    let (module, after) = match module {
                        "" => (rest.get(index + 1).copied().unwrap_or_default(), index + 2),
                        module => (module, index + 1),
                    };
                    let rest = rest.get(after..).unwrap_or_default();
                    if let Some(launcher) = of_module(module) {
                        self.launch(launcher, rest);
                    }
                    return;
                }
                script => {
                    let after = &rest[index + 1..];
                    let file =
                        |name: &str| script.ends_with(&format!("torch/distributed/{name}.py"));
                    if file("run") || file("launch") {
                        self.launch(Launcher::Torchrun, after);
                    } else if is_launcher(base_name(script)) {
                        self.command(&rest[index..], levels);
                    }
                    return;
                }
            }
        }
    }

    fn script(&mut self, script: &str, levels: usize) {
        for command in shell::simple_commands(script) {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            self.command(&words, levels);
        }
    }

    fn launch(&mut self, launcher: Launcher, arguments: &[&str]) {
        self.launcher.get_or_insert(launcher);
        // Behind the training script come its own arguments.
        let end = arguments.iter().position(|word| word.ends_with(".py"));
        let own = &arguments[..end.unwrap_or(arguments.len())];
        self.own_rendezvous |= own.iter().enumerate().any(|(index, word)| {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None => (*word, own.get(index + 1).copied()),
            };
            match option.replace('_', "-").as_str() {
                "--standalone" | "--rdzv-endpoint" | "--rdzv-conf" => true,
                "--rdzv-backend" => value != Some("c10d"),
                _ => false,
            }
        });
    }

    fn assignments(&mut self, words: &[&str]) {
        for (name, value) in words.iter().filter_map(|word| assignment(word)) {
            self.own_rendezvous |= chooses_rendezvous(name, Some(value));
        }
    }
}

/// `NAME=value`, as it may stand in front of a command.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some((name, value))
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn is_launcher(name: &str) -> bool {
    matches!(name, "torchrun" | "accelerate" | "accelerate-launch" | "deepspeed")
}

fn is_shell(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh")
}

/// `python`, `python3`, `python3.11`.
fn is_python(name: &str) -> bool {
    name.strip_prefix("python")
        .is_some_and(|version| version.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

fn of_module(module: &str) -> Option<Launcher> {
    Some(match module {
        "torch.distributed.run" | "torch.distributed.launch" => Launcher::Torchrun,
        "accelerate.commands.launch" => Launcher::Accelerate,
        "deepspeed.launcher.runner" => Launcher::DeepSpeed,
        _ => return None,
    })
}
