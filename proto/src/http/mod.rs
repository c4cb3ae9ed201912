//! How the contract looks in JSON, where that differs from field by field. Only the HTTP edge turns this on.

mod answers;
mod early_stopping;
mod errors;
mod fields;
mod inputs;
mod media;
mod states;
mod tables;
mod token_answers;

pub use answers::{
    EmbeddingAnswer, LabelsAnswer, SimilarityAnswer, TaskOutput, TextAnswer, TextChoice,
    WrittenAnswer, WrittenTexts,
};
pub use fields::fields_of;
pub use tables::TableAnswer;
pub use token_answers::{EntitiesAnswer, QuestionAnswer};
