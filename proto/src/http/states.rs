//! Enums by their lower-case names.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

use crate::{OnConflict, ResidencyState};

const STATES: [ResidencyState; 8] = [
    ResidencyState::Queued,
    ResidencyState::Downloading,
    ResidencyState::Loading,
    ResidencyState::Warming,
    ResidencyState::Ready,
    ResidencyState::Failed,
    ResidencyState::Draining,
    ResidencyState::Releasing,
];

impl ResidencyState {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Queued => "queued",
            Self::Downloading => "downloading",
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Draining => "draining",
            Self::Releasing => "releasing",
        }
    }
}

impl Serialize for ResidencyState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl PartialSchema for ResidencyState {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(STATES.map(Self::name)))
            .description(Some("Where a residency is in its life."))
            .into()
    }
}

impl ToSchema for ResidencyState {}

/// What to do when there is no room for the model.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Conflict {
    Evict,
    Wait,
    Refuse,
}

impl<'de> Deserialize<'de> for OnConflict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Conflict::deserialize(deserializer)? {
            Conflict::Evict => Self::Evict,
            Conflict::Wait => Self::Wait,
            Conflict::Refuse => Self::Refuse,
        })
    }
}

impl Serialize for OnConflict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let conflict = match self {
            Self::Unspecified | Self::Evict => Conflict::Evict,
            Self::Wait => Conflict::Wait,
            Self::Refuse => Conflict::Refuse,
        };
        conflict.serialize(serializer)
    }
}

impl PartialSchema for OnConflict {
    fn schema() -> RefOr<Schema> {
        Conflict::schema()
    }
}

impl ToSchema for OnConflict {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_conflicts_go_by_their_lower_case_names() {
        assert_eq!(
            serde_json::to_string(&ResidencyState::Downloading).unwrap(),
            r#""downloading""#
        );
        assert_eq!(serde_json::from_str::<OnConflict>(r#""wait""#).unwrap(), OnConflict::Wait);
        let refusal = serde_json::from_str::<OnConflict>(r#""explode""#).unwrap_err().to_string();
        assert!(refusal.contains("`evict`, `wait`, `refuse`"), "{refusal}");
    }
}
