//! For models that write: the table as one text, and the answer as the model wrote it.

use std::sync::Arc;

use proto::{InferRequest, Seq2SeqOptions, TableAnswerOutput, Texts, infer_result::Output};
use serde_json::Value;

use super::{Asked, TABLE};
use crate::{
    failure::{Code, Failure},
    tasks::{
        Files, Made, Prepared, Processor, Work,
        seq2seq::{Pair, Writer},
    },
    text::FlatTables,
};

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    if let Some(why) = misfit(files) {
        return Err(Failure::new(Code::TaskNotSupported, why));
    }
    let writer = Writer::new("table-question-answering", files)?.without_prefixes();
    let tables = FlatTables::new(writer.tokenizer().clone(), files.text("tokenizer_config.json"))?;
    Ok(Arc::new(TableWriter { writer, tables }))
}

/// Why a model that writes cannot read tables.
pub fn misfit(files: &Files) -> Option<String> {
    let config: Option<Value> =
        files.bytes("tokenizer_config.json").and_then(|bytes| serde_json::from_slice(bytes).ok());
    let is_meant = config.is_some_and(|config| FlatTables::are_meant(&config));
    (!is_meant)
        .then(|| "its tokenizer is not for tables (tokenizer_class TapexTokenizer)".to_owned())
}

struct TableWriter {
    writer: Writer,
    tables: FlatTables,
}

impl Processor for TableWriter {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Asked { question, table, truncate } = Asked::of(request)?;
        let text = self.tables.text(&question, &table)?;
        let texts = Texts { items: vec![text], is_list: false };
        let options = Seq2SeqOptions { truncate: Some(truncate), ..Default::default() };
        let work = self
            .writer
            .work(&texts, &Pair::default(), &options, request.seed, |_| TABLE.to_owned())?;
        Ok(Prepared {
            prompt_tokens: Some(work.prompt_tokens()),
            seed: work.drawn_seed(),
            work: Work::Write(Box::new(work)),
            finish: Box::new(|made| {
                let written = match made {
                    Made::Written(items) => items.into_iter().flatten().next(),
                    _ => None,
                };
                let written = written
                    .ok_or_else(|| Failure::new(Code::InferenceFailed, "the lane wrote nothing"))?;
                let answer = written.text;
                Ok(Output::TableAnswer(TableAnswerOutput { answer, ..Default::default() }))
            }),
        })
    }
}
