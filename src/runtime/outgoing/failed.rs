//! Why an outgoing request had no response: what the guest is told, what is counted, and what its
//! author can do about it.

use std::io;

use wasmtime_wasi_http::Error as WasiError;

/// What became of an outgoing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response came.
    Answered,
    /// The role does not grant it, or the request is none that can be sent.
    Denied,
    /// The name leads only to addresses that are closed.
    Prohibited,
    /// The limits of the role, or of one request, were met.
    Limited,
    /// The name has no address, or there is no such service.
    Unresolved,
    /// No connection came about.
    Unreachable,
    /// There was no answer in time.
    Timeout,
    /// The connection broke, or what came is no HTTP.
    Failed,
    /// The guest did not wait for the answer, or was stopped before.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Denied,
        Self::Prohibited,
        Self::Limited,
        Self::Unresolved,
        Self::Unreachable,
        Self::Timeout,
        Self::Failed,
        Self::Abandoned,
    ];

    /// Its name, which does not change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Prohibited => "prohibited",
            Self::Limited => "limited",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) error: WasiError,
    /// For the service's log.
    pub(super) note: String,
}

impl Failed {
    fn new(outcome: Outcome, error: WasiError, note: impl Into<String>) -> Self {
        Self { outcome, error, note: note.into() }
    }

    /// The role does not grant it.
    pub(super) fn denied(note: impl Into<String>) -> Self {
        Self::new(Outcome::Denied, WasiError::HttpRequestDenied, note)
    }

    /// It is no request that can be sent.
    pub(super) fn unsendable(error: WasiError) -> Self {
        let note = error.to_string();
        Self::new(Outcome::Denied, error, note)
    }

    /// The addresses are closed.
    pub(super) fn prohibited(note: impl Into<String>) -> Self {
        Self::new(Outcome::Prohibited, WasiError::DestinationIpProhibited, note)
    }

    /// A limit was met.
    pub(super) fn limited(note: impl Into<String>) -> Self {
        Self::new(Outcome::Limited, WasiError::ConnectionLimitReached, note)
    }

    /// The chain of calls is too long.
    pub(super) fn loops(most: u8) -> Self {
        let note = format!("services call each other in a loop: more than {most} calls deep");
        Self::new(Outcome::Denied, WasiError::LoopDetected, note)
    }

    /// There is no such service.
    pub(super) fn no_service(name: &str) -> Self {
        let note = format!("this node has no service {name}");
        Self::new(Outcome::Unresolved, WasiError::DestinationNotFound, note)
    }

    /// The name has no address.
    pub(super) fn unresolved(why: &io::Error) -> Self {
        let rcode = Some("NXDOMAIN".to_owned());
        let error = WasiError::DnsError { rcode, info_code: None };
        Self::new(Outcome::Unresolved, error, format!("the name has no address: {why}"))
    }

    /// The name was not looked up in time.
    pub(super) fn lookup_timeout() -> Self {
        let note = "the name was not looked up in time";
        Self::new(Outcome::Timeout, WasiError::DnsTimeout, note)
    }

    /// No connection was open in time.
    pub(super) fn connect_timeout() -> Self {
        let note = "no connection was open in time";
        Self::new(Outcome::Timeout, WasiError::ConnectionTimeout, note)
    }

    /// No connection came about.
    pub(super) fn unreachable(why: &io::Error) -> Self {
        let error = match why.kind() {
            io::ErrorKind::ConnectionRefused => WasiError::ConnectionRefused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                WasiError::DestinationIpUnroutable
            }
            io::ErrorKind::TimedOut => WasiError::ConnectionTimeout,
            _ => WasiError::DestinationUnavailable,
        };
        Self::new(Outcome::Unreachable, error, format!("no connection: {why}"))
    }

    /// The two do not agree about TLS.
    pub(super) fn tls(why: &io::Error) -> Self {
        let inner = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let error = match inner {
            Some(rustls::Error::InvalidCertificate(_)) => WasiError::TlsCertificateError,
            Some(rustls::Error::AlertReceived(alert)) => WasiError::TlsAlertReceived {
                alert_id: Some(u8::from(*alert)),
                alert_message: Some(format!("{alert:?}")),
            },
            _ => WasiError::TlsProtocolError,
        };
        Self::new(Outcome::Unreachable, error, format!("TLS does not begin: {why}"))
    }

    /// No response came in time.
    pub(super) fn response_timeout() -> Self {
        let note = "no response came in time";
        Self::new(Outcome::Timeout, WasiError::ConnectionReadTimeout, note)
    }

    /// The connection broke, or what came on it is no HTTP.
    pub(super) fn broken(error: &hyper::Error) -> Self {
        let wasi = match error {
            _ if error.is_parse_too_large() => WasiError::HttpResponseHeaderSectionSize(None),
            _ if error.is_parse() => WasiError::HttpProtocolError,
            _ if error.is_incomplete_message() => WasiError::HttpResponseIncomplete,
            _ if error.is_timeout() => WasiError::ConnectionReadTimeout,
            _ => WasiError::ConnectionTerminated,
        };
        Self::new(Outcome::Failed, wasi, format!("the exchange broke off: {error}"))
    }

    /// The head of the response is too large.
    pub(super) fn head_too_large() -> Self {
        let error = WasiError::HttpResponseHeaderSectionSize(None);
        Self::new(Outcome::Failed, error, "the head of the response is too large")
    }

    /// What came is no answer to what was asked.
    pub(super) fn no_answer(note: &'static str) -> Self {
        Self::new(Outcome::Failed, WasiError::HttpProtocolError, note)
    }

    /// The guest's own body is larger than its role allows.
    pub(super) fn body_too_large(most: u64) -> Self {
        let note = format!("the request's body has more than {most} bytes: `request_bytes`");
        Self::new(Outcome::Limited, WasiError::HttpRequestBodySize(Some(most)), note)
    }
}
