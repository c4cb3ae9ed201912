//! What every test stands on: started programs, clients, event streams, models.

pub mod adapters;
pub mod api;
pub mod enhancers;
pub mod events;
pub mod hashed;
pub mod judges;
pub mod models;
pub mod painters;
pub mod program;
pub mod signals;
pub mod system;
pub mod table_models;
pub mod token_models;
pub mod wide_painter;
pub mod worker;
pub mod writers;
pub mod zoo;

use std::{future::Future, time::Duration};

use serde_json::Value;

/// Far beyond what anything here takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The future's output; a hang fails the test and says in what.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Compares numbers one by one.
pub fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: another number of values");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let differs = (found - expected).abs();
        assert!(differs <= tolerance, "{what}[{at}]: {found} instead of {expected}");
    }
}

/// Compares numbers within the tolerance, all else exactly.
#[track_caller]
pub fn assert_alike(what: &str, found: &Value, expected: &Value, tolerance: f64) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
            expected.iter().for_each(|(name, value)| {
                assert_alike(what, found.get(name).unwrap_or(&Value::Null), value, tolerance);
            });
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
            let both = found.iter().zip(expected);
            both.for_each(|(one, other)| assert_alike(what, one, other, tolerance));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let number = |number: &serde_json::Number| number.as_f64().expect("a number");
            let differs = (number(found) - number(expected)).abs();
            assert!(differs <= tolerance, "{what}: {found} instead of {expected}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}
