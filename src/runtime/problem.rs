//! What is answered in place of a guest, by the load balancer and to a service that calls another:
//! the one place where a code becomes a response.

use bytes::Bytes;
use http::Response;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http_body::Frame;
use serde::Serialize;

use crate::model::Code;

/// Names the code in every answer that is not a guest's.
pub const ERROR: HeaderName = HeaderName::from_static("wharf-error");

/// Seconds after which a client is invited to try again. Capacity comes back in milliseconds, but
/// the field has whole seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What a 405 names: the usual methods. Which of them a service answers to is its own matter.
const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Problem details (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: &'a str,
}

/// The frames and head of the answer.
pub fn response(code: Code, detail: Option<&str>, id: &str) -> Response<Vec<Frame<Bytes>>> {
    let status = code.status();
    let problem = Problem {
        r#type: format!("urn:wharf:error:{}", code.as_str()),
        title: code.title(),
        status: status.as_u16(),
        code: code.as_str(),
        detail,
        request_id: id,
    };
    let mut body = serde_json::to_vec(&problem).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(vec![Frame::data(body.into())]);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(ERROR, HeaderValue::from_static(code.as_str()));
    if code == Code::MethodNotAllowed {
        headers.insert(ALLOW, ALLOWED);
    }
    if code.invites_retry() {
        headers.insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    response
}
