//! What a worker says of one request is believed only when it is possible: order, sizes, and the kind of the result.

use proto::{
    InferEvent, InferResult, LoadingEvent, ProgressEvent, infer_event::Event, infer_result::Output,
};

use crate::failure::{Code, Failure};

/// The events of one try so far.
#[derive(Debug)]
pub(super) struct Scrutiny {
    task: &'static str,
    seen: u64,
    started: bool,
}

impl Scrutiny {
    pub(super) fn new(task: &'static str) -> Self {
        Self { task, seen: 0, started: false }
    }

    /// Whether execution has begun or produced something that a retry would repeat.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// Looks at the next event.
    ///
    /// # Errors
    /// `inference_failed`: the worker said what cannot be.
    pub(super) fn see(&mut self, message: &InferEvent) -> Result<(), Failure> {
        self.seen += 1;
        let wrong = |what: &str| Err(broken(what));
        if message.sequence != self.seen {
            return wrong("an event is missing or came twice");
        }
        // A kind of event that a newer worker knows.
        let Some(event) = &message.event else { return Ok(()) };
        let before = self.started;
        self.started |= !matches!(event, Event::Queued(_) | Event::Loading(_));
        match event {
            Event::Queued(_) | Event::Loading(_) if before => {
                wrong("a request that had begun waits again")
            }
            Event::Started(_) if before => wrong("a request began twice"),
            Event::Token(_)
            | Event::Progress(_)
            | Event::Audio(_)
            | Event::Partial(_)
            | Event::MediaChunk(_)
                if !before =>
            {
                wrong("output came before the beginning")
            }
            Event::Loading(loading) if !is_possible(loading) => wrong("a load is impossibly far"),
            Event::Progress(progress) if !is_step(progress) => wrong("a step is impossibly far"),
            Event::Token(token) if token.logprob.is_some_and(|logprob| !logprob.is_finite()) => {
                Err(not_finite())
            }
            Event::Result(result) => self.result(result),
            _ => Ok(()),
        }
    }

    fn result(&self, result: &InferResult) -> Result<(), Failure> {
        let Some(output) = &result.output else {
            return Err(broken("a result has no output"));
        };
        let tasks: &[&str] = match output {
            Output::Text(_) => &["text-generation"],
            Output::Embeddings(_) => &["feature-extraction"],
            Output::Similarity(_) => &["sentence-similarity"],
            Output::Labels(_) => {
                &["image-classification", "text-classification", "zero-shot-classification"]
            }
            Output::Ranking(_) => &["text-ranking", "text-retrieval"],
            Output::Entities(_) => &["token-classification"],
            Output::Answers(_) => &["question-answering"],
            Output::Filled(_) => &["fill-mask"],
            Output::Images(_) => &[
                "text-to-image",
                "image-to-image",
                "unconditional-image-generation",
                "image-super-resolution",
                "image-restoration",
            ],
            Output::TableAnswer(_) => &["table-question-answering"],
            Output::Seq2seq(_) => &["text2text-generation", "summarization", "translation"],
        };
        if !tasks.contains(&self.task) {
            return Err(broken("the result is another task's"));
        }
        if let Output::Embeddings(embeddings) = output {
            let is_whole = |values: usize, dim: u32| dim > 0 && values.is_multiple_of(dim as usize);
            if !embeddings.items.iter().all(|item| is_whole(item.values.len(), item.dim)) {
                return Err(broken("vectors are cut off"));
            }
        }
        if matches!(output, Output::TableAnswer(answer) if answer.cells.len() != answer.coordinates.len())
        {
            return Err(broken("cells have no places"));
        }
        if matches!(output, Output::Images(images) if images.images.is_empty()) {
            return Err(broken("there is no picture"));
        }
        if matches!(output, Output::Answers(answers) if answers.answers.is_empty()) {
            return Err(broken("there is no answer"));
        }
        if output.is_finite() { Ok(()) } else { Err(not_finite()) }
    }
}

fn is_possible(loading: &LoadingEvent) -> bool {
    let within = |done: u64, total: u64| total == 0 || done <= total;
    within(loading.bytes_done, loading.bytes_total)
        && within(loading.tensors_done.into(), loading.tensors_total.into())
        && loading.eta_s.is_none_or(|eta| eta.is_finite() && eta >= 0.0)
}

fn is_step(progress: &ProgressEvent) -> bool {
    progress.step <= progress.total_steps && (0.0..=100.0).contains(&progress.percent)
}

pub(super) fn broken(what: &str) -> Failure {
    Failure::new(Code::InferenceFailed, format!("the worker broke its contract: {what}"))
}

/// No score or logit is ever NaN in an answer.
fn not_finite() -> Failure {
    Failure::new(Code::InferenceFailed, "the model computed values that are no numbers")
}

#[cfg(test)]
mod tests {
    use proto::{
        Embedding, EmbeddingOutput, QueuedEvent, SimilarityOutput, StartedEvent, TokenEvent,
    };

    use super::*;

    fn queued() -> Event {
        Event::Queued(QueuedEvent { position: 1, reason: "busy".into() })
    }

    fn started() -> Event {
        Event::Started(StartedEvent::default())
    }

    fn token() -> Event {
        Event::Token(TokenEvent::default())
    }

    fn result(output: Option<Output>) -> Event {
        Event::Result(InferResult { metadata: None, output })
    }

    fn vectors(values: usize, dim: u32) -> Option<Output> {
        let items = vec![Embedding { values: vec![0.5; values], dim, tokens: 1 }];
        Some(Output::Embeddings(EmbeddingOutput { items, is_list: false }))
    }

    /// What is said of the last of these events.
    fn verdict(task: &'static str, events: Vec<Event>) -> Result<(), String> {
        let mut scrutiny = Scrutiny::new(task);
        let mut last = Ok(());
        for (at, event) in events.into_iter().enumerate() {
            let message = InferEvent { sequence: at as u64 + 1, event: Some(event) };
            last = scrutiny.see(&message).map_err(|failure| failure.message);
        }
        last
    }

    #[test]
    fn what_workers_say_in_order_is_believed() {
        let story = vec![queued(), started(), token(), token()];
        assert_eq!(verdict("text-generation", story), Ok(()));
        let vectors = vec![queued(), started(), result(vectors(6, 3))];
        assert_eq!(verdict("feature-extraction", vectors), Ok(()));
    }

    #[test]
    fn events_out_of_order_are_refused() {
        assert!(verdict("text-generation", vec![token()]).is_err());
        assert!(verdict("text-generation", vec![started(), started()]).is_err());
        assert!(verdict("text-generation", vec![started(), queued()]).is_err());
        let mut scrutiny = Scrutiny::new("text-generation");
        let late = InferEvent { sequence: 2, event: Some(started()) };
        assert!(scrutiny.see(&late).is_err());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let loading = |bytes_done, bytes_total, eta_s| {
            vec![Event::Loading(LoadingEvent {
                bytes_done,
                bytes_total,
                eta_s,
                ..Default::default()
            })]
        };
        assert_eq!(verdict("text-generation", loading(5, 9, Some(1.0))), Ok(()));
        assert!(verdict("text-generation", loading(10, 9, None)).is_err());
        assert!(verdict("text-generation", loading(5, 9, Some(f64::NAN))).is_err());
        let step = |step, percent| {
            let progress = ProgressEvent { step, total_steps: 4, percent, ..Default::default() };
            vec![started(), Event::Progress(progress)]
        };
        assert_eq!(verdict("text-generation", step(4, 100.0)), Ok(()));
        assert!(verdict("text-generation", step(5, 100.0)).is_err());
        assert!(verdict("text-generation", step(4, 101.0)).is_err());
        for (values, dim) in [(7, 3), (3, 0)] {
            let cut = vec![started(), result(vectors(values, dim))];
            assert!(verdict("feature-extraction", cut).is_err(), "{values} by {dim}");
        }
    }

    #[test]
    fn a_result_of_another_task_or_of_nothing_is_refused() {
        let scores =
            Some(Output::Similarity(SimilarityOutput { scores: vec![0.5], is_pair: true }));
        assert!(verdict("text-generation", vec![started(), result(scores)]).is_err());
        assert!(verdict("text-generation", vec![started(), result(None)]).is_err());
    }
}
