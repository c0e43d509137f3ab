//! Who may see a processor's dead letters: whoever may act as its ServiceAccount. The proof is a token of that account for this
//! operator alone, which the API server gives to those who may `create` `serviceaccounts/token`.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};

use super::refusal::Refusal;

/// The header that the token is in. Not `Authorization`, which the API server keeps to itself.
pub const TOKEN: &str = "tidegate-token";
/// Bytes of a token; a larger one is none.
const LONGEST: usize = 16 * 1_024;

/// Whom a token has to be for.
pub fn audience(installation: &str) -> String {
    format!("{installation}.dead-letters.tidegate.dev")
}

/// Lets in whom the API server knows as `user` by a token for `audience`.
pub async fn enter(client: &Client, audience: &str, token: Option<&str>, user: &str) -> Result<(), Refusal> {
    let Some(token) = token.filter(|token| token.len() <= LONGEST && token.split('.').count() == 3) else {
        return Err(Refusal::Unauthorized(format!("there is no token for {audience} in header {TOKEN}")));
    };
    let spec = TokenReviewSpec { audiences: Some(vec![audience.to_owned()]), token: Some(token.to_owned()) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviewed = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let reviewed = reviewed.map_err(|error| Refusal::Unavailable(format!("the token cannot be reviewed: {error}")))?;
    verdict(&reviewed.status.unwrap_or_default(), audience, user)
}

fn verdict(status: &TokenReviewStatus, audience: &str, user: &str) -> Result<(), Refusal> {
    let known = status.user.as_ref().and_then(|user| user.username.as_deref());
    let ours = status.audiences.iter().flatten().any(|named| named == audience);
    if status.authenticated == Some(true) && ours && known == Some(user) {
        return Ok(());
    }
    Err(Refusal::Unauthorized(format!("the token is none of {user} for {audience}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const USER: &str = "system:serviceaccount:bank:wallet-ledger";

    fn is_let_in(status: Value) -> bool {
        let status = serde_json::from_value(status).unwrap();
        verdict(&status, &audience("tidegate"), USER).is_ok()
    }

    #[test]
    fn only_the_processors_account_with_a_token_for_us_is_let_in() {
        let audiences = json!(["tidegate.dead-letters.tidegate.dev"]);
        let user = json!({"username": USER});
        assert!(is_let_in(json!({"authenticated": true, "audiences": audiences, "user": user})));
        for status in [
            json!({}),
            json!({"authenticated": false, "audiences": audiences, "user": user}),
            json!({"audiences": audiences, "user": user}),
            // An API server that knows nothing of audiences, or a token for somebody else.
            json!({"authenticated": true, "user": user}),
            json!({"authenticated": true, "audiences": ["https://kubernetes.default.svc"], "user": user}),
            json!({"authenticated": true, "audiences": audiences, "user": {"username": "system:serviceaccount:bank:wallet-read-model"}}),
            json!({"authenticated": true, "audiences": audiences, "user": {"username": "system:serviceaccount:other:wallet-ledger"}}),
            json!({"authenticated": true, "audiences": audiences}),
        ] {
            assert!(!is_let_in(status.clone()), "{status}");
        }
    }
}
