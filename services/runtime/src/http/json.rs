//! JSON bodies, refused by naming the field that is wrong.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use super::Problem;

/// A JSON body: as an extractor, one whose refusal is a [`Problem`] that names the field; as an answer, JSON.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        if !is_json(&request) {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .detail("the Content-Type must be application/json")
                .into_response());
        }
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        parse(&body).map(Self).map_err(IntoResponse::into_response)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(request: &Request) -> bool {
    let Some(value) = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
        || (media_type.len() > 5 && media_type[media_type.len() - 5..].eq_ignore_ascii_case("+json"))
}

/// Reads the body, or says which field is wrong.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let malformed = || Problem::new(StatusCode::BAD_REQUEST, "malformed-body", "The body is not what is expected here");
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let said = error.into_inner();
        // serde names a missing or unknown field only in its sentence, and its path is then that of the object around it.
        let named = said.to_string();
        let quoted = (named.starts_with("missing field") || named.starts_with("unknown field"))
            .then(|| named.split('`').nth(1).map(str::to_owned))
            .flatten();
        let field = match (path.as_str(), quoted) {
            (".", None) => None,
            (".", Some(field)) => Some(field),
            (path, Some(field)) if path.rsplit('.').next() != Some(&field) => Some(format!("{path}.{field}")),
            (path, _) => Some(path.to_owned()),
        };
        let problem = malformed().detail(&said);
        // What is no JSON at all is wrong in no field.
        match field.filter(|_| said.is_data()) {
            Some(field) => problem.field(field),
            None => problem,
        }
    })?;
    deserializer.end().map_err(|error| malformed().detail(error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its reading is tested")]
    struct Order {
        id: String,
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its reading is tested")]
    struct Line {
        count: u32,
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (r#"{"lines": []}"#, Some("id")),
            (r#"{"id": 1, "lines": []}"#, Some("id")),
            (r#"{"id": "a", "lines": [], "color": 1}"#, Some("color")),
            (r#"{"id": "a", "lines": [{"count": 1}, {"count": "2"}]}"#, Some("lines[1].count")),
            (r#"{"id": "a", "lines": [{}]}"#, Some("lines[0].count")),
            ("{", None),
            ("", None),
            (r#"{"id": "a", "lines": []} extra"#, None),
        ] {
            let problem = parse::<Order>(body.as_bytes()).unwrap_err();
            let shown = serde_json::to_value(&problem).unwrap();
            assert_eq!(shown.get("field").and_then(|field| field.as_str()), field, "{body}: {shown}");
            assert_eq!(shown["status"], 400);
        }
    }
}
