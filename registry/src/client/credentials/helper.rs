//! Runs `docker-credential-<name> get`.
//!
//! Protocol: the server's address on standard input, `{"ServerURL", "Username", "Secret"}` on
//! standard output; a helper that has nothing exits with a failure and says "credentials not
//! found".

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::Credentials;
use crate::digest::quote;

/// How long a helper may take: it may ask a key ring or a cloud, but not a person.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most output that is read, in bytes; the largest secrets are tokens of a few kilobytes.
const OUTPUT_MAX_BYTES: u64 = 64 << 10;

/// The username by which a helper says that the secret is an identity token.
const TOKEN_USERNAME: &str = "<token>";

/// Why a credential helper gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name could lead out of the search path.
    #[error("its name may have only letters, digits, `.`, `_` and `-`")]
    Name,
    /// It cannot be run.
    #[error("it cannot be run\nhint: install it, or remove it from Docker's config.json")]
    Run {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("it gave no answer within {} s", HELPER_TIMEOUT.as_secs())]
    Timeout,
    /// It said that it failed.
    #[error("it said: {detail}")]
    Failed {
        /// What it said, shortened.
        detail: String,
    },
    /// Its answer is not what the protocol asks for.
    #[error("its answer is malformed")]
    Malformed,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks the helper for the credentials of `server`.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credentials>, Error> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(Error::Name);
    }
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get");
    ask(command, server, HELPER_TIMEOUT).await
}

async fn ask(
    mut command: Command,
    server: &str,
    timeout: Duration,
) -> Result<Option<Credentials>, Error> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Run { source })?;
    let outcome = tokio::time::timeout(timeout, converse(child, server)).await;
    let (success, output) =
        outcome.map_err(|_| Error::Timeout)?.map_err(|source| Error::Run { source })?;
    answer(success, &output)
}

async fn converse(mut child: Child, server: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input may still answer.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_MAX_BYTES).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn answer(success: bool, output: &[u8]) -> Result<Option<Credentials>, Error> {
    if !success {
        let detail = String::from_utf8_lossy(output);
        if detail.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::Failed { detail: quote(detail.trim()) });
    }
    let answer: Answer = serde_json::from_slice(output).map_err(|_| Error::Malformed)?;
    Ok(match answer.username.as_str() {
        "" => None,
        TOKEN_USERNAME => Some(Credentials::IdentityToken(answer.secret)),
        _ => Some(Credentials::Basic { username: answer.username, password: answer.secret }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, timeout: Duration) -> Result<Option<Credentials>, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ask(command, "registry.io", timeout).await
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_one_server() {
        let script = r#"read server; echo "{\"Username\": \"me\", \"Secret\": \"at $server\"}""#;
        let found = shell(script, HELPER_TIMEOUT).await.expect("sound");
        let (username, password) = ("me".to_owned(), "at registry.io".to_owned());
        assert_eq!(found, Some(Credentials::Basic { username, password }));
        let deaf = shell("echo credentials not found; exit 1", HELPER_TIMEOUT).await;
        assert_eq!(deaf.expect("nothing"), None);
        let broken = shell("echo the key ring is locked; exit 1", HELPER_TIMEOUT).await;
        assert!(matches!(broken, Err(Error::Failed { .. })));
    }

    #[tokio::test]
    async fn a_helper_that_waits_for_somebody_is_ended() {
        let outcome = shell("exec sleep 600", Duration::from_millis(50)).await;
        assert!(matches!(outcome, Err(Error::Timeout)));
    }

    #[test]
    fn answers_are_understood() {
        let json = br#"{"ServerURL":"x","Username":"me","Secret":"pw"}"#;
        let basic = Credentials::Basic { username: "me".into(), password: "pw".into() };
        assert_eq!(answer(true, json).expect("sound"), Some(basic));
        let json = br#"{"Username":"<token>","Secret":"t"}"#;
        let token = Credentials::IdentityToken("t".into());
        assert_eq!(answer(true, json).expect("sound"), Some(token));
        let none = b"credentials not found in native keychain\n";
        assert_eq!(answer(false, none).expect("nothing"), None);
        assert!(matches!(answer(false, b"locked"), Err(Error::Failed { .. })));
        assert!(matches!(answer(true, b"locked"), Err(Error::Malformed)));
    }
}
