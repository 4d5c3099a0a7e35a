//! Why a request got no response from a guest.

use http::{HeaderMap, Response};

use crate::model::Code;
use crate::runtime::{ReplyBody, problem};
use crate::telemetry::Exchange;

use super::response_body::Content;

/// A code, and what is said beside it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) detail: Option<&'static str>,
    /// Fields that the answer has besides those of its code, or in place of them.
    pub(super) fields: Box<HeaderMap>,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self { code, detail: None, fields: Box::default() }
    }
}

impl Failure {
    pub(super) fn saying(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    pub(super) fn with(self, fields: HeaderMap) -> Self {
        Self { fields: Box::new(fields), ..self }
    }

    /// The answer. Somebody may have decided before: a body that broke off is why its guest
    /// failed.
    pub(super) fn answer(self, exchange: &Exchange) -> Response<Content> {
        exchange.decide(self.code);
        let code = exchange.code().filter(|code| *code != Code::Ok).unwrap_or(self.code);
        let mut response = problem::response(code, self.detail, exchange.id());
        for (name, value) in &*self.fields {
            response.headers_mut().insert(name, value.clone());
        }
        response.map(|frames| Content::Guest(ReplyBody::whole(frames)))
    }
}
