//! Reads the fields of a JSON object one by one, so that whatever is wrong with a body is said of the field that it is wrong in.
//! serde's own errors name a field only sometimes, and never by something a program can rely on.

use serde_json::{Map, Value};

/// What is wrong with a body, before anybody asks what it means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body, or an operation in it, is JSON, but not an object.
    #[error("this must be a JSON object")]
    NotAnObject,
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is of another JSON type.
    #[error("{field} must be {expected}, not {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The JSON type that it should be of.
        expected: &'static str,
        /// The JSON type that it is of.
        found: &'static str,
    },
    /// A field that this request does not have.
    #[error("{field} is not a field of this request; it takes {known}")]
    Unknown {
        /// The field, as it was sent (shortened).
        field: String,
        /// The fields that there are.
        known: String,
    },
}

impl Malformed {
    /// The field that it is about.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotJson(_) | Self::NotAnObject => None,
            Self::Missing { field } | Self::WrongType { field, .. } => Some(field),
            Self::Unknown { field, .. } => Some(field),
        }
    }
}

/// The fields of one body that nobody has read yet.
pub struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
    canonical: String,
}

impl Fields {
    /// Opens a body. An empty one says nothing, as `{}` does.
    pub fn of(body: &[u8]) -> Result<Self, Malformed> {
        let body = if body.is_empty() { b"{}" } else { body };
        match serde_json::from_slice(body) {
            Ok(Value::Object(left)) => {
                Ok(Self { canonical: Value::Object(left.clone()).to_string(), left, known: Vec::new() })
            }
            Ok(_) => Err(Malformed::NotAnObject),
            Err(error) => Err(Malformed::NotJson(error.to_string())),
        }
    }

    /// Opens an object within a body.
    pub fn of_value(value: Value) -> Result<Self, Malformed> {
        match value {
            Value::Object(left) => Ok(Self { canonical: String::new(), left, known: Vec::new() }),
            _ => Err(Malformed::NotAnObject),
        }
    }

    /// What the body says, whatever the order and spacing in which it said it.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// A string that must be there.
    pub fn text(&mut self, field: &'static str) -> Result<String, Malformed> {
        self.optional_text(field)?.ok_or(Malformed::Missing { field })
    }

    /// A string that may be absent; `null` is absent too.
    pub fn optional_text(&mut self, field: &'static str) -> Result<Option<String>, Malformed> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Malformed::WrongType { field, expected: "a string", found: kind(&other) }),
        }
    }

    /// A list that must be there.
    pub fn list(&mut self, field: &'static str) -> Result<Vec<Value>, Malformed> {
        match self.take(field) {
            None => Err(Malformed::Missing { field }),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(Malformed::WrongType { field, expected: "an array", found: kind(&other) }),
        }
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.left.remove(field).filter(|value| !value.is_null())
    }

    /// Closes the body: what is left over is unknown.
    pub fn end(self) -> Result<(), Malformed> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(field) => {
                Err(Malformed::Unknown { field: field.chars().take(64).collect(), known: self.known.join(", ") })
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount_of(body: &str) -> Result<String, Malformed> {
        let mut fields = Fields::of(body.as_bytes())?;
        let amount = fields.text("amount")?;
        fields.optional_text("reference")?;
        fields.end()?;
        Ok(amount)
    }

    #[test]
    fn a_body_that_says_what_it_should_is_read() {
        assert_eq!(amount_of(r#"{"amount": "12.34", "reference": null}"#), Ok("12.34".to_owned()));
    }

    #[test]
    fn what_is_wrong_names_the_field() {
        for (body, field, said) in [
            ("{", None, "the body is not JSON: EOF while parsing an object at line 1 column 1"),
            ("[]", None, "this must be a JSON object"),
            ("{}", Some("amount"), "amount is missing"),
            (r#"{"amount": null}"#, Some("amount"), "amount is missing"),
            (r#"{"amount": 12.34}"#, Some("amount"), "amount must be a string, not a number"),
            (
                r#"{"amount": "1", "amuont": "2"}"#,
                Some("amuont"),
                "amuont is not a field of this request; it takes amount, reference",
            ),
        ] {
            let malformed = amount_of(body).unwrap_err();
            assert_eq!((malformed.field(), malformed.to_string().as_str()), (field, said), "{body}");
        }
    }
}
