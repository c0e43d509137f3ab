//! What handlers take out of a request. Whatever cannot be taken is a problem document, never axum's own text.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, request::Parts},
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{bodies, fields::Fields};
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

/// The hold that the path names.
pub struct HoldPath(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for HoldPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        bodies::hold_id(&text).map(Self)
    }
}

/// The time that the query asks about, if it names one.
pub struct At(pub Option<Timestamp>);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut at = None;
        for (name, value) in pairs(parts, state).await? {
            if name != "at" {
                return Err(unknown(&name, "there is the parameter at"));
            }
            let time = value.parse::<Timestamp>();
            at = Some(time.map_err(|_| invalid("at", "at is a time with its offset, such as 2026-03-01T12:00:00Z"))?);
        }
        Ok(Self(at))
    }
}

/// How old an answer may be, in seconds.
pub struct MaxAge(pub u32);

impl<S: Send + Sync> FromRequestParts<S> for MaxAge {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut seconds = MOST_AGE;
        for (name, value) in pairs(parts, state).await? {
            if name != "maxAge" {
                return Err(unknown(&name, "there is the parameter maxAge"));
            }
            seconds = value.parse().map_err(|_| invalid("maxAge", "maxAge is a number of seconds"))?;
        }
        Ok(Self(seconds))
    }
}

/// How old a reconciliation may be when nothing is said.
pub const MOST_AGE: u32 = 900;

async fn pairs<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, String)>, Problem> {
    let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    query.map(|Query(pairs)| pairs).map_err(|rejection| Problem::whole(Kind::InvalidQuery, rejection))
}

fn unknown(name: &str, detail: &str) -> Problem {
    invalid(&name.chars().take(64).collect::<String>(), detail)
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
        let mut stretch = Self { after: 0, limit: USUAL };
        for (name, value) in pairs(parts, state).await? {
            let number = value.parse::<i64>().ok();
            match (name.as_str(), number) {
                ("after", Some(after)) if after >= 0 => stretch.after = after,
                ("limit", Some(limit)) if (1..=MOST).contains(&limit) => stretch.limit = limit,
                ("after", _) => return Err(invalid("after", "after is a version: what a page said as next")),
                ("limit", _) => return Err(invalid("limit", &format!("limit is a number from 1 to {MOST}"))),
                (other, _) => return Err(unknown(other, "there are the parameters after and limit")),
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
