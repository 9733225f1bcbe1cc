//! A folder, free ports and child processes that end with the test.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: generous, because machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes when the test has passed and stays when it has failed.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty folder.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("wakeline-interop-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file in the temporary folder");
        path
    }

    /// The folder itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the peers wrote stands in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A port that is free for UDP and TCP at this moment, and was not given to another peer of this test run.
///
/// Even, with room for RTCP above it, and below the range from which the system takes the ports of clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(61));
        let port = 10_000 + u16::try_from(step % 5_000).expect("a small number") * 2;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child process and its children; they end with the test, also when the test itself is killed.
pub struct Process(Child);

impl Process {
    /// Starts a program with its output in `folder/log`.
    pub fn start(command: &Command, folder: &Folder, log: &str) -> Process {
        let output = File::create(folder.path(log)).expect("a log file");
        let mut bound = bound_to_us(command);
        bound.stdin(Stdio::null()).stderr(output.try_clone().expect("a second handle")).stdout(output);
        Process(spawn(bound, command))
    }

    /// Starts a program that takes commands on its standard input; its output goes to a file.
    pub fn start_with_input(command: &Command, folder: &Folder, log: &str) -> (Process, ChildStdin) {
        let output = File::create(folder.path(log)).expect("a log file");
        let mut bound = bound_to_us(command);
        bound.stdin(Stdio::piped()).stderr(output.try_clone().expect("a second handle")).stdout(output);
        let mut child = spawn(bound, command);
        let input = child.stdin.take().expect("its input");
        (Process(child), input)
    }

    /// Starts a program that takes commands and answers; what it says besides goes to a file.
    pub fn start_with_both(
        command: &Command,
        folder: &Folder,
        log: &str,
    ) -> (Process, ChildStdin, ChildStdout) {
        let errors = File::create(folder.path(log)).expect("a log file");
        let mut bound = bound_to_us(command);
        bound.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = spawn(bound, command);
        let (input, output) = (child.stdin.take(), child.stdout.take());
        (Process(child), input.expect("its input"), output.expect("its output"))
    }

    /// Its process id: that of the program itself, which also names its group.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end and tells whether it succeeded.
    pub fn succeeds(&mut self) -> bool {
        self.ends_within(PATIENCE).is_some_and(|status| status.success())
    }

    /// Waits for its end, this long at most.
    pub fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child process") {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Signals the whole group: some peers are several processes.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", name, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("TERM");
        if self.ends_within(Duration::from_secs(2)).is_none() {
            self.signal("KILL");
        }
        let _ = self.0.wait();
    }
}

/// The same command in a process group of its own, to be ended by the system if our thread goes without doing so.
fn bound_to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound.process_group(0);
    bound
}

fn spawn(mut bound: Command, command: &Command) -> Child {
    let program = command.get_program();
    let here =
        Command::new("sh").arg("-c").arg("command -v \"$0\"").arg(program).stdout(Stdio::null()).status();
    assert!(
        here.is_ok_and(|status| status.success()),
        "{} is not installed; run `cargo xtask setup`",
        program.display()
    );
    bound.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Runs the rest of the calling test in a network of its own that has nothing but loopback, and returns true there.
///
/// For peers that listen on all addresses. The test calls itself again as a child process inside the new network; outside
/// this returns false when the child has succeeded and panics when it has failed.
pub fn in_own_network(test: &str) -> bool {
    const INSIDE: &str = "WAKELINE_INTEROP_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let this = std::env::current_exe().expect("this test's path");
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c"])
        .arg("ip link set lo up || exit 125; exec \"$0\" --exact \"$1\" --nocapture")
        .arg(this)
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .expect("unshare of util-linux");
    assert!(
        status.success(),
        "{test} in a network namespace: {status}. When `unshare --map-root-user --net true` fails too, this machine \
         does not allow namespaces to this user: run as root or allow them (kernel.unprivileged_userns_clone)."
    );
    false
}

/// Asks again and again until it is so; panics with `what` when patience is over.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
