//! Server processes: started on a core of their own, watched, loaded by `h2load`, and stopped.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// The core that servers run on, and the one that the load comes from.
const SERVER_CORE: &str = "0";
pub(crate) const LOAD_CORE: &str = "1";

/// A process that serves [`crate::exchange::PATH`] on loopback, killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
}

/// One kind of load: what `h2load` is told.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections.
    pub connections: u32,
    /// Calls in flight on each connection.
    pub streams: u32,
    /// Bytes in the field `body` of request and response.
    pub body: usize,
    /// gRPC-Web over HTTP/1.1 in place of gRPC; then `streams` are requests that are pipelined.
    pub web: bool,
}

/// What a load cost and brought.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// User and system time of the server process, in microseconds a call.
    pub cpu_us: f64,
    /// Calls a second.
    pub rate: f64,
}

impl Server {
    /// Starts `program ADDRESS` on its core and waits until it accepts connections.
    pub fn start(program: &Path) -> Result<Self, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| format!("no free port: {error}"))?;
        let process = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(program)
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("taskset: {error}"))?;
        let mut server = Self { process, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = server.process.try_wait() {
                return Err(format!("{} ended: {status}", program.display()));
            }
            if started.elapsed() > Duration::from_secs(5) {
                return Err(format!("{} does not listen", program.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Loads the server for about `time`.
    ///
    /// `h2load` counts an answer with an error status as a success, but such an answer has no message: so the bytes of
    /// DATA that came back must be those of one whole echo for each call.
    pub fn load(&self, load: Load, time: Duration) -> Result<Outcome, String> {
        let request = request_file(load.body)?;
        let seconds = time.as_secs_f64();
        let before = self.cpu_us()?;
        let started = Instant::now();
        let output = Command::new("taskset")
            .args([
                "-c",
                LOAD_CORE,
                "timeout",
                "-s",
                "KILL",
                &format!("{:.1}", seconds + 5.0),
                "h2load",
            ])
            .args(["-c", &load.connections.to_string(), "-m", &load.streams.to_string()])
            .args(["-D", &format!("{}ms", time.as_millis())])
            .args(match load.web {
                true => &["--h1", "-H", "content-type: application/grpc-web+proto", "-d"][..],
                false => &["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"],
            })
            .arg(&request.0)
            .arg(format!("http://{}{}", self.address, crate::exchange::PATH))
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("h2load: {error}"))?;
        let _ = fs::remove_file(&request.0);
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = self.cpu_us()? - before;
        if !output.status.success() {
            return Err("stalls".into());
        }
        let report = String::from_utf8_lossy(&output.stdout);
        let (calls, data) = parse(&report).ok_or("h2load prints what is not understood")?;
        let whole = calls.succeeded as f64 * request.1 as f64;
        // The trailers of gRPC-Web are in the body too.
        let trailers = if load.web { calls.succeeded as f64 * 64.0 } else { 0.0 };
        if calls.failed > 0 || calls.succeeded == 0 {
            return Err(format!(
                "fails {} of {} calls",
                calls.failed,
                calls.failed + calls.succeeded
            ));
        }
        // A stalled connection is not an error to h2load: it waits until its time is over.
        if (calls.succeeded as f64) < seconds * 100.0 {
            return Err("stalls".into());
        }
        // Calls cut off at the end of the time may have had their DATA already.
        if data + 1.0 < whole || data > whole * 1.05 + trailers + 1e6 {
            return Err(format!("answers {data} bytes of DATA in place of {whole}"));
        }
        Ok(Outcome {
            cpu_us: cpu / calls.succeeded as f64,
            rate: calls.succeeded as f64 / elapsed.min(seconds),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, for what `/proc` says of it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// User and system time so far in microseconds, of all threads that the process has or had.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_us(&self) -> Result<f64, String> {
        let process = Pid::from_raw(self.process.id() as i32);
        let time = ClockId::pid_cpu_clock_id(process).and_then(clock_gettime);
        let time = Duration::from(time.map_err(|_| "has died")?);
        Ok(time.as_nanos() as f64 / 1000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes the request that `h2load` is to send, prefix and message; returns where it is and how long.
fn request_file(body: usize) -> Result<(PathBuf, usize), String> {
    let message = crate::exchange::framed_payload(body);
    let path = std::env::temp_dir().join(format!("grpc-bench-{}-{body}", std::process::id()));
    let written = fs::File::create(&path).and_then(|mut file| file.write_all(&message));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, message.len()))
}

struct Calls {
    succeeded: u64,
    failed: u64,
}

/// Reads the two lines of the report that count.
///
/// ```text
/// requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
/// traffic: 14.36KB (14700) total, 1.76KB (1800) headers (space savings 88.16%), 10.45KB (10700) data
/// ```
fn parse(report: &str) -> Option<(Calls, f64)> {
    let line = |start: &str| report.lines().find_map(|line| line.strip_prefix(start));
    let count = |name: &str| {
        let part = line("requests: ")?.split(", ").find(|part| part.ends_with(name))?;
        part.split(' ').next()?.parse::<u64>().ok()
    };
    let data = line("traffic: ")?.split(", ").find(|part| part.ends_with(" data"))?;
    let data = data.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
    let failed = count("failed")? + count("timeout")?;
    Some((Calls { succeeded: count("succeeded")?, failed }, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let report = "finished in 1.00s, 100.00 req/s, 14.36KB/s\n\
            requests: 107 total, 107 started, 100 done, 99 succeeded, 1 failed, 7 errored, 0 timeout\n\
            status codes: 99 2xx, 0 3xx, 0 4xx, 0 5xx\n\
            traffic: 14.36KB (14700) total, 1.76KB (1800) headers (space savings 88.16%), 10.45KB (10700) data\n";
        let (calls, data) = parse(report).expect("a report");
        assert_eq!((calls.succeeded, calls.failed, data), (99, 1, 10700.0));
        assert!(parse("").is_none());
    }
}
