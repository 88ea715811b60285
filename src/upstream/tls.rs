//! TLS of all connections: rustls on ring, whom to trust, and our own certificate.
//!
//! Files are read at each connection, so that they can be renewed while the service runs.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::error::UpstreamError;
use super::settings::TlsSettings;

/// Makes ring the cryptography of the whole process. To be called first thing in `main`: a library that finds
/// two of them, and none chosen, panics.
pub fn install_provider() {
    // An error means that one is installed already, which is as good.
    let _ = ring::default_provider().install_default();
}

/// What a connection with these settings speaks: TLS 1.2 and 1.3. Blocking, but of a few small files.
///
/// # Errors
/// [`UpstreamError::Tls`] names the file and the mend.
pub fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, UpstreamError> {
    build(settings).map(Arc::new).map_err(UpstreamError::Tls)
}

fn build(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let roots = Arc::new(match &settings.ca {
        Some(path) => own_roots(path)?,
        None => system_roots()?,
    });
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier);
    let Some((cert, key)) = &settings.identity else {
        return Ok(config.with_no_client_auth());
    };
    config
        .with_client_auth_cert(certificates(cert)?, private_key(key)?)
        .map_err(|error| {
            format!(
                "{} and {} do not belong together: {error}",
                cert.display(),
                key.display()
            )
        })
}

fn own_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: no usable authority: {error}", path.display()))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry old certificates that no verifier takes; one of those is no reason to refuse the others.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let reason = found
        .errors
        .first()
        .map(|error| format!(" ({error})"))
        .unwrap_or_default();
    Err(format!(
        "the system has no certificates of authorities{reason}: install the package ca-certificates, or name the broker's authority by tls.ca"
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!(
            "{} holds no certificate: it must be PEM, with a line BEGIN CERTIFICATE",
            path.display()
        ));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
        format!(
            "{} holds no private key that can be used: it must be PEM, without a passphrase, with a line BEGIN PRIVATE KEY (or RSA, EC)",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!(
            "{}: {error}: it must be readable for the user that the service runs as",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", &authority.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(authority, key);
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["gateway".to_owned()]).unwrap();
        write("own.pem", &params.signed_by(&own, &issuer).unwrap().pem());
        write("own.key", &own.serialize_pem());
        write("other.key", &KeyPair::generate().unwrap().serialize_pem());
        write("empty.pem", "nothing\n");
        folder
    }

    fn problem(settings: &TlsSettings) -> String {
        match client_config(settings) {
            Ok(_) => panic!("no problem found"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn own_authority_and_own_certificate() {
        let folder = folder();
        let file = |name: &str| folder.path().join(name);
        let settings = TlsSettings {
            ca: Some(file("ca.pem")),
            identity: Some((file("own.pem"), file("own.key"))),
        };
        assert!(
            client_config(&settings)
                .unwrap()
                .client_auth_cert_resolver
                .has_certs()
        );
    }

    #[test]
    fn every_problem_names_its_file() {
        let folder = folder();
        let file = |name: &str| folder.path().join(name);
        let with_ca = |ca: PathBuf| TlsSettings {
            ca: Some(ca),
            identity: None,
        };
        assert!(problem(&with_ca(file("none.pem"))).contains("none.pem: No such file"));
        assert!(problem(&with_ca(file("empty.pem"))).contains("empty.pem holds no certificate"));
        let with_identity = |cert: &str, key: &str| TlsSettings {
            ca: Some(file("ca.pem")),
            identity: Some((file(cert), file(key))),
        };
        let text = problem(&with_identity("own.pem", "own.pem"));
        assert!(text.contains("own.pem holds no private key"), "{text}");
        let text = problem(&with_identity("own.pem", "other.key"));
        assert!(text.contains("do not belong together"), "{text}");
    }
}
