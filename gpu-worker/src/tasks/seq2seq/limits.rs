//! Which requests could never run on a model.

use crate::{
    failure::{Code, Failure},
    models::Seq2SeqLm,
    tasks::Write,
};

/// Why a request could never run here.
pub fn refusal(work: &Write, model: &dyn Seq2SeqLm, cache_tokens: i64) -> Option<Failure> {
    let longest = work.sources.iter().map(Vec::len).max().unwrap_or(0);
    let (source_limit, target_limit) =
        (model.source_length() as usize, model.target_length() as usize);
    if longest > source_limit {
        let message = format!("a text has {longest} tokens, the model reads {source_limit}");
        return Some(too_long(message, "inputs.text", longest, source_limit));
    }
    let max_length = work.decoding.constraints.max_length;
    if max_length > target_limit {
        let message = format!("{max_length} tokens are asked for, the model writes {target_limit}");
        return Some(too_long(message, "options.max_length", max_length, target_limit));
    }
    let (needed, limit) = (work.cache_tokens(longest), cache_tokens as usize);
    if needed > limit {
        let message = format!(
            "a text of {longest} tokens and {} answers of up to {max_length} may need {needed} tokens, \
             this model's cache here holds {limit}",
            work.rows()
        );
        return Some(too_long(message, "options.max_new_tokens", needed, limit));
    }
    stray(work, model)
}

/// A tokenizer that does not belong to the model must not read beyond its embeddings.
fn stray(work: &Write, model: &dyn Seq2SeqLm) -> Option<Failure> {
    let beyond = |id: &&u32, vocabulary: i64| i64::from(**id) >= vocabulary;
    let (source, target) = (model.vocab_size(), model.target_vocab_size());
    let ids = work.sources.iter().flatten().find(|id| beyond(id, source));
    let start = Some(&work.decoding.start).filter(|id| beyond(id, target));
    let stray = ids.or(start)?;
    let message = format!("the tokenizer gives token {stray}, the model knows {source}");
    Some(Failure::new(Code::CorruptCheckpoint, message))
}

fn too_long(message: String, field: &str, tokens: usize, limit: usize) -> Failure {
    Failure::new(Code::InputTooLong, message)
        .at(field)
        .number("tokens", tokens as u64)
        .number("limit", limit as u64)
}
