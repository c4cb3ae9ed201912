//! The secret that workers beyond this machine ask for.

use std::{fmt, str::FromStr};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// A worker's token. Never shows itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerToken(MetadataValue<Ascii>);

impl WorkerToken {
    /// The value of the `authorization` header.
    pub(super) fn bearer(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl FromStr for WorkerToken {
    type Err = String;

    fn from_str(token: &str) -> Result<Self, String> {
        if token.is_empty() {
            return Err("a token is not empty".to_owned());
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| "a token has only the characters of a header".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for WorkerToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WorkerToken(…)")
    }
}

/// Puts the token on every call.
#[derive(Clone, Debug)]
pub struct Authorize(Option<MetadataValue<Ascii>>);

impl Authorize {
    pub(super) fn new(bearer: Option<MetadataValue<Ascii>>) -> Self {
        Self(bearer)
    }
}

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_carries_the_token_and_no_log_does() {
        let token: WorkerToken = "secret".parse().expect("a token");
        assert_eq!(format!("{token:?}"), "WorkerToken(…)");
        let mut authorize = Authorize::new(Some(token.bearer()));
        let request = authorize.call(Request::new(())).expect("it passes");
        assert_eq!(request.metadata().get("authorization").expect("it is there"), "Bearer secret");
    }

    #[test]
    fn what_no_header_can_carry_is_no_token() {
        assert!("".parse::<WorkerToken>().is_err());
        assert!("a\nb".parse::<WorkerToken>().is_err());
    }
}
