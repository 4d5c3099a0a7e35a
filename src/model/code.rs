//! The outcome of a request, in a word that scripts may rely on.

use http::StatusCode;

/// How a request ended. Every code but `ok` has a page under `docs/errors/`.
///
/// The numbers are positions in metric arrays and in atomics; they are not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// The guest answered; its status may be anything.
    Ok,
    /// The client went away first.
    ClientClosed,
    /// The client stopped taking the response.
    ClientStalled,
    /// The request used up its fuel.
    FuelExhausted,
    /// The request ran into the memory cap of its instance, its task or the node.
    MemoryExceeded,
    /// The guest trapped or panicked.
    GuestTrapped,
    /// The guest ended its process instead of answering.
    GuestExited,
    /// The guest answered with an error code of `wasi:http` instead of a response.
    GuestError,
    /// The guest returned without a response.
    NoResponse,
    /// The guest did not finish the body that it began, or not with the length that it declared.
    ResponseIncomplete,
    /// The response is larger than the task allows.
    ResponseTooLarge,
    /// The guest held more handles, or moved more bytes in one host call, than the task allows.
    ResourceLimit,
    /// The wall-clock budget ran out.
    RequestTimeout,
    /// The request is not valid HTTP, or not HTTP that can be forwarded safely.
    BadRequest,
    /// The method cannot be served by a load balancer.
    MethodNotAllowed,
    /// The route does not answer to the address that the request comes from.
    ClientDenied,
    /// More requests came than a rate limit of the route allows.
    RateLimited,
    /// The request expects what no server here can do.
    ExpectationFailed,
    /// The transfer coding is not supported.
    NotImplemented,
    /// The request's header section is larger than allowed.
    HeadersTooLarge,
    /// The request's body is larger than the task allows.
    BodyTooLarge,
    /// The client stopped sending its request body.
    BodyTimeout,
    /// No route matches host and path.
    NoRoute,
    /// The queue of requests that wait for the service is full.
    QueueFull,
    /// The request waited for a task as long as it may.
    QueueTimeout,
    /// All tasks that the service may have are busy, and the request waited in vain.
    AtMaximum,
    /// The node has no instance or memory left.
    NoCapacity,
    /// The service's definition is not ready: still being prepared, or failed.
    NotReady,
    /// The client wants to leave HTTP, for a WebSocket perhaps, and the service is a guest.
    UpgradeUnsupported,
    /// The request has passed through this node before.
    LoopDetected,
    /// No connection to a server of the upstream came about.
    UpstreamUnreachable,
    /// The server of the upstream broke off, or what it sent is no HTTP.
    UpstreamFailed,
    /// The server of the upstream did not answer in time.
    UpstreamTimeout,
    /// Every server of the upstream has as many requests as it may have.
    UpstreamBusy,
    /// The task was going, and its time to finish the request was over.
    Drained,
    /// A fault of Wharf itself.
    Internal,
}

impl Code {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 36] = [
        Self::Ok,
        Self::ClientClosed,
        Self::ClientStalled,
        Self::FuelExhausted,
        Self::MemoryExceeded,
        Self::GuestTrapped,
        Self::GuestExited,
        Self::GuestError,
        Self::NoResponse,
        Self::ResponseIncomplete,
        Self::ResponseTooLarge,
        Self::ResourceLimit,
        Self::RequestTimeout,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::ClientDenied,
        Self::RateLimited,
        Self::ExpectationFailed,
        Self::NotImplemented,
        Self::HeadersTooLarge,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::NoRoute,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::AtMaximum,
        Self::NoCapacity,
        Self::NotReady,
        Self::UpgradeUnsupported,
        Self::LoopDetected,
        Self::UpstreamUnreachable,
        Self::UpstreamFailed,
        Self::UpstreamTimeout,
        Self::UpstreamBusy,
        Self::Drained,
        Self::Internal,
    ];

    /// The word: in `wharf-error`, in logs, metrics and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientClosed => "client-closed",
            Self::ClientStalled => "client-stalled",
            Self::FuelExhausted => "fuel-exhausted",
            Self::MemoryExceeded => "memory-exceeded",
            Self::GuestTrapped => "guest-trapped",
            Self::GuestExited => "guest-exited",
            Self::GuestError => "guest-error",
            Self::NoResponse => "no-response",
            Self::ResponseIncomplete => "response-incomplete",
            Self::ResponseTooLarge => "response-too-large",
            Self::ResourceLimit => "resource-limit",
            Self::RequestTimeout => "request-timeout",
            Self::BadRequest => "bad-request",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::ClientDenied => "client-denied",
            Self::RateLimited => "rate-limited",
            Self::ExpectationFailed => "expectation-failed",
            Self::NotImplemented => "not-implemented",
            Self::HeadersTooLarge => "headers-too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyTimeout => "body-timeout",
            Self::NoRoute => "no-route",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::AtMaximum => "at-maximum",
            Self::NoCapacity => "no-capacity",
            Self::NotReady => "not-ready",
            Self::UpgradeUnsupported => "upgrade-unsupported",
            Self::LoopDetected => "loop-detected",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::UpstreamFailed => "upstream-failed",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamBusy => "upstream-busy",
            Self::Drained => "drained",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that the load balancer answers with. A guest's own fault is a 5xx that
    /// does not invite a retry; lack of capacity is a 503 or 429 that does.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Ok => StatusCode::OK,
            Self::ClientClosed | Self::ClientStalled | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ClientDenied => StatusCode::FORBIDDEN,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::NotImplemented | Self::UpgradeUnsupported => StatusCode::NOT_IMPLEMENTED,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::UpstreamUnreachable | Self::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::AtMaximum | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::QueueFull
            | Self::QueueTimeout
            | Self::NoCapacity
            | Self::NotReady
            | Self::UpstreamBusy
            | Self::Drained => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::FuelExhausted
            | Self::MemoryExceeded
            | Self::GuestTrapped
            | Self::GuestExited
            | Self::GuestError
            | Self::NoResponse
            | Self::ResponseIncomplete
            | Self::ResponseTooLarge
            | Self::ResourceLimit
            | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What happened, in a sentence for whoever sent the request.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ok => "The request was answered",
            Self::ClientClosed => "The client closed the connection",
            Self::ClientStalled => "The client stopped taking the response",
            Self::FuelExhausted => "The request used up its fuel",
            Self::MemoryExceeded => "The request needed more memory than its task may use",
            Self::GuestTrapped => "The service failed while it handled the request",
            Self::GuestExited => "The service exited instead of answering",
            Self::GuestError => "The service reported an error instead of a response",
            Self::NoResponse => "The service returned without a response",
            Self::ResponseIncomplete => "The service did not finish its response",
            Self::ResponseTooLarge => "The response is larger than the task allows",
            Self::ResourceLimit => "The request held more resources than its task allows",
            Self::RequestTimeout => "The service did not answer in time",
            Self::BadRequest => "The request is not valid",
            Self::MethodNotAllowed => "The method is not supported",
            Self::ClientDenied => "The client may not use this route",
            Self::RateLimited => "More requests came than the route allows",
            Self::ExpectationFailed => "The expectation cannot be met",
            Self::NotImplemented => "The transfer coding is not supported",
            Self::HeadersTooLarge => "The header section is too large",
            Self::BodyTooLarge => "The request body is too large",
            Self::BodyTimeout => "The request body stopped arriving",
            Self::NoRoute => "No service answers for this host and path",
            Self::QueueFull => "Too many requests wait for this service",
            Self::QueueTimeout => "The service did not become available in time",
            Self::AtMaximum => "The service is at its maximum",
            Self::NoCapacity => "The node has no capacity left",
            Self::NotReady => "The service is not ready",
            Self::UpgradeUnsupported => "The service cannot take a WebSocket",
            Self::LoopDetected => "The request comes from this node itself",
            Self::UpstreamUnreachable => "The upstream cannot be reached",
            Self::UpstreamFailed => "The upstream failed to answer",
            Self::UpstreamTimeout => "The upstream did not answer in time",
            Self::UpstreamBusy => "The upstream has too many requests",
            Self::Drained => "The service stopped before it had answered",
            Self::Internal => "Wharf failed to handle the request",
        }
    }

    /// Whether the request may succeed if it is sent again in a moment.
    pub const fn invites_retry(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::QueueTimeout
                | Self::AtMaximum
                | Self::RateLimited
                | Self::NoCapacity
                | Self::NotReady
                | Self::UpstreamBusy
                | Self::Drained
        )
    }

    /// The code with this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (position, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code as u8), position, "{}", code.as_str());
            assert_eq!(Code::from_u8(code as u8), Some(code));
        }
        assert_eq!(Code::from_u8(Code::ALL.len() as u8), None);
    }

    #[test]
    fn a_guests_own_fault_does_not_invite_a_retry() {
        for code in Code::ALL {
            let status = code.status().as_u16();
            assert_eq!(code.invites_retry(), matches!(status, 429 | 503), "{}", code.as_str());
        }
    }
}
