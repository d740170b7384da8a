//! A server and a client that prove to each other who they are: mutual TLS over loopback.
//!
//! ```text
//! cargo run --release --example secure --features tls
//! ```
//!
//! The certificates are made at the start. In production they come from files, and `ServerTls::replace_certificate` takes
//! new ones while the server runs (docs/tls.md).

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{WorkerOptions, Workers, block_on, connect};
use grpc_service::{Arena, CallError, Code, Cx, Status};
use grpc_tls::{ClientTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Greets, and says who was greeted. One service alone may call it.
struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let caller = cx.peer().tls().and_then(|tls| tls.spiffe_id());
        if caller != Some("spiffe://example.org/web") {
            return Err(Status::new(Code::PermissionDenied, "only the web service may call this"));
        }
        println!("the server saw {}", caller.unwrap_or_default());
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Authority(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    fn root(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name`, and its key.
    fn sign(&self, name: SanType) -> Result<(String, String), rcgen::Error> {
        let (mut params, key) = (CertificateParams::new(Vec::new())?, KeyPair::generate()?);
        params.subject_alt_names.push(name);
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (servers, services) = (Authority::new("servers")?, Authority::new("services")?);

    let (chain, key) = servers.sign(SanType::DnsName("localhost".try_into()?))?;
    let tls = ServerTls::from_pem(chain.as_bytes(), key.as_bytes())?
        .require_client_certificate(services.root().as_bytes())?;
    let options = WorkerOptions::default().tls(tls);
    let workers = Workers::start("127.0.0.1:0".parse()?, options, |router| {
        register_greeter(router, Rc::new(Polite));
    })?;
    let target = format!("https://localhost:{}", workers.address().port());

    let (chain, key) = services.sign(SanType::URI("spiffe://example.org/web".try_into()?))?;
    let trusting = ClientTls::with_roots(servers.root().as_bytes())?;
    let known = trusting.certificate(chain.as_bytes(), key.as_bytes())?;
    let nameless = ClientTls::with_roots(servers.root().as_bytes())?;

    block_on(async {
        let greeter = GreeterClient::new(connect(target.as_str()).tls(known).await?);
        let (request, arena) = (HelloRequest { name: "world", ..Default::default() }, Arena::new());
        let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(1)).await?;
        println!("{}", reply.message);

        // Without a certificate nothing is served.
        let refused = connect(target.as_str()).tls(nameless).await.expect_err("it shows none");
        println!("refused: {refused}");
        Ok::<(), CallError>(())
    })??;
    workers.stop(Duration::from_secs(1));
    Ok(())
}
