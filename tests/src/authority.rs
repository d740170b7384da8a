//! Certificates that are made for a test.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Debug)]
pub struct Signed {
    /// The certificate.
    pub chain: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// Where there is no cryptography.
    #[allow(clippy::new_without_default)] // each is another one
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Verifiers look for the issuer by its name.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    /// Its own certificate, as PEM: the root to trust.
    pub fn roots(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Signs a certificate for DNS names, addresses and URIs.
    ///
    /// # Panics
    /// Where a name cannot be in a certificate.
    pub fn sign(&self, names: &[&str]) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let (uris, hosts): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.subject_alt_names.extend(
            uris.into_iter().map(|uri| SanType::URI(uri.try_into().expect("a URI is ASCII"))),
        );
        let signed = params.signed_by(&key, &self.0).expect("signed");
        Signed { chain: signed.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
    }
}
