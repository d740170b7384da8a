//! How a pass of `tests/foreign` is set up: the environment that all its programs read, ours and foreign ones.

use std::io;

/// What the environment says.
///
/// - `FOREIGN_ADAPTER`: `monoio`, the default, or `tokio`.
/// - `FOREIGN_TLS`: a folder of certificates, for TLS: `servers.pem` signs `server.pem` with `server.key`, `clients.pem`
///   signs `client.pem` with `client.key`. Without it there is no TLS.
/// - `FOREIGN_MUTUAL`: if set, clients show their certificate and servers require it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether tokio's adapter runs in the place of monoio's.
    pub tokio: bool,
    folder: Option<String>,
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    mutual: bool,
}

impl Setup {
    /// Reads the environment.
    ///
    /// # Errors
    /// An adapter that does not exist, or TLS that was not compiled in.
    pub fn from_env() -> io::Result<Self> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let tokio = match read("FOREIGN_ADAPTER").as_deref() {
            None | Some("monoio") => false,
            Some("tokio") => true,
            Some(other) => {
                let text = format!("FOREIGN_ADAPTER is `{other}`; it may be monoio or tokio");
                return Err(io::Error::other(text));
            }
        };
        let setup =
            Self { tokio, folder: read("FOREIGN_TLS"), mutual: read("FOREIGN_MUTUAL").is_some() };
        if cfg!(not(feature = "tls")) && setup.secure() {
            return Err(io::Error::other("FOREIGN_TLS needs a build with the feature `tls`"));
        }
        Ok(setup)
    }

    /// Whether there is TLS.
    pub fn secure(&self) -> bool {
        self.folder.is_some()
    }
}

#[cfg(feature = "tls")]
impl Setup {
    /// TLS of a server, if there is TLS.
    ///
    /// # Errors
    /// A file cannot be read, or holds no certificate.
    pub fn server_tls(&self) -> io::Result<Option<grpc_tls::ServerTls>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = |name: &str| std::fs::read(format!("{folder}/{name}"));
        let tls = grpc_tls::ServerTls::from_pem(&file("server.pem")?, &file("server.key")?)
            .map_err(io::Error::other)?;
        if !self.mutual {
            return Ok(Some(tls));
        }
        tls.require_client_certificate(&file("clients.pem")?).map(Some).map_err(io::Error::other)
    }

    /// TLS of a client, if there is TLS.
    ///
    /// # Errors
    /// A file cannot be read, or holds no certificate.
    pub fn client_tls(&self) -> io::Result<Option<grpc_tls::ClientTls>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = |name: &str| std::fs::read(format!("{folder}/{name}"));
        let tls = grpc_tls::ClientTls::with_roots(&file("servers.pem")?);
        let tls = tls.map_err(io::Error::other)?;
        if !self.mutual {
            return Ok(Some(tls));
        }
        let shown = tls.certificate(&file("client.pem")?, &file("client.key")?);
        shown.map(Some).map_err(io::Error::other)
    }
}
