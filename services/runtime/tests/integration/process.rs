//! Processes that tests kill and freeze: this test binary again, with a part of its own to play.

use std::{
    env,
    process::{Child, Command, Stdio},
};

use crate::support::eventually;

/// A process that plays a part. Killed, not asked, when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts the ignored test of that name, with those variables.
    pub fn start(part: &str, variables: &[(&str, &str)]) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", part, "--ignored", "--nocapture", "--test-threads", "1"])
            .envs(variables.iter().copied())
            .env("TIDEGATE_TEST_PART", "yes")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// As a crash ends it: without a last word.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) {
        eventually("the process ends", || {
            let ended = self.child.try_wait().unwrap().is_some();
            async move { ended }
        })
        .await;
    }

    /// Stops it where it is; it does not notice.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on as if nothing had happened.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether this process was started to play a part. Somebody who runs the ignored tests did not.
pub fn is_part() -> bool {
    env::var_os("TIDEGATE_TEST_PART").is_some()
}

/// A variable that the part was started with.
pub fn told(name: &str) -> String {
    env::var(name).unwrap()
}
