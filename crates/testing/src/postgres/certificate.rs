//! Encrypted connections to a cluster, with a certificate that its own key has signed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{cluster::Cluster, programs::run};

/// No authority, but a server at this address.
const EXTENSIONS: &str = "
[req]
distinguished_name = name
x509_extensions = server
[name]
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
";

impl Cluster {
    /// Has the running server take encrypted connections too; answers where the certificate stands
    /// that clients are to trust.
    ///
    /// # Panics
    /// When `openssl` is not installed, or the server does not start again.
    pub fn encrypt(&mut self) -> PathBuf {
        let (certificate, key) = self.certificate("server");
        for file in [&certificate, &key] {
            self.programs.hand_over(file);
        }
        self.configure(&format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'",
            certificate.display(),
            key.display()
        ));
        self.restart();
        certificate
    }

    /// Makes a certificate for a server at the same address, with a key of its own, and answers
    /// where both stand.
    ///
    /// # Panics
    /// When `openssl` is not installed.
    #[must_use]
    pub fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let file = |extension| self.directory.path().join(format!("{name}.{extension}"));
        let (extensions, certificate, key) = (file("cnf"), file("crt"), file("key"));
        fs::write(&extensions, EXTENSIONS).expect("a new directory can be written");
        run(Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-subj"])
            .arg(format!("/CN={name}"))
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args([Path::new("-config"), &extensions])
            .args([Path::new("-keyout"), &key])
            .args([Path::new("-out"), &certificate]));
        (certificate, key)
    }
}
