//! The runtimes that the programs run on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use grpc_service::adapter::Stopper;
use grpc_service::{Channel, ChannelOptions, Compression, Encoding, Router, ServerOptions};

use crate::flags::Flags;

/// Which adapter runs a program: `--runtime=monoio`, which is the default, or `--runtime=tokio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// `grpc-monoio`, on io_uring or epoll.
    Monoio,
    /// `grpc-tokio`.
    Tokio,
}

impl Runtime {
    /// The one that the flags choose.
    ///
    /// # Errors
    /// There is no such runtime.
    pub fn of(flags: &Flags) -> Result<Self, String> {
        match flags.text("runtime") {
            None | Some("monoio") => Ok(Runtime::Monoio),
            Some("tokio") => Ok(Runtime::Tokio),
            Some(other) => Err(format!("--runtime={other}: there are monoio and tokio")),
        }
    }

    /// Runs a future and what it spawns.
    ///
    /// # Errors
    /// The runtime cannot be made.
    pub fn run<T>(self, future: impl Future<Output = T>) -> io::Result<T> {
        match self {
            Runtime::Monoio => grpc_monoio::block_on(future),
            Runtime::Tokio => grpc_tokio::block_on(future),
        }
    }
}

/// A server on two threads.
#[derive(Debug)]
pub enum Served {
    /// On monoio.
    Monoio(grpc_monoio::Workers),
    /// On tokio.
    Tokio(grpc_tokio::Workers),
}

impl Served {
    /// Serves `routes` as the flags say: `--port`, `--runtime`, `--use_tls` with `--tls_cert_file` and `--tls_key_file`.
    ///
    /// # Errors
    /// A flag is wrong, or the port cannot be served.
    pub fn start(
        flags: &Flags,
        routes: impl Fn(&mut Router) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], flags.value("port", 0)?));
        // Handlers compress what their clients ask them to.
        let compression = Compression::none().send(Encoding::Gzip).accept_all();
        let server = ServerOptions::default().compression(compression);
        let failed = |error: io::Error| error.to_string();
        let tls = flags.value("use_tls", false)?;
        match Runtime::of(flags)? {
            Runtime::Monoio => {
                let options = grpc_monoio::WorkerOptions::default().threads(2).server(server);
                #[cfg(feature = "tls")]
                let options = if tls { options.tls(server_tls(flags)?) } else { options };
                refuse_tls(tls)?;
                let workers = grpc_monoio::Workers::start(address, options, routes);
                workers.map(Served::Monoio).map_err(failed)
            }
            Runtime::Tokio => {
                let options = grpc_tokio::WorkerOptions::default().threads(2).server(server);
                #[cfg(feature = "tls")]
                let options = if tls { options.tls(server_tls(flags)?) } else { options };
                refuse_tls(tls)?;
                let workers = grpc_tokio::Workers::start(address, options, routes);
                workers.map(Served::Tokio).map_err(failed)
            }
        }
    }

    /// The address that is served.
    pub fn address(&self) -> SocketAddr {
        match self {
            Served::Monoio(workers) => workers.address(),
            Served::Tokio(workers) => workers.address(),
        }
    }

    /// A switch that stops the server from elsewhere.
    pub fn stopper(&self) -> Stopper {
        match self {
            Served::Monoio(workers) => workers.stopper(),
            Served::Tokio(workers) => workers.stopper(),
        }
    }

    /// Waits until the server has been stopped.
    pub fn wait(self) {
        match self {
            Served::Monoio(workers) => workers.wait(),
            Served::Tokio(workers) => workers.wait(),
        }
    }

    /// Says where it listens, and serves until a signal comes; calls in flight have `grace` to finish.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn until_signal(self, grace: Duration) -> Result<(), String> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
        let mut signals = signals.map_err(|error| error.to_string())?;
        println!("listening on {}", self.address());
        let stopper = self.stopper();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                stopper.stop(grace);
            }
        });
        self.wait();
        Ok(())
    }
}

/// How to reach the server that is tested.
#[derive(Clone, Debug)]
pub struct Server {
    runtime: Runtime,
    target: String,
    #[cfg(feature = "tls")]
    tls: Option<grpc_tls::ClientTls>,
}

impl Server {
    /// The one that the flags name: `--server_host`, `--server_port`, `--use_tls` with `--ca_file` and
    /// `--server_host_override`.
    ///
    /// # Errors
    /// A flag is wrong.
    pub fn of(flags: &Flags) -> Result<Self, String> {
        let host = flags.text("server_host").unwrap_or("127.0.0.1");
        let port: u16 = flags.value("server_port", 0)?;
        let tls = flags.value("use_tls", false)?;
        refuse_tls(tls)?;
        let scheme = if tls { "https" } else { "http" };
        Ok(Self {
            runtime: Runtime::of(flags)?,
            target: format!("{scheme}://{host}:{port}"),
            #[cfg(feature = "tls")]
            tls: if tls { Some(client_tls(flags)?) } else { None },
        })
    }

    /// The runtime on which the client runs.
    pub fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// A new channel, which connects when it is first called; it takes compressed responses.
    ///
    /// # Errors
    /// The target cannot be used.
    pub fn channel(&self) -> Result<Channel, String> {
        let options = ChannelOptions::default().compression(Compression::none().accept_all());
        let channel = match self.runtime {
            Runtime::Monoio => {
                let connect = grpc_monoio::connect(&self.target).options(options);
                #[cfg(feature = "tls")]
                let connect = match &self.tls {
                    Some(tls) => connect.tls(tls.clone()),
                    None => connect,
                };
                connect.lazy()
            }
            Runtime::Tokio => {
                let connect = grpc_tokio::connect(&self.target).options(options);
                #[cfg(feature = "tls")]
                let connect = match &self.tls {
                    Some(tls) => connect.tls(tls.clone()),
                    None => connect,
                };
                connect.lazy()
            }
        };
        channel.map_err(|error| error.to_string())
    }
}

/// Says how the programs get TLS, where they lack it.
fn refuse_tls(wanted: bool) -> Result<(), String> {
    if wanted && !cfg!(feature = "tls") {
        return Err("--use_tls=true: build with --features tls".to_owned());
    }
    Ok(())
}

#[cfg(feature = "tls")]
fn read(flags: &Flags, name: &str) -> Result<Vec<u8>, String> {
    let path = flags.text(name).ok_or_else(|| format!("--use_tls=true needs --{name}"))?;
    std::fs::read(path).map_err(|error| format!("--{name}={path}: {error}"))
}

#[cfg(feature = "tls")]
fn server_tls(flags: &Flags) -> Result<grpc_tls::ServerTls, String> {
    let (chain, key) = (read(flags, "tls_cert_file")?, read(flags, "tls_key_file")?);
    grpc_tls::ServerTls::from_pem(&chain, &key).map_err(|error| error.to_string())
}

#[cfg(feature = "tls")]
fn client_tls(flags: &Flags) -> Result<grpc_tls::ClientTls, String> {
    let tls = grpc_tls::ClientTls::with_roots(&read(flags, "ca_file")?);
    let tls = tls.map_err(|error| error.to_string())?;
    match flags.text("server_host_override") {
        Some(name) => tls.server_name(name).map_err(|error| error.to_string()),
        None => Ok(tls),
    }
}
