//! The worker's token: asked for on every call of its service when the operator set one. Health and reflection
//! stay open.

use std::fmt;

use tonic::{Request, Status};

use crate::failure::{Code, Failure};

/// A secret that never shows itself in logs.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Takes the same time wherever the two differ.
    fn matches(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        own.len() == given.len()
            && own.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// An interceptor that lets through what carries `authorization: Bearer TOKEN`.
pub fn check(
    token: Option<Token>,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let Some(token) = &token else { return Ok(request) };
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match given.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(given) if token.matches(given) => Ok(request),
            _ => Err(Failure::new(
                Code::Unauthorized,
                "this worker wants its token in `authorization: Bearer …`",
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().expect("ascii"));
        }
        request
    }

    #[test]
    fn lets_in_only_the_right_token() {
        let mut check = check(Some(Token::new("secret".to_owned())));
        assert!(check(request(Some("Bearer secret"))).is_ok());
        for wrong in [None, Some("Bearer secrets"), Some("Bearer "), Some("secret")] {
            assert_eq!(check(request(wrong)).unwrap_err().code(), tonic::Code::Unauthenticated);
        }
    }

    #[test]
    fn without_a_token_everyone_is_let_in() {
        assert!(check(None)(request(None)).is_ok());
    }

    #[test]
    fn a_token_does_not_print_itself() {
        assert_eq!(format!("{:?}", Token::new("secret".to_owned())), "Token(…)");
    }
}
