//! What crosses from a request to its lane and back: plain buffers, never a tensor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{GeneratedText, ProgressEvent, TokenEvent, media::Content};

use super::{
    adapters::AdapterUse,
    counters::Counters,
    enhancing::Tiling,
    outbox::{Outbox, Outgoing},
    paint::{Imagine, Paint, Painted},
};
use crate::{
    failure::Failure,
    media::{Picture, Pixels, Source},
    sampling::{BeamOptions, Constraints, Decoding, SamplingOptions},
    text::{CHANNELS, Tokenizer},
};

/// For whom a request is, as its sender said; those who said nothing are one tenant.
pub type Tenant = Arc<str>;

/// One request on its way through a lane.
pub struct Job {
    /// `None` once a pipeline has taken it.
    pub work: Option<Work>,
    /// Opaque; service is shared fairly between tenants.
    pub tenant: Tenant,
    pub outbox: Outbox<Event>,
    /// Higher goes first.
    pub priority: i32,
    /// When the request came to the worker.
    pub arrived: Instant,
    /// When it came to the lane; its model was resident by then.
    pub submitted: Instant,
    pub deadline: Option<Instant>,
    /// What is added to the model for it.
    pub adapter: Option<AdapterUse>,
    /// Counts the job for as long as it lives.
    pub count: JobCount,
    /// Lasts until the job has ended.
    pub span: tracing::Span,
    pub counters: Arc<Counters>,
    /// Steps in which it took part and which ended after its client had left.
    pub late_steps: u64,
    /// Its last event is out; whoever closes the stream from here on cancels nothing.
    pub has_ended: bool,
}

/// One more on a counter, until it is dropped.
pub struct JobCount(Arc<AtomicUsize>);

impl JobCount {
    pub fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counter))
    }
}

impl Drop for JobCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Job {
    /// Ends the job with what was made.
    pub fn finish(mut self, made: Made, timing: Timing) {
        self.has_ended = true;
        // Whoever hears of the end must find the span ended.
        self.span = tracing::Span::none();
        self.outbox.push(Event::Made(made, timing));
    }

    /// Ends the job with an error.
    pub fn fail(mut self, failure: Failure) {
        self.has_ended = true;
        self.span = tracing::Span::none();
        self.outbox.push(Event::Failed(failure));
    }

    /// Has to be told of every step in which the job took part, once the step has ended.
    pub fn has_stepped(&mut self) {
        if self.outbox.is_closed() {
            self.late_steps += 1;
            self.counters.late_step(self.late_steps);
        }
    }

    /// True when nobody waits for the answer any more.
    pub fn is_abandoned(&self, now: Instant) -> bool {
        self.outbox.is_closed() || self.deadline.is_some_and(|deadline| now >= deadline)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(closed_at) = self.outbox.closed_at() else { return };
        // A stream that ended at its deadline was not left by its client.
        let was_late = self.deadline.is_some_and(|deadline| closed_at >= deadline);
        if !self.has_ended && !was_late {
            self.counters.cancelled(closed_at.elapsed());
        }
    }
}

/// What the device has to do for a request.
pub enum Work {
    Generate(Box<Generate>),
    Write(Box<Write>),
    Encode(Encode),
    Score(Score),
    AskTable(TableRow),
    Classify(Pixels),
    Paint(Box<Paint>),
    Imagine(Imagine),
    Enhance(Box<Enhance>),
}

impl Work {
    /// Steps that its pipeline will take, where that is known beforehand.
    pub fn total_steps(&self) -> Option<usize> {
        match self {
            // Where pieces begin depends on the model, their number does not.
            Self::Enhance(work) => Some(work.tiling(1).len()),
            _ => None,
        }
    }

    /// Pixels of the pictures that it makes.
    pub fn output_pixels(&self) -> u64 {
        match self {
            Self::Enhance(work) => {
                let Picture { width, height, .. } = work.source.picture;
                let scale = u64::from(work.scale);
                u64::from(width) * u64::from(height) * scale * scale
            }
            _ => 0,
        }
    }
}

/// Make a larger or a better picture of one.
pub struct Enhance {
    pub source: Source,
    /// By how much both sides grow.
    pub scale: u32,
    /// Side of the pieces that it is made in, in pixels of the source.
    pub tile: u32,
}

impl Enhance {
    /// The pieces, for a model for which they begin at multiples of `multiple`.
    pub(super) fn tiling(&self, multiple: usize) -> Tiling {
        Tiling::new(self.source.padded(), self.tile as usize, multiple)
    }
}

/// Continue a prompt.
pub struct Generate {
    pub prompt_ids: Vec<u32>,
    pub options: SamplingOptions,
    /// What is forbidden and forced, if anything is.
    pub constraints: Option<Constraints>,
    /// Together with constraints.
    pub beams: Option<BeamOptions>,
    pub seed: u64,
    /// At least 1.
    pub max_new_tokens: usize,
    pub tokenizer: Tokenizer,
}

/// Read sources and write a target for each.
pub struct Write {
    /// Tokens of every source; none is empty.
    pub sources: Vec<Vec<u32>>,
    pub decoding: Decoding,
    pub seed: u64,
    pub tokenizer: Tokenizer,
}

/// Turn token rows into vectors.
pub struct Encode {
    pub rows: Vec<TokenRow>,
    pub pooling: Pooling,
    pub scaling: Scaling,
    /// Only so many values of each vector.
    pub dimensions: Option<usize>,
}

/// Score token rows: as a whole, token by token, or against the vocabulary, whichever the model does.
pub struct Score {
    pub rows: Vec<TokenRow>,
    /// For a masked language model: of each row, the places whose token is wanted. Other models don't look at it.
    pub wanted: Vec<Vec<usize>>,
}

/// A question about a table as tokens.
pub struct TableRow {
    pub ids: Vec<u32>,
    /// One entry per id.
    pub channels: Vec<[u32; CHANNELS]>,
}

/// When a vector is scaled to length 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaling {
    /// By the model's own last module, before values are cut off.
    pub own: bool,
    /// Because the request asked for it, after values were cut off.
    pub asked: bool,
}

/// The tokens of one text.
pub struct TokenRow {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// How many tokens at the start belong to a prompt that pooling leaves out.
    pub prompt_tokens: usize,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Cls,
    Mean,
    Max,
    MeanSqrtLen,
    WeightedMean,
    Last,
    /// One vector per token.
    None,
}

/// What a lane says about a job.
#[derive(Debug)]
pub enum Event {
    /// Its first step begins.
    Started,
    Token(TokenEvent),
    /// How far a loop is whose pieces cannot be shown yet.
    Progress(ProgressEvent),
    /// All is done; the last event.
    Made(Made, Timing),
    /// It failed; the last event.
    Failed(Failure),
}

/// What the device made.
#[derive(Debug)]
pub enum Made {
    Texts(Vec<GeneratedText>),
    /// One list per source, best first.
    Written(Vec<Vec<GeneratedText>>),
    /// One per row: `vectors × dim` values.
    Vectors(Vec<Vectors>),
    /// The logits of each row: one vector for the whole text, one per token, or one per wanted place.
    Scores(Vec<Vectors>),
    Table(TableScores),
    Logits(Vec<f32>),
    Painted(Vec<Painted>),
    Pictures(Vec<Picture>),
}

/// Logits of the tokens of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableScores {
    /// One per token: whether it belongs to the answer.
    pub tokens: Vec<f32>,
    /// What is to be done with the cells; empty where the model doesn't say.
    pub aggregations: Vec<f32>,
}

/// One or several vectors of the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    pub values: Vec<f32>,
    pub dim: usize,
}

/// Where the time of a job went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From arrival at the lane to the first step.
    pub queue: Duration,
    /// Steps in which the job took part.
    pub steps: Duration,
    /// From the request's arrival at the worker to its first token.
    pub first_token: Option<Duration>,
    pub tokens: usize,
}

/// Bookkeeping of one event beside its payload, roughly.
const EVENT_BYTES: usize = 64;

impl Outgoing for Event {
    fn bytes(&self) -> usize {
        match self {
            Self::Token(token) => EVENT_BYTES + token.text.len() + token.top.len() * EVENT_BYTES,
            Self::Progress(progress) => {
                let preview = progress.preview.as_ref().and_then(|media| media.content.as_ref());
                let Some(Content::Inline(bytes)) = preview else { return EVENT_BYTES };
                EVENT_BYTES + bytes.len()
            }
            Self::Started | Self::Made(..) | Self::Failed(_) => EVENT_BYTES,
        }
    }

    fn is_superseded_by(&self, _newer: &Self) -> bool {
        false
    }
}
