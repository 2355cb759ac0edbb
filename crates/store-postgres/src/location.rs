//! Where a store is: a `postgres://` URL, with parameters of the store's own.

use annals_core::{StoreError, StoreErrorKind};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::PostgresOptions;

const DOING: &str = "open the store";
/// The names of the parameter for whom to trust.
const ROOT_CERTIFICATE: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];

/// Takes a URL apart: how to connect, and the options with what the URL says about them.
///
/// # Errors
/// When it is no such URL, or one of its parameters makes no sense. The URL itself is never
/// shown, as it may hold a password.
pub(crate) fn parse(
    url: &str,
    mut options: PostgresOptions,
) -> Result<(PgConnectOptions, PostgresOptions), StoreError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid(
            "write `postgres://USER:PASSWORD@HOST:PORT/DATABASE`".to_owned(),
        ));
    }
    let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
    let mut others = String::new();
    let mut root_certificate = None;
    for parameter in parameters.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "schema" => value.clone_into(&mut options.schema),
            "pgbouncer" => options.transaction_pooling = flag(key, value)?,
            "notifications" => options.notifications = flag(key, value)?,
            "max_connections" => options.max_connections = count(key, value)?,
            _ => {
                if ROOT_CERTIFICATE.contains(&key) {
                    root_certificate = Some(value.to_owned());
                }
                others.push(if others.is_empty() { '?' } else { '&' });
                others.push_str(parameter);
            }
        }
    }
    let connect: PgConnectOptions = format!("{place}{others}")
        .parse()
        .map_err(|error: sqlx::Error| invalid(error.to_string()))?;
    let mode = connect.get_ssl_mode();
    check_encryption(mode, cfg!(feature = "tls"))?;
    let from_environment = || std::env::var("PGSSLROOTCERT").ok();
    if matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull)
        && let Some(path) = root_certificate.or_else(from_environment)
    {
        check_root_certificate(&path)?;
    }
    Ok((connect, options))
}

/// Refuses to promise what is not built in: who asks for encryption is not to wonder why it fails.
fn check_encryption(mode: PgSslMode, built_in: bool) -> Result<(), StoreError> {
    let mode = match mode {
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => return Ok(()),
    };
    if built_in {
        return Ok(());
    }
    let error = StoreError::new(StoreErrorKind::Invalid, DOING);
    Err(error.caused_by(format!(
        "`sslmode={mode}` asks for an encrypted connection, which this program was built without: \
         build it with the feature `postgres-tls` of `annals`"
    )))
}

/// Refuses a file that can't be read, which would else look like a server that can't be reached.
fn check_root_certificate(path: &str) -> Result<(), StoreError> {
    // A certificate itself, or a path with escapes, is for whoever opens it.
    let path = path.split('#').next().unwrap_or_default().trim();
    if path.contains(['%', '+']) || path.starts_with("-----BEGIN") {
        return Ok(());
    }
    let opened = std::fs::File::open(path).map(drop);
    opened.map_err(|error| invalid(format!("`sslrootcert` names the file `{path}`: {error}")))
}

fn flag(key: &str, value: &str) -> Result<bool, StoreError> {
    match value {
        "true" | "1" | "on" => Ok(true),
        "false" | "0" | "off" => Ok(false),
        _ => Err(invalid(format!("`{key}` is `true` or `false`"))),
    }
}

fn count(key: &str, value: &str) -> Result<u32, StoreError> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(invalid(format!("`{key}` is a number from 1"))),
    }
}

fn invalid(problem: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, DOING)
        .caused_by(format!("its URL can't be used: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn the_store_s_own_parameters_are_taken_out_and_others_passed_on() {
        let url = "postgresql://me:secret@host:5433/bank?schema=ledger&sslmode=disable\
                   &pgbouncer=true&notifications=off&max_connections=3&application_name=x";
        let (connect, options) = parse(url, PostgresOptions::default()).unwrap();
        assert_eq!(connect.get_host(), "host");
        assert_eq!(connect.get_port(), 5433);
        assert_eq!(connect.get_database(), Some("bank"));
        assert_eq!(connect.get_application_name(), Some("x"));
        assert_eq!(options.schema, "ledger");
        assert_eq!(options.max_connections, 3);
        assert!(options.transaction_pooling && !options.notifications);
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_showing_the_password() {
        let urls = [
            "mysql://me:secret@host/bank",
            "postgres://me:secret@host/bank?pgbouncer=perhaps",
            "postgres://me:secret@host/bank?max_connections=0",
            "postgres://me:secret@host:port/bank",
            "postgres://me:secret@host/bank?sslmode=secretive",
        ];
        for url in urls {
            let error = parse(url, PostgresOptions::default()).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Invalid, "{url}");
            let shown = format!("{error:?} {}", error.source().unwrap());
            assert!(!shown.contains("secret@"), "{shown}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_certificate_s_file_has_to_be_there_where_it_is_looked_at() {
        let parsed = |mode: &str, file: &str| {
            let url = format!("postgres://me@host/bank?sslmode={mode}&sslrootcert={file}");
            parse(&url, PostgresOptions::default())
        };
        for mode in ["verify-ca", "verify-full"] {
            let missing = parsed(mode, "/not/there.pem").unwrap_err();
            assert_eq!(missing.kind(), StoreErrorKind::Invalid);
            let told = missing.source().unwrap().to_string();
            let named = "`sslrootcert` names the file `/not/there.pem`: ";
            assert!(told.contains(named), "{told}");
        }
        parsed("require", "/not/there.pem").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let there = format!("{}\n", file.path().display());
        parsed("verify-full", &there).unwrap();
    }

    #[test]
    fn encryption_is_promised_only_where_it_is_built_in() {
        use PgSslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        for mode in [Disable, Allow, Prefer, Require, VerifyCa, VerifyFull] {
            check_encryption(mode, true).unwrap();
            let without = check_encryption(mode, false);
            let Err(error) = without else {
                assert!(matches!(mode, Disable | Allow | Prefer), "{mode:?}");
                continue;
            };
            assert_eq!(error.kind(), StoreErrorKind::Invalid);
            let told = error.source().unwrap().to_string();
            assert!(told.contains("`postgres-tls`"), "{told}");
        }
        let url = "postgres://me@host/bank?sslmode=require";
        let parsed = parse(url, PostgresOptions::default());
        assert_eq!(parsed.is_ok(), cfg!(feature = "tls"));
    }
}
