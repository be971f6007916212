//! A small agent as a process of its own, which can be killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use crate::remote::{Call, News, Options};
use crate::traces::PATIENCE;

pub(crate) struct Testbed {
    child: Child,
    calls: Option<ChildStdin>,
    news: Receiver<News>,
}

impl Testbed {
    /// Starts an agent, as another user if one is named.
    pub(crate) fn start(options: &Options, user: Option<u32>) -> Self {
        let mut command = Command::new(&options.shim);
        command
            .arg("agent")
            .arg(serde_json::to_string(options).expect("options are plain data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user).current_dir("/");
        }
        let mut child = command.spawn().expect("the testbed is built");
        let (tell, news) = sync_channel(4096);
        let out = child.stdout.take().expect("it was asked to be a pipe");
        // Ends with the agent.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A line that the agent was killed in is worth nothing.
                if let Ok(one) = serde_json::from_str(&line)
                    && tell.send(one).is_err()
                {
                    return;
                }
            }
        });
        let calls = child.stdin.take();
        Self { child, calls, news }
    }

    pub(crate) fn call(&mut self, call: &Call) {
        let mut line = serde_json::to_string(call).expect("calls are plain data");
        line.push('\n');
        let calls = self.calls.as_mut().expect("it is open until the end");
        // It may have been killed.
        let _ = calls.write_all(line.as_bytes());
    }

    /// The next news; `None` when the agent has ended.
    pub(crate) fn next(&self) -> Option<News> {
        match self.news.recv_timeout(PATIENCE) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited in vain for news of the agent"),
        }
    }

    /// News that come until a moment.
    pub(crate) fn until(&self, moment: Instant) -> Vec<News> {
        let mut all = Vec::new();
        while let Some(left) = moment.checked_duration_since(Instant::now()) {
            match self.news.recv_timeout(left) {
                Ok(news) => all.push(news),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        all
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
