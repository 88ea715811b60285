//! What goes wrong with certificates: files that the broker and the gateway read, and others in their place.

use std::path::PathBuf;

use forebay::upstream::settings::TlsSettings;

use crate::harness::certs::{Certs, Identity};

/// The certificates of a broker and of the gateway.
pub(super) struct Tls {
    pub(super) certs: Certs,
    /// The files that the broker reads.
    pub(super) served: Identity,
    trusted: PathBuf,
    own: Identity,
}

impl Tls {
    pub(super) fn new() -> Self {
        let certs = Certs::new();
        let tls = Self {
            served: certs.client("served"),
            trusted: certs.ca().with_file_name("trusted.pem"),
            own: certs.client("hall-2"),
            certs,
        };
        tls.trust_the_right_one();
        tls.serve_valid();
        tls
    }

    /// Of the gateway.
    pub(super) fn settings(&self) -> TlsSettings {
        let Identity { cert, key } = self.own.clone();
        TlsSettings {
            ca: Some(self.trusted.clone()),
            identity: Some((cert, key)),
        }
    }

    /// The gateway trusts the authority that signed the broker's certificate.
    pub(super) fn trust_the_right_one(&self) {
        self.trust(&self.certs);
    }

    /// The gateway trusts another authority.
    pub(super) fn trust_another(&self) {
        self.trust(&Certs::new());
    }

    /// The broker has a certificate that is valid.
    pub(super) fn serve_valid(&self) {
        self.serve(&self.certs.server());
    }

    /// The broker has one that has expired.
    pub(super) fn serve_expired(&self) {
        self.serve(&self.certs.expired_server());
    }

    fn trust(&self, certs: &Certs) {
        std::fs::copy(certs.ca(), &self.trusted).unwrap();
    }

    fn serve(&self, identity: &Identity) {
        std::fs::copy(&identity.cert, &self.served.cert).unwrap();
        std::fs::copy(&identity.key, &self.served.key).unwrap();
    }
}
