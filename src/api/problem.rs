//! The one place where a failure becomes a response.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec;

use super::dto::ManifestProblem;
use super::failure::Failure;

/// Repeats the code, for programs that do not read bodies.
const ERROR: HeaderName = HeaderName::from_static("wharf-error");

/// Seconds after which a client may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What every call that fails answers: problem details (RFC 9457) as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:wharf:error:` and the code.
    #[schema(example = "urn:wharf:error:service-not-found")]
    pub r#type: String,
    /// What happened, the same text for every problem of a code.
    pub title: String,
    /// The HTTP status, as in the head of the response.
    pub status: u16,
    /// The stable word for programs.
    #[schema(example = "service-not-found")]
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every mistake in a manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ManifestProblem>,
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        let code = failure.code();
        Self {
            r#type: format!("urn:wharf:error:{code}"),
            title: failure.title().to_owned(),
            status: failure.status().as_u16(),
            code: code.to_owned(),
            detail: failure.to_string(),
            hint: failure.hint(),
            problems: failure.problems().iter().map(ManifestProblem::from).collect(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        // That a node drains is no failure, and is asked for every second.
        if status.is_server_error() && !matches!(self, Self::Draining(_)) {
            tracing::warn!(code = self.code(), error = %self, "a call to the API failed");
        }
        let mut body = serde_json::to_vec(&Problem::from(&self)).unwrap_or_default();
        body.push(b'\n');
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(ERROR, HeaderValue::from_static(self.code()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}

impl From<&spec::Problem> for ManifestProblem {
    fn from(problem: &spec::Problem) -> Self {
        let spec::Problem { path, value, message, hint, line } = problem.clone();
        Self { path, value, message, hint, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_problem_details() {
        let known = vec!["hello".parse().expect("a name")];
        let failure = Failure::NoService { name: "helo".to_owned(), known };
        let json = serde_json::to_value(Problem::from(&failure)).expect("plain data");
        let expected = serde_json::json!({
            "type": "urn:wharf:error:service-not-found",
            "title": "The service does not exist",
            "status": 404,
            "code": "service-not-found",
            "detail": "there is no service helo",
            "hint": "services that exist: hello",
        });
        assert_eq!(json, expected);
        let response = failure.into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["wharf-error"], "service-not-found");
    }
}
