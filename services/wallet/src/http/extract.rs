//! What handlers take out of a request. Whatever cannot be taken is a problem document, never axum's own text.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, request::Parts},
};

use super::fields::Fields;
use crate::{
    domain::WalletId,
    problem::{Kind, Problem},
};

/// The fields of the body.
pub struct Body(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // The shell has read the body already, within its limits; this only hands it over.
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::whole(Kind::MalformedBody, rejection.body_text()))?;
        Ok(Self(Fields::of(&body)?))
    }
}

/// The wallet that the path names.
pub struct WalletPath(pub WalletId);

impl<S: Send + Sync> FromRequestParts<S> for WalletPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // A path that is not UTF-8 is no id either.
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        WalletId::parse(&text).map(Self).map_err(|error| Problem::text("walletId", error))
    }
}

/// Which stretch of a list is wanted.
pub struct Stretch {
    /// Behind which version.
    pub after: i64,
    /// How many.
    pub limit: i64,
}

/// Most of a list at once.
pub const MOST: i64 = 500;
/// What is given when nothing is said.
pub const USUAL: i64 = 100;

impl<S: Send + Sync> FromRequestParts<S> for Stretch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::whole(Kind::InvalidQuery, rejection))?;
        let mut stretch = Self { after: 0, limit: USUAL };
        for (name, value) in pairs {
            let number = value.parse::<i64>().ok();
            match (name.as_str(), number) {
                ("after", Some(after)) if after >= 0 => stretch.after = after,
                ("limit", Some(limit)) if (1..=MOST).contains(&limit) => stretch.limit = limit,
                ("after", _) => return Err(invalid("after", "after is a version: what a page said as next")),
                ("limit", _) => return Err(invalid("limit", &format!("limit is a number from 1 to {MOST}"))),
                (other, _) => {
                    let name: String = other.chars().take(64).collect();
                    return Err(invalid(&name, "there are the parameters after and limit"));
                }
            }
        }
        Ok(stretch)
    }
}

fn invalid(parameter: &str, detail: &str) -> Problem {
    Problem::of(Kind::InvalidQuery, parameter, detail)
}

/// A header that must be ASCII text to be of use.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
